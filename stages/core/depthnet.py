"""DepthNet: the depth of a face's key points from where they lie in the image, without any depth to learn from.

Moniz, Beckham, Rajotte, Honari and Pal, Unsupervised Depth Estimation, 3D Face Rotation and Replacement, NeurIPS 2018:
with the right depths, some affine map takes the points of one face to those of another. The map is solved for in closed
form, so that depths are all there is to learn. They are known up to sign and scale, and up to a multiple of u and v.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["DepthNet", "affine_residual", "centred"]

RIDGE = 0.05  # of the least squares, as in the paper's code: keeps depths from shrinking to nothing


class DepthNet(nn.Module):
    """Points of two faces → depths of the first one's."""

    def __init__(self, points: int, width: int = 256):
        super().__init__()
        sizes = (4 * points, width, width, width // 2)
        layers = [
            layer
            for fan_in, fan_out in pairwise(sizes)
            for layer in (nn.Linear(fan_in, fan_out), nn.BatchNorm1d(fan_out), nn.ReLU())
        ]
        self.network = nn.Sequential(*layers, nn.Linear(sizes[-1], points))

    def forward(self, source: Float[Tensor, "b k 2"], target: Float[Tensor, "b k 2"]) -> Float[Tensor, "b k"]:
        return self.network(torch.cat([source, target], 1).flatten(1))


def centred(points: Float[Tensor, "b k 2"], size: int) -> Float[Tensor, "b k 2"]:
    """Pixels of an image of ``size`` → fractions of it, about each face's middle."""
    return (points - points.mean(1, keepdim=True)) / size


def affine_residual(
    source: Float[Tensor, "b k 2"], depth: Float[Tensor, "b k"], target: Float[Tensor, "b k 2"]
) -> Float[Tensor, " b"]:
    """Mean squared distance of the target from the best affine image of the source points (u, v, depth)."""
    a = torch.cat([source, depth[..., None], torch.ones_like(depth)[..., None]], 2)
    gram = a.mT @ a + RIDGE * torch.eye(4, dtype=a.dtype, device=a.device)
    found = a @ torch.linalg.solve(gram, a.mT @ target)
    return (target - found).square().sum(2).mean(1)
