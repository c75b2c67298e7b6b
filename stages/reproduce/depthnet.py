"""Learn DepthNet from the key points of a data set, and keep the depths that it gives for the test split."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stages.artifact import SPLITS, make_provenance, open_artifact, write_artifact
from stages.core.depthnet import DepthNet, affine_residual, centred
from stages.progress import Report

__all__ = ["ask_depthnet", "learn_depthnet", "score_depthnet"]

STEPS, BATCH, RATE = 3000, 128, 1e-3
ASKED = 16  # other faces that a test face's depths are the mean over


def learn_depthnet(faces: Tensor, seed: int, report: Report, steps: int = STEPS) -> DepthNet:
    """From centred points (N, K, 2) of N faces, each mapped to random others. In eval mode, on the CPU."""
    torch.manual_seed(seed)
    net = DepthNet(faces.shape[1])
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with report.task(f"DepthNet {seed}", steps) as task:
        for _ in range(steps):
            source, target = faces[torch.randint(len(faces), (2, BATCH))]
            loss = affine_residual(source, net(source, target), target).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            task.advance()
    return net.eval().requires_grad_(False)


def ask_depthnet(net: DepthNet, faces: Tensor, others: Tensor) -> Tensor:
    """Depths (N, K) of faces (N, K, 2): the mean over the others (M, K, 2) that they are mapped to."""
    return torch.stack([net(faces, other.expand_as(faces)) for other in others]).mean(0)


def score_depthnet(data: Path, out: Path, seed: int, report: Report) -> None:
    """Learn from the train split, and write the depths for the test split as scores."""
    with open_artifact(data, "sym3d.images") as images:
        size, split = images["image"].shape[1], images["split"][:]
        points = centred(torch.from_numpy(images["keypoints"][:][..., :2]), size)
        train, test = (split == SPLITS[name] for name in ("train", "test"))
        net = learn_depthnet(points[train], seed, report)
        depth = ask_depthnet(net, points[test], points[train][:ASKED])
        names = images.strings("name")
        write_artifact(
            out,
            "sym3d.scores",
            {"name": [names[row] for row in np.flatnonzero(test)], "keypoint_depth": depth.numpy()},
            provenance=make_provenance(recipe=f"DepthNet, {STEPS} steps of {BATCH}", seed=seed, parents=[images]),
        )
