"""The table of 3DFAW's depth correlation: how the depth of 66 key points follows the truth from face to face."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stages.artifact import SPLITS, open_artifact
from stages.core.metrics import depth_correlation
from stages.errors import InputError
from stages.evaluate import EvaluateRequest
from stages.progress import Report
from stages.recipe import path_setting
from stages.reproduce.depthnet import score_depthnet
from stages.reproduce.remarks import Compared, order
from stages.reproduce.report import write_table
from stages.reproduce.runs import Job, train_all
from stages.reproduce.shared import (
    RUNS,
    ReproduceRequest,
    ReproduceResult,
    describe,
    digest_of,
    evaluated,
    made_from,
    make_job,
    naming,
    trained,
)
from stages.reproduce.tables import QUICK_STEPS, SUPERVISED, Scale, scale

__all__ = ["reproduce_depthcorr"]

HEAD = ("", "depth correlation", "paper", "seeds", "minutes")
KEY = (
    "Sum over 66 key points of |Pearson's r over the test images| between predicted and true depth; mean over seeds, "
    "in brackets their deviation. The paper's figures are on 3DFAW, and so are those that it quotes: AIGN 50.81, "
    "DepthNetGAN 58.68, MOFA 15.97."
)
SETTLED = ("optim.search_steps=0", "loss.yaw_spread_steps=1")  # what sees viewpoints need not search for them


@dataclass(frozen=True)
class CorrelationLine:
    """A row: the figure of each seed that got to its end, and the paper's for its own."""

    label: str
    paper: str
    figures: tuple[float, ...]
    seeds: int = 0  # 0: there is nothing to learn
    seconds: float = 0.0

    def cells(self) -> tuple[str, ...]:
        deviation = f" ({np.std(self.figures):.2f})" if len(self.figures) > 1 else ""
        shown = f"{np.mean(self.figures):.2f}{deviation}" if self.figures else "none finished"
        diverged = self.seeds - len(self.figures) if self.seeds else 0
        seeds = str(self.seeds or "") + (f", {diverged} diverged" if diverged else "")
        minutes = f"{self.seconds / 60:.0f}" if self.seconds else ""
        return self.label, shown, self.paper, seeds, minutes

    def compared(self) -> Compared:
        """With the paper's figure, of two the larger."""
        paper = max(map(float, self.paper.split(" / "))) if self.paper else None
        return Compared(self.label, float(np.mean(self.figures)) if self.figures else None, paper)


def reproduce_depthcorr(request: ReproduceRequest, report: Report) -> ReproduceResult:
    """The table of depth correlations; see `stages.reproduce.run`."""
    size, digest = scale(request.quick, request.steps), digest_of(request.data, ("keypoints",))
    seeds, logs = range(request.seeds or size.seeds), request.out / "logs"
    dense, truth = _truth(request.data)
    if not dense:
        report.note(f"{request.data} has no depth maps: the rows supervised and average depth are left out")
    if request.pretrain is None:
        report.note("without --pretrain-data the row of pre-training is left out")

    plain = [_job(size, request.data, digest, "full", seed) for seed in seeds]
    supervised = [_job(size, request.data, digest, "supervised", seed, *SUPERVISED) for seed in seeds] if dense else []
    other, half = digest_of(request.pretrain, ()) if request.pretrain else "", _half(request)
    before = [_job(half, request.pretrain, other, "first", seed) for seed in seeds] if request.pretrain else []
    diverged = train_all([*plain, *supervised, *before], logs, report)
    after = [
        _job(half, request.data, digest, f"after-{other[:6]}", seed, *SETTLED, path_setting("optim.init", RUNS / first))
        for seed, first in enumerate(first.name for first in before)
        if first not in diverged
    ]
    diverged |= train_all(after, logs, report)
    ended = [job.name for job in (*plain, *supervised, *after) if job.name not in diverged]
    if not ended:
        raise InputError(request.table, "all of its trainings diverged", f"see {logs}")
    found = {name: _figures(name, request.data, dense, report) for name in ended}

    def line(label: str, paper: str, jobs: Sequence[Job]) -> CorrelationLine:
        mine = [found[job.name] for job in jobs if job.name in found]
        seconds = sum(figures["seconds"] for figures in mine)
        return CorrelationLine(label, paper, tuple(figures["model"] for figures in mine), len(seeds), seconds)

    lines = [
        CorrelationLine("ground truth", "66", (_correlate(truth, truth),)),
        line("unsupervised", "48.98", plain),
        *([line("unsupervised, with pre-training", "54.65", after)] if before else []),
        *([line("supervised", "", supervised)] if dense else []),
        *([CorrelationLine("average depth", "", (found[ended[0]]["average-depth"],))] if dense else []),
        _depthnet(request.data, [naming(size, digest, "depthnet", seed) for seed in seeds], digest, truth, report),
    ]
    facts = describe(request, size, len(seeds), ended[0], sum(line.seconds for line in lines))
    table = f"depthcorr-{size.name}"
    remarks = (order("depth correlation", [line.compared() for line in lines]),)
    files = write_table(request.out, table, f"Depth correlation ({size.name})", lines, facts, HEAD, KEY, remarks)
    return ReproduceResult(HEAD, tuple(lines), tuple(files), remarks)


def _truth(path: Path) -> tuple[bool, np.ndarray]:
    """Whether there are depth maps to learn from, and the depth (N, 66) of the test images' key points."""
    with open_artifact(path, "sym3d.images") as data:
        truth = data["keypoints"][:][data["split"][:] == SPLITS["test"], :, 2]
        if not len(truth):
            raise InputError(path, "has no image in its split 'test'", "make it larger")
        return "depth" in data and "mask" in data, truth


def _half(request: ReproduceRequest) -> Scale:
    """Of a quick table's steps one half goes to the other faces and one to these, so that all rows see as many images;
    the paper's went through both whole."""
    if not request.quick:
        return scale(False, request.steps)
    return scale(True, max(1, (request.steps or QUICK_STEPS) // 2))


def _job(size: Scale, data: Path, digest: str, training: str, seed: int, *settings: str) -> Job:
    return make_job(naming(size, digest, training, seed), size, (*size.settings, *settings, f"run.seed={seed}"), data)


def _figures(name: str, data: Path, dense: bool, report: Report) -> dict[str, float]:
    """Of a run's model and the baseline on the test split, and the seconds of its training; evaluated once."""
    folder, out = RUNS / name, RUNS / name / "depthcorr.h5"
    digest, seconds = trained(folder)
    baselines = ("average-depth",) if dense else ()
    request = EvaluateRequest(folder, data, metrics=("depthcorr",), baselines=baselines, out=out, overwrite=True)
    with open_artifact(evaluated(request, out, digest, report), "sym3d.scores") as scores:
        summary = scores.attrs["summary"]
    return {who: float(metrics["depthcorr"]["mean"]) for who, metrics in summary.items()} | {"seconds": seconds}


def _depthnet(data: Path, names: Sequence[str], digest: str, truth: np.ndarray, report: Report) -> CorrelationLine:
    figures = []
    for seed, name in enumerate(names):
        out = RUNS / f"{name}.h5"
        if not made_from(out, digest):
            score_depthnet(data, out, seed, report)
        with open_artifact(out, "sym3d.scores") as scores:
            figures.append(_correlate(scores["keypoint_depth"][:], truth))
    return CorrelationLine("DepthNet: from the key points' positions", "26.32 / 35.77", tuple(figures), len(names))


def _correlate(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(depth_correlation(torch.from_numpy(predicted), torch.from_numpy(truth)))
