"""How far predictions are from the truth, next to trivial baselines on the same images."""

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from stages.artifact import make_provenance, open_artifact, origin_difference, write_artifact
from stages.core.health import convexity
from stages.core.reliability import Trust, judge
from stages.errors import InputError, StaleError, UsageError
from stages.io.files import hold_file
from stages.io.pictures import contact_sheet, item_pictures, write_png
from stages.io.threads import chunks
from stages.judged import Judged, open_judged
from stages.loading import find_target
from stages.predict import check_split
from stages.progress import Report, Silent
from stages.scoring import METRICS, TRUTH, Score, by_image, join, score, score_constant, summarise
from stages.truth import BASELINES, baseline_depth, true_depth

__all__ = ["BASELINES", "METRICS", "EvaluateRequest", "EvaluateResult", "Score", "options", "run"]

SHEET_EACH = 5  # worst, and as many best
ERRORS = ("side", "mad")  # of METRICS, those of which less is better
STANDARD = ("checkpoint.h5", "prediction.h5")  # names that say nothing, but in their folder


@dataclass(frozen=True)
class EvaluateRequest:
    """target: a run folder, a checkpoint, a shipped model's name, or a sym3d.prediction file; None is the newest
    complete run under ``runs``. data: a sym3d.images file with truth; None is the one that the target's recipe names.
    split: "test", "val", "train" or "all". metrics: what is summarised, of METRICS; the scores file holds all
    that the data set has the truth for. depthcorr needs key points, convexity (of the canonical depth, as
    `core.health` has it) no truth, the others and the baselines need depth maps.
    baselines: of "null-depth" (any constant: both metrics ignore which) and "average-depth" (per pixel, the
    mean true depth of the foreground of the train split, or of the evaluated images where there is none; a pixel that
    is never foreground takes the mean of the others). Both are valid everywhere. upscale: the data set's images may be
    a multiple of the model's size; see predict_upscaled. out: the scores file, its sheet beside
    it; None is scores.h5 in the folder of the run or prediction, or ``<target>.scores.h5`` here, replaced each time.
    """

    target: Path | str | None = None
    data: Path | None = None
    split: str = "test"
    metrics: tuple[str, ...] = ("side", "mad")
    baselines: tuple[str, ...] = ()
    upscale: bool = False
    out: Path | None = None
    runs: Path = Path("runs")
    batch: int = 32
    ema: bool = True
    device: str | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class EvaluateResult:
    """summary: "model" and each baseline → metric → Score. reliability: "side" and "mad" → Trust; empty for
    predictions without. target, data, split: what was evaluated on what.
    """

    target: Path
    data: Path
    split: str
    images: int
    summary: dict[str, dict[str, Score]]
    reliability: dict[str, Trust]
    scores: Path
    sheet: Path


def run(request: EvaluateRequest, *, report: Report = Silent()) -> EvaluateResult:
    """Judge every image of the split, and write the per-image scores and a sheet of the worst and the best.

    The mask is erode3×3(true foreground) ∧ erode3×3(predicted valid). An image without a pixel in it cannot be judged:
    its scores are NaN, and it is left out of the means with a warning. Both metrics are taken at the data's own size;
    the paper's figures are at 64 pixels.

    Raises UsageError on unknown choices, InputError when something is missing, damaged, of another size or without
    truth, StaleError when a prediction was made from another data set or ``out`` holds scores of something else.
    """
    _check_choices(request)
    path = find_target(request.target, request.runs)
    with ExitStack() as stack:
        target = open_judged(
            *(path, request.data, request.split, _wanted(request), stack, report),
            upscale=request.upscale,
            ema=request.ema,
            device=request.device,
        )
        data, out = target.data, request.out or _default_out(request, path)
        stack.enter_context(hold_file(out, [path, data.path]))
        report.note(f"{path} on the {request.split} split of {data.path}: {len(target.rows)} images")
        provenance = make_provenance(recipe=options(request), parents=[target.parent, data])
        if request.out and not request.overwrite:
            _refuse_stale(out, provenance)
        scores = _judge(target, request.batch, report)
        found = {"model": scores}
        for baseline in request.baselines:
            depth = baseline_depth(baseline, data, target.rows, report)
            found[baseline] = score_constant(depth, data, target.rows, target.fov, report)
        summary = {who: summarise(figures, request.metrics, data, target.rows) for who, figures in found.items()}
        gaps = max(int(np.isnan(scores[by_image(metric)]).sum()) for metric in request.metrics)
        if gaps == len(target.rows):
            what = f"sees the object nowhere that the truth of {data.path} does"
            raise InputError(path, what, "see that its depth is sound, or train for longer")
        if gaps:
            report.warn(f"{gaps} of {len(target.rows)} images have no pixel to judge and are left out of the means")
        trust = _trust(request, scores)
        names = data.strings("name")
        # Before the scores: whoever finds these takes the evaluation for done.
        sheet = write_png(out.with_suffix(".png"), _sheet(target, scores, request.metrics[0], report))
        write_artifact(
            out,
            "sym3d.scores",
            {"name": [names[row] for row in target.rows], **scores, **_baselines(found)},
            provenance=provenance,
            attrs={
                "summary": {who: {m: asdict(s) for m, s in found.items()} for who, found in summary.items()},
                "reliability": {metric: asdict(found) for metric, found in trust.items()},
            },
        )
        return EvaluateResult(path, data.path, request.split, len(target.rows), summary, trust, out, sheet)


def _check_choices(request: EvaluateRequest) -> None:
    check_split(request.split)
    for option, asked, known in (("metric", request.metrics, METRICS), ("baseline", request.baselines, BASELINES)):
        for value in asked:
            if value not in known:
                raise UsageError(f"--{option} {value}", "there is no such choice", f"choose from {', '.join(known)}")
    if not request.metrics:
        raise UsageError("--metric", "names no metric", f"choose from {', '.join(METRICS)}")


def _wanted(request: EvaluateRequest) -> set[str]:
    """The kinds of truth that the data set must have."""
    wanted = {TRUTH.get(metric, "depth") for metric in request.metrics} - {None}
    return wanted | ({"depth"} if request.baselines else set())


# -- scores -----------------------------------------------------------------------------------------------------------


def _judge(target: Judged, batch: int, report: Report) -> dict[str, np.ndarray]:
    parts = []
    with report.task("eval", total=len(target.rows)) as task:
        for at in chunks(np.arange(len(target.rows)), batch):
            items = target.items(at)
            depth, valid = torch.from_numpy(items["depth"]), torch.from_numpy(items["valid"])
            found = score(depth, valid, target.data, target.rows[at], target.fov)
            found["convexity"] = convexity(torch.from_numpy(items["canonical_depth"])).numpy()
            parts.append(found | {name: items[name] for name in ("reliability",) if name in items})
            task.advance(len(at))
    return join(parts)


def _trust(request: EvaluateRequest, scores: dict[str, np.ndarray]) -> dict[str, Trust]:
    if "reliability" not in scores:
        return {}
    reliability = torch.from_numpy(scores["reliability"])
    return {m: judge(reliability, torch.from_numpy(scores[m])) for m in request.metrics if m in ERRORS}


def _baselines(found: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The figures for each image of all but the model, under their names in the scores file."""
    return {
        f"baseline/{who}/{name}": values
        for who, scores in found.items()
        for name, values in scores.items()
        if who != "model" and values.ndim == 1
    }


# -- outputs ----------------------------------------------------------------------------------------------------------


def options(request: EvaluateRequest) -> str:
    """What the scores' provenance says of how they came about."""
    return (
        f"split = {request.split}\nmetrics = {','.join(request.metrics)}\nbaselines = {','.join(request.baselines)}\n"
        f"ema = {str(request.ema).lower()}\n{'upscale = true' if request.upscale else ''}"
    )


def _default_out(request: EvaluateRequest, path: Path) -> Path:
    in_folder = request.target is None or Path(request.target).is_dir() or path.name in STANDARD
    return path.parent / "scores.h5" if in_folder else Path(f"{path.stem}.scores.h5")


def _refuse_stale(out: Path, provenance: dict) -> None:
    if not out.exists():
        return
    with open_artifact(out, "sym3d.scores") as there:
        change = origin_difference(provenance, there.provenance)
    if change:
        raise StaleError(out, f"was made differently: {change}", "add --overwrite or choose another output")


def _sheet(target: Judged, scores: dict[str, np.ndarray], metric: str, report: Report) -> np.ndarray:
    """The worst images and the best, one a line with its scores."""
    figures = scores[by_image(metric)]
    order = np.argsort(figures)
    order = order[~np.isnan(figures[order])]
    if metric in ERRORS:
        order = order[::-1]
    each = min(SHEET_EACH, len(order) // 2) or 1
    chosen = {"worst": order[:each], "best": order[::-1][:each] if len(order) > 1 else order[:0]}
    names, lines, labels = target.data.strings("name"), [], []
    with report.task("sheet", total=sum(map(len, chosen.values()))) as task:
        for kind, places in chosen.items():
            for rank, at in enumerate(places, 1):
                name = names[target.rows[at]]
                lines.append(_line(target, at, name))
                labels.append(" · ".join([f"{kind} {rank}", name, *_shown(scores, at, metric)]))
                task.advance()
    return contact_sheet(lines, labels)


def _line(target: Judged, at: int, name: str) -> dict[str, np.ndarray]:
    """The pictures of one image, with its true depth where there is one."""
    item = {field: values[0] for field, values in target.items(np.array([at])).items()}
    truth = None
    if "depth" in target.data:
        depth, foreground = true_depth(target.data, target.rows[at : at + 1])
        truth = torch.where(foreground, depth, 0)[0].numpy()
    return item_pictures(item, name, depth_range=target.depth_range, fov=target.fov, truth=truth)


def _shown(scores: dict[str, np.ndarray], at: int, metric: str) -> list[str]:
    forms = {"side": "SIDE {:.5f}", "mad": "MAD {:.2f}°", "keypoint_relief": "key points' r {:.2f}"}
    forms.setdefault(by_image(metric), metric + " {:.2f}")
    return [form.format(scores[name][at]) for name, form in forms.items() if name in scores]
