"""The true depth of a data set, and the depth maps that need no model: the trivial baselines."""

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from stages.artifact import SPLITS, Artifact, open_artifact
from stages.errors import InputError
from stages.io.threads import chunks
from stages.progress import Report, Silent

__all__ = ["BASELINES", "CHUNK", "baseline_depth", "open_truth", "true_depth"]

BASELINES = ("null-depth", "average-depth")
CHUNK = 256  # rows of truth in memory at a time


def open_truth(
    path: Path, stack: ExitStack, wanted: Collection[str] = ("depth",), report: Report = Silent()
) -> Artifact:
    """The data set, open for as long as the stack. Raises InputError when it lacks ``wanted``: depth, keypoints."""
    data = stack.enter_context(open_artifact(path, "sym3d.images", report))
    for name, what in (("depth", "true depth"), ("keypoints", "key points")):
        if name in wanted and name not in data:
            other = "depthcorr" if "keypoints" in data else "convexity"
            fix = f"evaluate on images with ground truth, such as those of sym3d synth, or --metric {other}"
            raise InputError(path, f"has no {what} to compare with", fix)
    return data


def true_depth(data: Artifact, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """True depth (K, H, W) in metres and foreground (K, H, W) of ascending rows."""
    depth = torch.from_numpy(data["depth"][rows])
    foreground = depth.isfinite() & (depth > 0)
    if "mask" in data:
        foreground &= torch.from_numpy(data["mask"][rows])
    return depth, foreground


def baseline_depth(name: str, data: Artifact, rows: np.ndarray, report: Report = Silent()) -> torch.Tensor:
    """The depth map (H, W), metres, that a baseline answers for every image; see EvaluateRequest."""
    total = torch.zeros(data["depth"].shape[1:], dtype=torch.float64)
    if name == "null-depth":
        return torch.ones_like(total, dtype=torch.float32)
    train = np.flatnonzero(data["split"][:] == SPLITS["train"])
    rows = train if len(train) else rows
    count = torch.zeros_like(total)
    with report.task(name, total=len(rows)) as task:
        for some in chunks(rows, CHUNK):
            depth, foreground = true_depth(data, some)
            total += torch.where(foreground, depth, 0).double().sum(0)
            count += foreground.sum(0)
            task.advance(len(some))
    mean = total / count  # NaN where no image has foreground
    return torch.where(count > 0, mean, mean[count > 0].mean()).float()
