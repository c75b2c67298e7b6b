"""Signs that a training run has gone one of the known wrong ways, readable without ground truth."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from stages.core.geometry import smoothness
from stages.core.model import Factors

__all__ = ["collapsed", "convexity", "symptoms"]

STEEP = 0.08  # of the depth range in a pixel of 64; 2 % of the steps of sound shapes are steeper, 20 % of folded ones


def convexity(depth: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Correlation of canonical nearness with a centred dome, in [-1, 1]: positive is convex, negative hollow."""
    size = depth.shape[-1]
    axis = torch.linspace(-1, 1, size, device=depth.device)
    dome = -(axis[None, :] ** 2 + axis[:, None] ** 2)
    inner = slice(size // 8, -(size // 8))  # the border is clamped and mostly background
    near, dome = -depth[:, inner, inner].flatten(1), dome[inner, inner].flatten()
    near, dome = near - near.mean(1, keepdim=True), dome - dome.mean()
    return (near * dome).sum(1) / (near.norm(dim=1) * dome.norm()).clamp(min=1e-12)


def collapsed(angles: Float[Tensor, "b 3"]) -> bool:
    """Whether the viewpoints of a batch, in radians, are all turned far and by as much, to one side or to either."""
    turned = angles.abs()
    if len(turned) < 2:
        return False  # there is no spread of one
    return bool(((turned.mean(0) > math.radians(25)) & (turned.std(0) < math.radians(8))).any())


def symptoms(factors: Factors, depth_range: float) -> list[str]:
    """One line for each known failure that these factors of a batch show; nothing when all seems well."""
    found = []
    depth = factors.free_depth
    relief = depth.std((1, 2)).mean().item() / depth_range
    if relief < 0.02:
        found.append("the depth is flat; try a lower optim.lr, model.convex_prior=1.2 or pictures from more sides")
    elif convexity(depth).mean().item() < 0:
        found.append(
            "the shape is concave, inverted (a hollow mould explains the images as well); "
            "try model.convex_prior=1.2, or a larger one than it has"
        )
    steep = STEEP * 64 / depth.shape[-1] * depth_range
    blades = sum((depth.diff(dim=dim).abs() > steep).float().mean() for dim in (2, 1))
    if smoothness(depth).item() > 0.1 * depth_range:
        found.append("the depth is noisy; try loss.smoothness=0.1")
    elif blades.item() > 0.06:
        found.append(
            "the depth stands up in blades and does not find back (folded); try loss.steepness=0.6 or fewer steps, "
            "and run.keep_best=true to have the checkpoint from before"
        )
    if collapsed(factors.view[:, :3]):
        found.append(
            "every viewpoint is turned by as much, the same way or to either side (collapsed); try a lower optim.lr, "
            "calmer backgrounds or loss.yaw_spread=15"
        )
    elif len(factors.view) > 1 and (factors.view[:, :2].std(0) < math.radians(1)).all():
        found.append(
            "every viewpoint is the same (collapsed), so nothing is learned of depth; give it more steps, or try "
            "loss.yaw_spread=15, model.symmetric=true or pictures from more sides"
        )
    return found
