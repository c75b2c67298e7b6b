"""The paper's tables, trained and evaluated row by row; whatever is complete already is not done again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.artifact import open_artifact
from stages.errors import InputError, UsageError
from stages.evaluate import EvaluateRequest
from stages.features import FeaturesRequest
from stages.features import run as learn_features
from stages.progress import Report, Silent
from stages.recipe import path_setting
from stages.reproduce.confidence import confidence_sheet
from stages.reproduce.depthcorr import reproduce_depthcorr
from stages.reproduce.failures import LEVEL_HEAD, judge_checkpoint, report_failures
from stages.reproduce.remarks import Compared, order, ratio
from stages.reproduce.report import HEAD, DepthLine, Spread, write_table
from stages.reproduce.runs import Job, train_all
from stages.reproduce.seeds import reproduce_seeds
from stages.reproduce.shared import (
    RUNS,
    ReproduceRequest,
    ReproduceResult,
    describe,
    digest_of,
    evaluated,
    make_job,
    naming,
    trained,
)
from stages.reproduce.tables import LEARNED, RATIOS, TABLES, Row, rows_of, scale
from stages.synth import read_model

__all__ = ["NAMES", "TABLES", "ReproduceRequest", "ReproduceResult", "run"]

OTHERS = {"depthcorr": reproduce_depthcorr, "seeds": reproduce_seeds}  # tables of other figures than SIDE and MAD
NAMES = (*TABLES, *OTHERS)
BASELINES = ("null-depth", "average-depth")
FEATURES = (1.0, 10_000)  # width and steps of the self-supervised ones: as wide as VGG16
FACTORS = {"side": 100.0, "mad": 1.0, "relief": 1.0}


def run(request: ReproduceRequest, *, report: Report = Silent()) -> ReproduceResult:
    """Train what is missing, evaluate, and write the table. The same request again goes on where it stopped.

    Raises UsageError for an unknown table, InputError for data without truth, the error of a training that
    failed; and what the stages raise. A training that diverges is a result, and is counted in its row.
    """
    if request.table not in NAMES:
        raise UsageError(request.table, "there is no such table", f"choose from {', '.join(NAMES)}")
    if request.morphable is not None:
        if request.table != "failures":
            raise UsageError("--morphable", f"the table {request.table} draws no faces", "name data made from it")
        read_model(request.morphable)  # rather now than after hours of training
    if request.checkpoint is not None:
        if request.table != "failures":
            raise UsageError("--checkpoint", f"the table {request.table} trains its own models", "leave it out")
        return ReproduceResult(LEVEL_HEAD, *judge_checkpoint(request, report))
    if request.data is None:
        raise UsageError(request.table, "has nothing to learn from", "name a sym3d.images file with true depth")
    return OTHERS.get(request.table, _reproduce_errors)(request, report)


def _reproduce_errors(request: ReproduceRequest, report: Report) -> ReproduceResult:
    """A table of SIDE and MAD."""
    size = scale(request.quick, request.steps)
    rows = rows_of(request.table, request.quick)
    if request.perturbed is None and any(row.perturbed for row in rows):
        raise UsageError("--perturbed", "this table needs perturbed images as well", "make them with --perturb")
    data = {row.perturbed: request.perturbed if row.perturbed else request.data for row in rows}
    digests = {perturbed: digest_of(path) for perturbed, path in data.items()}
    if len({*digests.values()}) < len(digests):
        fix = "make the same images with --perturb"
        raise UsageError(f"--perturbed {request.perturbed}", f"holds what {request.data} does", fix)
    seeds = range(request.seeds or size.seeds)

    def names(row: Row) -> list[str]:
        return [naming(size, digests[row.perturbed], row.training, seed) for seed in seeds]

    learned = RUNS / f"{size.name}-{digests[False][:6]}-features.h5"
    jobs: dict[str, Job] = {}  # rows may share them
    for row in (row for row in rows if row.training):
        settings = (*size.settings, *row.settings)
        if LEARNED in settings:
            learn_features(FeaturesRequest(request.data, learned, *FEATURES), report=report)
            settings += (path_setting("loss.features_path", learned),)
        for seed, name in enumerate(names(row)):
            jobs[name] = make_job(name, size, (*settings, f"run.seed={seed}"), data[row.perturbed])
    diverged = train_all(list(jobs.values()), request.out / "logs", report)
    scores = {name: _scores(name, job.data, report) for name, job in jobs.items() if name not in diverged}
    if not scores:
        raise InputError(request.table, "all of its trainings diverged", f"see {request.out / 'logs'}")
    lines = tuple(_line(row, names(row), scores) for row in rows)
    facts = describe(request, size, len(seeds), next(iter(scores)), sum(line.seconds for line in lines))
    table = f"{request.table}-{size.name}"
    if request.table == "failures":
        models = [RUNS / run for run in scores]
        return ReproduceResult(LEVEL_HEAD, *report_failures(models, request, table, facts, report))
    title, remarks = f"{request.table.capitalize()} ({size.name})", _remarks(request.table, lines)
    files = write_table(request.out, table, title, lines, facts, remarks=remarks)
    for row in (row for row in rows if row.pictured):
        shown = [name for name in names(row) if name in scores][:1]
        files += [confidence_sheet(request.out / f"{table}-confidence.png", RUNS / name, data[True]) for name in shown]
    return ReproduceResult(HEAD, lines, tuple(files), remarks)


def _remarks(table: str, lines: Sequence[DepthLine]) -> tuple[str, ...]:
    metrics = {
        "SIDE": [Compared(line.label, line.side and line.side.mean, line.paper[0]) for line in lines],
        "MAD": [Compared(line.label, line.mad and line.mad.mean, line.paper[2]) for line in lines],
    }
    ratios = [ratio(*pair, metrics) for pair in RATIOS.get(table, ())]
    return (*(order(metric, rows) for metric, rows in metrics.items()), *filter(None, ratios))


def _scores(name: str, data: Path, report: Report) -> dict[str, np.ndarray]:
    """Per image, the model's and the baselines', and the seconds of its training; evaluated once."""
    digest, seconds = trained(RUNS / name)
    request = EvaluateRequest(RUNS / name, data, metrics=tuple(FACTORS), baselines=BASELINES)
    with open_artifact(evaluated(request, RUNS / name / "scores.h5", digest, report), "sym3d.scores") as scores:
        return {key: scores[key][:] for key in scores.names if key != "name"} | {"seconds": np.array(seconds)}


def _line(row: Row, names: Sequence[str], scores: dict[str, dict[str, np.ndarray]]) -> DepthLine:
    if row.training is None:  # the same for all runs: the data decide
        found, prefix = [next(iter(scores.values()))], f"baseline/{row.label}/"
    else:
        found, prefix = [scores[name] for name in names if name in scores], ""
    if not found:
        return DepthLine(row.label, row.paper, len(names), None, None, diverged=len(names))
    side, mad = (Spread.of([run[prefix + key] * FACTORS[key] for run in found]) for key in ("side", "mad"))
    if row.training is None:
        return DepthLine(row.label, row.paper, 0, side, mad)
    return DepthLine(
        row.label,
        row.paper,
        len(names),
        side,
        mad,
        hollow=sum(bool(np.nanmean(run["relief"]) < 0) for run in found),
        diverged=len(names) - len(found),
        seconds=float(sum(run["seconds"] for run in found)),
    )
