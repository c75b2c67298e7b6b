"""Where a model fails, by degrees, and whether it knows: errors on graded sets, and how reliability predicts them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from stages.artifact import file_sha256, make_provenance, open_artifact
from stages.core.reliability import judge
from stages.data.hard import FAILURES, LEVELS
from stages.evaluate import EvaluateRequest
from stages.evaluate import run as evaluate
from stages.io.files import make_folder, safe_stem, write_file
from stages.io.pictures import contact_sheet, write_png
from stages.io.sources import printable
from stages.loading import Loaded, load_model
from stages.progress import Report, Silent
from stages.reproduce.curves import diagram
from stages.reproduce.report import Spread
from stages.reproduce.shared import RUNS, ReproduceRequest
from stages.synth import SynthRequest
from stages.synth import run as synthesise

__all__ = ["LEVEL_HEAD", "GradedLine", "TrustLine", "judge_checkpoint", "report_failures"]

SEED = 271828  # of faces that nobody trains on
EACH = 200  # images at a level, of the same people at all levels
SETS = tuple((failure, level) for failure in FAILURES for level in range(LEVELS))
FACTORS = {"side": 100.0, "mad": 1.0, "reliability": 1.0}
LEVEL_HEAD = ("", "SIDE ×10⁻²", "MAD °", "reliability", "images")
TRUST_HEAD = (
    "",
    "ρ SIDE",
    "ρ MAD",
    "SIDE ×10⁻²",
    "surest 80 %",
    "best 80 %",
    "MAD °",
    "surest 80 %",
    "best 80 %",
)
KEPT = 15  # index of 80 % in a risk-coverage curve
SHOWN = 2  # people on the sheet

Key = tuple[str, int]
Scores = dict[Key, dict[str, np.ndarray]]  # of one model: set → figure → (EACH,)


@dataclass(frozen=True)
class GradedLine:
    """A level of a failure. SIDE ×10⁻² and MAD in degrees; images: of each model that could be judged, on average."""

    failure: str
    level: int
    side: Spread
    mad: Spread
    reliability: Spread
    images: int

    def cells(self) -> tuple[str, ...]:
        figures = (self.side.shown(2), self.mad.shown(1), self.reliability.shown(2))
        return (f"{self.failure} {self.level}", *figures, str(self.images))


@dataclass(frozen=True)
class TrustLine:
    """How reliability predicts one error over some sets, mean over models: rank correlation; mean errors of the most
    reliable 5 % to 100 % of the images, and of as many with the smallest errors; the areas under both curves.
    """

    over: str
    metric: str
    spearman: float
    risk: tuple[float, ...]
    least_risk: tuple[float, ...]
    aurc: float
    least_aurc: float


def judge_checkpoint(request: ReproduceRequest, report: Report) -> tuple[tuple[GradedLine, ...], tuple[Path, ...]]:
    """As :func:`report_failures`, of the request's checkpoint: a file, a run folder or a shipped model's name."""
    model, shown = load_model(request.checkpoint), Path(request.checkpoint).name
    option = f" --morphable {request.morphable.name}" if request.morphable else ""
    here = make_provenance()
    facts = {
        "command": f"sym3d reproduce failures --checkpoint {shown}{option}",
        "model": f"{shown}, digest {model.digest[:12]}, {model.step:,} steps of {model.recipe.optim.batch}",
        "versions": ", ".join(f"{name} {version}" for name, version in here["versions"].items()),
        "commit": here["git"].get("revision", "of an installed copy"),
    }
    return report_failures([model.path], request, f"failures-{safe_stem(shown)}", facts, report)


def report_failures(
    models: Sequence[Path], request: ReproduceRequest, name: str, facts: dict[str, str], report: Report
) -> tuple[tuple[GradedLine, ...], tuple[Path, ...]]:
    """Judge the models, of one size, on the graded sets, and write NAME.md, NAME.png, NAME-faces.png and NAME.json;
    for faces of a morphable model NAME-MORPHABLE.md and so on.

    Returns the lines of the table and the paths. Sets and scores are kept under runs/ and not made again.
    """
    loaded = [load_model(path) for path in models]
    sets, drawn_from = f"failures-{loaded[0].model.size}", "procedural"
    if request.morphable is not None:
        digest, stem = file_sha256(request.morphable), safe_stem(request.morphable.stem)
        sets, drawn_from = f"{sets}-{digest[:6]}", f"{request.morphable.name}, digest {digest[:12]}"
        name = f"{name}-{stem}"
    paths = _draw_sets(loaded[0].model.size, RUNS / sets, request.morphable, report)
    with report.task("judging", total=len(loaded) * len(paths)) as task:
        scores = [{key: _judge(model, path, task) for key, path in paths.items()} for model in loaded]
    graded = [_graded(key, scores) for key in SETS]
    groups = {"all": SETS, **{failure: [key for key in SETS if key[0] == failure] for failure in FAILURES}}
    groups["ordinary pictures"] = [("light", 0)]
    trust = [_trust(over, keys, metric, scores) for over, keys in groups.items() for metric in ("side", "mad")]
    folder, facts = make_folder(request.out), facts | {"faces": drawn_from}
    data = {"levels": [asdict(line) for line in graded], "reliability": [asdict(line) for line in trust], **facts}
    files = [
        write_file(folder / f"{name}.md", _markdown(name, graded, trust, facts).encode()),
        write_png(folder / f"{name}.png", _diagrams(graded, trust)),
        write_png(folder / f"{name}-faces.png", _faces(paths)),
        write_file(folder / f"{name}.json", json.dumps(data, indent=2).encode()),
    ]
    return tuple(graded), tuple(files)


def _draw_sets(size: int, folder: Path, morphable: Path | None, report: Report) -> dict[Key, Path]:
    make_folder(folder)
    paths = {(failure, level): folder / f"{failure}-{level}.h5" for failure, level in SETS}
    with report.task("graded faces", total=len(SETS)) as task:
        for (failure, level), path in paths.items():
            request = SynthRequest(path, EACH, SEED, size, morphable=morphable, hard=f"{failure}={level}")
            synthesise(request, report=Silent())
            task.advance()
    return paths


def _judge(model: Loaded, data: Path, task) -> dict[str, np.ndarray]:
    """Every figure of every image; a set that was judged before is not judged again."""
    out = data.parent / model.digest[:12] / f"{data.stem}.scores.h5"
    if not _judged(out, data):
        make_folder(out.parent)
        evaluate(EvaluateRequest(model.path, data, split="all", out=out, overwrite=True), report=Silent())
    task.advance()
    with open_artifact(out, "sym3d.scores") as scores:
        return {name: scores[name][:] * np.float32(factor) for name, factor in FACTORS.items()}


def _judged(scores: Path, data: Path) -> bool:
    if not scores.exists():
        return False
    with open_artifact(scores, "sym3d.scores") as artifact, open_artifact(data, "sym3d.images") as images:
        return images.digest in [parent["digest"] for parent in artifact.provenance["parents"]]


def _graded(key: Key, scores: Sequence[Scores]) -> GradedLine:
    spreads = {name: Spread.of([of[key][name] for of in scores]) for name in FACTORS}
    judged = np.mean([np.isfinite(of[key]["side"]).sum() for of in scores])
    return GradedLine(*key, **spreads, images=round(judged))


def _trust(over: str, keys: Sequence[Key], metric: str, scores: Sequence[Scores]) -> TrustLine:
    def together(of: Scores, name: str) -> torch.Tensor:
        return torch.from_numpy(np.concatenate([of[key][name] for key in keys]))

    errors = [together(of, metric) for of in scores]
    ours = [judge(together(of, "reliability"), error) for of, error in zip(scores, errors, strict=True)]
    best = [judge(-error, error) for error in errors]

    def curve(found) -> tuple[float, ...]:
        return tuple(np.mean([trust.risk for trust in found], axis=0).tolist())

    rho, aurc, least = (
        float(np.mean([getattr(trust, name) for trust in found]))
        for found, name in ((ours, "spearman"), (ours, "aurc"), (best, "aurc"))
    )
    return TrustLine(over, metric, rho, curve(ours), curve(best), aurc, least)


# -- outputs ----------------------------------------------------------------------------------------------------------


def _markdown(name: str, graded: Sequence[GradedLine], trust: Sequence[TrustLine], facts: dict[str, str]) -> str:
    def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
        return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]

    both = [(side, mad) for side, mad in zip(trust[::2], trust[1::2], strict=True)]
    rows = [
        (side.over, f"{side.spearman:+.2f}", f"{mad.spearman:+.2f}", *_kept(side, 2), *_kept(mad, 1))
        for side, mad in both
    ]
    return "\n".join(
        [
            f"# {name.capitalize()}",
            "",
            "The same people at every level: from ordinary light to a lamp at the side, from ordinary to dark noisy",
            "skin, from yaws of 0 to 15° to yaws of 60 to 75°. Mean over images and seeds ± deviation over images; in",
            "brackets the deviation of the seeds' means.",
            "",
            *table(LEVEL_HEAD, [line.cells() for line in graded]),
            "",
            f"![Errors by level, and risk by coverage]({name}.png)",
            "",
            "## Does it know?",
            "",
            "ρ is the rank correlation of reliability with the error. Then the mean error of all images, of the 80 %",
            "that are most reliable, and of the 80 % with the smallest errors.",
            "",
            *table(TRUST_HEAD, rows),
            "",
            f"![The people at every level]({name}-faces.png)",
            "",
            *(f"- {key}: {printable(value)}" for key, value in facts.items()),
            "",
        ]
    )


def _kept(line: TrustLine, digits: int) -> tuple[str, ...]:
    return tuple(f"{risk:.{digits}f}" for risk in (line.risk[-1], line.risk[KEPT], line.least_risk[KEPT]))


def _diagrams(graded: Sequence[GradedLine], trust: Sequence[TrustLine]) -> np.ndarray:
    levels = [str(level) for level in range(LEVELS)]

    def by_level(title: str, name: str) -> np.ndarray:
        lines = {
            failure: [getattr(line, name).mean for line in graded if line.failure == failure] for failure in FAILURES
        }
        return diagram(title, levels, lines)

    def by_coverage(title: str, line: TrustLine) -> np.ndarray:
        marks = [f"{5 * step} %" if step % 4 == 0 else "" for step in range(1, len(line.risk) + 1)]
        curves = {
            "by reliability": line.risk,
            "by true error": line.least_risk,
            "at random": [line.risk[-1]] * len(marks),
        }
        return diagram(title, marks, curves)

    first = [by_level("SIDE / 0.01 by level", "side"), by_level("MAD in degrees by level", "mad")]
    second = [
        by_coverage("SIDE / 0.01 of the most reliable", trust[0]),
        by_coverage("MAD of the most reliable", trust[1]),
    ]
    return np.concatenate([np.concatenate(row, 1) for row in (first, second)])


def _faces(paths: dict[Key, Path]) -> np.ndarray:
    """Some people at every level."""
    rows, labels = [], []
    for failure in FAILURES:
        sets = []
        for level in range(LEVELS):
            with open_artifact(paths[failure, level], "sym3d.images") as images:
                sets.append(images["image"][:SHOWN])
        for person in range(SHOWN):
            rows.append({f"level {level}": sets[level][person] for level in range(LEVELS)})
            labels.append(failure)
    return contact_sheet(rows, labels)
