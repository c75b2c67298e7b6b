"""The paper's tables, trained and evaluated row by row; whatever is complete already is not done again."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stages.artifact import open_artifact
from stages.device import pick_device
from stages.errors import InputError, UsageError
from stages.evaluate import EvaluateRequest
from stages.evaluate import run as evaluate
from stages.features import FeaturesRequest
from stages.features import run as learn_features
from stages.loading import load_model
from stages.progress import Report, Silent
from stages.recipe import find_recipe, load_recipe
from stages.reproduce.failures import LEVEL_HEAD, GradedLine, judge_checkpoint, report_failures
from stages.reproduce.report import HEAD, Line, Spread, write_table
from stages.reproduce.runs import Job, train_all
from stages.reproduce.tables import LEARNED, TABLES, Row, Scale, scale

__all__ = ["TABLES", "ReproduceRequest", "ReproduceResult", "run"]

BASELINES = ("null-depth", "average-depth")
FEATURES = (1.0, 10_000)  # width and steps of the self-supervised ones: as wide as VGG16
FACTORS = {"side": 100.0, "mad": 1.0, "relief": 1.0}


@dataclass(frozen=True)
class ReproduceRequest:
    """table: one of TABLES. data: a sym3d.images file with true depth, whose train split is learned and whose test
    split is judged. perturbed: the same with perturbed images, for the table that compares them. quick: small runs.
    seeds: how many, from 0; None is 1 for quick tables and 3 otherwise. steps: of every training; None is the recipe's
    (8,000 for quick tables). checkpoint: for the table of failures, a model to judge instead of training some; it draws
    what it judges, and then needs no data. The table goes to ``out``, the runs to runs/.
    """

    table: str
    data: Path | None = None
    perturbed: Path | None = None
    quick: bool = False
    seeds: int | None = None
    steps: int | None = None
    out: Path = Path("results")
    checkpoint: str | Path | None = None


@dataclass(frozen=True)
class ReproduceResult:
    """head: the columns of the lines' cells."""

    head: tuple[str, ...]
    lines: tuple[Line | GradedLine, ...]
    files: tuple[Path, ...]


def run(request: ReproduceRequest, *, report: Report = Silent()) -> ReproduceResult:
    """Train what is missing, evaluate, and write the table. The same request again goes on where it stopped.

    Raises UsageError for an unknown table, InputError for data without truth or a training that failed; and what the
    stages raise. A training that diverges is a result, and is counted in its row.
    """
    if request.table not in TABLES:
        raise UsageError(request.table, "there is no such table", f"choose from {', '.join(TABLES)}")
    if request.checkpoint is not None:
        if request.table != "failures":
            raise UsageError("--checkpoint", f"the table {request.table} trains its own models", "leave it out")
        return ReproduceResult(LEVEL_HEAD, *judge_checkpoint(request.checkpoint, request.out, report))
    if request.data is None:
        raise UsageError(request.table, "has nothing to learn from", "name a sym3d.images file with true depth")
    size = scale(request.quick, request.steps)
    rows = [row for row in TABLES[request.table] if row.quick or not request.quick]
    if not rows:
        raise UsageError(f"{request.table} --quick", "its effects do not show in small runs", "leave --quick out")
    data = {False: request.data, True: request.perturbed}
    digests = {row.perturbed: _digest(data[row.perturbed]) for row in rows}
    seeds = range(request.seeds or size.seeds)

    def names(row: Row) -> list[str]:
        """Of its runs; runs on other data are other runs."""
        return [f"{size.name}-{digests[row.perturbed][:6]}-{row.training}-{seed}" for seed in seeds]

    learned = Path("runs") / f"{size.name}-{digests[False][:6]}-features.h5"
    jobs: dict[str, Job] = {}  # rows may share them
    for row in (row for row in rows if row.training):
        settings = (*size.settings, *row.settings)
        if LEARNED in settings:
            learn_features(FeaturesRequest(request.data, learned, *FEATURES), report=report)
            settings += (f"loss.features_path={json.dumps(str(learned))}",)
        for seed, name in enumerate(names(row)):
            jobs[name] = _job(name, size, (*settings, f"run.seed={seed}"), data[row.perturbed])
    diverged = train_all(list(jobs.values()), request.out / "logs", report)
    scores = {name: _scores(name, job.data, report) for name, job in jobs.items() if name not in diverged}
    if not scores:
        raise InputError(request.table, "all of its trainings diverged", f"see {request.out / 'logs'}")
    lines = tuple(_line(row, names(row), scores) for row in rows)
    facts = _facts(request, size, len(seeds), next(iter(scores)), lines)
    name = f"{request.table}-{size.name}"
    if request.table == "failures":
        models = [Path("runs") / run for run in scores]
        return ReproduceResult(LEVEL_HEAD, *report_failures(models, request.out, name, facts, report))
    files = write_table(request.out, name, f"{request.table.capitalize()} ({size.name})", lines, facts)
    return ReproduceResult(HEAD, lines, tuple(files))


def _digest(path: Path | None) -> str:
    if path is None:
        raise UsageError("--perturbed", "this table needs perturbed images as well", "make them with --perturb")
    with open_artifact(path, "sym3d.images") as data:
        if "depth" not in data or "mask" not in data:
            raise InputError(path, "has no true depth", "make some with sym3d synth")
        return data.digest


def _job(name: str, size: Scale, settings: tuple[str, ...], data: Path) -> Job:
    load_recipe(size.recipe, settings)  # a fault in a row shows before hours of training
    return Job(name, size.recipe, data, settings)


def _scores(name: str, data: Path, report: Report) -> dict[str, np.ndarray]:
    """Per image, the model's and the baselines', and the seconds of its training; evaluated once."""
    folder = Path("runs") / name
    with open_artifact(folder / "checkpoint.h5", "sym3d.checkpoint") as checkpoint:
        digest, seconds = checkpoint.digest, float(checkpoint.attrs["seconds"])
    out = folder / "scores.h5"
    if not _made_from(out, digest):
        evaluate(EvaluateRequest(folder, data, metrics=tuple(FACTORS), baselines=BASELINES), report=report)
    with open_artifact(out, "sym3d.scores") as scores:
        return {key: scores[key][:] for key in scores.names if key != "name"} | {"seconds": np.array(seconds)}


def _made_from(scores: Path, digest: str) -> bool:
    if not scores.exists():
        return False
    with open_artifact(scores, "sym3d.scores") as artifact:
        wanted = {f"baseline/{baseline}/relief" for baseline in BASELINES}
        return artifact.provenance["parents"][0].get("digest") == digest and wanted <= set(artifact.names)


def _line(row: Row, names: Sequence[str], scores: dict[str, dict[str, np.ndarray]]) -> Line:
    if row.training is None:  # the same for all runs: the data decide
        found, prefix = [next(iter(scores.values()))], f"baseline/{row.label}/"
    else:
        found, prefix = [scores[name] for name in names if name in scores], ""
    if not found:
        return Line(row.label, row.paper, len(names), None, None, diverged=len(names))
    side, mad = (Spread.of([run[prefix + key] * FACTORS[key] for run in found]) for key in ("side", "mad"))
    if row.training is None:
        return Line(row.label, row.paper, 0, side, mad)
    return Line(
        row.label,
        row.paper,
        len(names),
        side,
        mad,
        hollow=sum(bool(np.nanmean(run["relief"]) < 0) for run in found),
        diverged=len(names) - len(found),
        seconds=float(sum(run["seconds"] for run in found)),
    )


def _facts(request: ReproduceRequest, size: Scale, seeds: int, run: str, lines: Sequence[Line]) -> dict[str, str]:
    loaded = load_model(Path("runs") / run)
    device = pick_device()
    named = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {platform.machine()}"
    options = f" --perturbed {request.perturbed.name}" if request.perturbed else ""
    options += " --quick" if request.quick else ""
    options += f" --steps {request.steps}" if request.steps else ""
    with open_artifact(request.data) as data:
        about = f"{request.data.name}, {data.count:,} images, {data.provenance.get('recipe')}"
    return {
        "command": f"sym3d reproduce {request.table} {request.data.name}{options} --seeds {seeds}",
        "data": about,
        "recipe": f"{find_recipe(size.recipe).stem}, {loaded.step:,} steps of {loaded.recipe.optim.batch}",
        "device": named,
        "training": f"{sum(line.seconds for line in lines) / 60:.0f} minutes in all",
        "versions": ", ".join(f"{name} {version}" for name, version in loaded.provenance["versions"].items()),
        "commit": loaded.provenance["git"].get("revision", "of an installed copy"),
    }
