"""Depth maps against the truth of a data set: figures for every image, and what they come to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stages.artifact import Artifact
from stages.core.keypoints import keypoint_depth
from stages.core.metrics import correlation, depth_correlation, evaluation_mask, mad, relief, side
from stages.io.threads import chunks
from stages.progress import Report, Silent
from stages.truth import CHUNK, true_depth

__all__ = ["METRICS", "TRUTH", "Score", "by_image", "join", "score", "score_constant", "summarise"]

METRICS = ("side", "mad", "relief", "depthcorr", "convexity")
TRUTH = {"depthcorr": "keypoints", "convexity": None}  # what a metric compares with, where that is not depth maps


@dataclass(frozen=True)
class Score:
    """Over the images that could be judged. SIDE is a plain number (tables print it × 10⁻²), MAD is in degrees."""

    mean: float
    std: float | None  # of the population; None for depthcorr, which is one figure for all images
    count: int


def by_image(metric: str) -> str:
    """The figure for each image that goes with a metric."""
    return "keypoint_relief" if metric == "depthcorr" else metric


def score(
    depth: torch.Tensor, valid: torch.Tensor, data: Artifact, rows: np.ndarray, fov: float
) -> dict[str, np.ndarray]:
    """Figures of depth maps (K, H, W) in metres for these ascending rows, of all that the data set has the truth for.

    side, mad, relief (K,) with true depth; with key points their predicted depth, keypoint_depth (K, 66), and its
    correlation with the true one within each image, keypoint_relief (K,).
    """
    scores = {}
    if "depth" in data:
        truth, foreground = true_depth(data, rows)
        mask = evaluation_mask(foreground, valid)
        # Normals look one pixel around: background next to the mask must be finite, and the mask keeps clear of it.
        truth = torch.where(foreground, truth, 1.0)
        scores |= {
            "side": side(depth, truth, mask),
            "mad": mad(depth, truth, mask, fov),
            "relief": relief(depth, truth, mask),
        }
    if "keypoints" in data:
        points = torch.from_numpy(data["keypoints"][rows])
        found = keypoint_depth(depth, valid, points[..., :2])
        scores |= {"keypoint_depth": found, "keypoint_relief": correlation(found.mT, points[..., 2].mT)}
    return {name: values.numpy() for name, values in scores.items()}


def score_constant(
    depth: torch.Tensor, data: Artifact, rows: np.ndarray, fov: float, report: Report = Silent()
) -> dict[str, np.ndarray]:
    """Figures of one depth map (H, W), valid everywhere, given as the answer for every image."""
    parts = []
    with report.task("eval of a baseline", total=len(rows)) as task:
        for some in chunks(rows, CHUNK):
            same = depth.expand(len(some), -1, -1)
            parts.append(score(same, torch.ones_like(same, dtype=torch.bool), data, some, fov))
            task.advance(len(some))
    return join(parts)


def join(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The figures of several batches as those of one."""
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def summarise(
    scores: dict[str, np.ndarray], metrics: Sequence[str], data: Artifact, rows: np.ndarray
) -> dict[str, Score]:
    """What the figures of these rows come to; NaN stands for images that could not be judged. A metric that there are
    no figures of, as of the convexity of a baseline, is left out."""
    found = {}
    for metric in metrics:
        if metric == "convexity" and metric not in scores:
            continue
        if metric == "depthcorr":
            found[metric] = _correlate(scores["keypoint_depth"], data["keypoints"][rows][..., 2])
        else:
            values = scores[metric][~np.isnan(scores[metric])].astype(np.float64)
            mean, std = (float(values.mean()), float(values.std())) if len(values) else (np.nan, np.nan)
            found[metric] = Score(mean, std, len(values))
    return found


def _correlate(predicted: np.ndarray, truth: np.ndarray) -> Score:
    judged = np.isfinite(predicted).all(1) & np.isfinite(truth).all(1)
    figure = depth_correlation(torch.from_numpy(predicted[judged]), torch.from_numpy(truth[judged]))
    return Score(float(figure) if judged.any() else np.nan, None, int(judged.sum()))
