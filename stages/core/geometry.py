"""Surface normals of a depth map, and how rough and how steep one is."""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from stages.core.camera import FOV, pixel_rays

__all__ = ["depth_normals", "smoothness", "steepness"]

FREE_SLOPE = 0.04  # of what depth may span, in a pixel of 64: noses stay below, blades as shapes fold into do not


def depth_normals(depth: Float[Tensor, "b h w"], fov: float = FOV) -> Float[Tensor, "b h w 3"]:
    """Unit normals: (P[v,u+1] - P[v,u-1]) × (P[v+1,u] - P[v-1,u]); border pixels get (0, 0, 1).

    **Convention:** a frontal surface has normal +z, that is, *away* from the camera; light directions follow suit.
    The reference divides by norm + 1e-7 and so returns normals 0.2-0.4 % short at 64 pixels; these have length 1.
    """
    step, x, y, rim = _pixel_frame(*depth.shape[-2:], fov, device=depth.device, dtype=depth.dtype)
    left, right = depth[:, 1:-1, :-2], depth[:, 1:-1, 2:]
    above, below = depth[:, :-2, 1:-1], depth[:, 2:, 1:-1]
    # Neighbours are d r apart, r = (x ± step, y, 1) or (x, y ± step, 1), so the product, divided by step², is this:
    wide, high = right + left, below + above
    n_x, n_y = (left - right) / step * high, (above - below) / step * wide
    n_z = wide * high - x * n_x - y * n_y
    scale = (n_x * n_x + n_y * n_y + n_z * n_z).clamp(min=1e-30).rsqrt()  # 0 stays 0 where all depths are
    inner = torch.stack([n_x * scale, n_y * scale, n_z * scale], 1)
    return (F.pad(inner, (1, 1, 1, 1)) + rim).movedim(1, -1)


@lru_cache(maxsize=16)
def _pixel_frame(height: int, width: int, fov: float, *, device, dtype) -> tuple[float, Tensor, Tensor, Tensor]:
    """Ray slope between two pixels, x and y of the inner pixels' rays, and the border's normals (3, H, W)."""
    with torch.inference_mode(False):  # a cached inference tensor could not serve training later
        x, y = pixel_rays(height, width, fov, device=device, dtype=dtype)[1:-1, 1:-1, :2].unbind(-1)
        border = F.pad(torch.zeros(height - 2, width - 2), (1, 1, 1, 1), value=1.0)
        rim = (border * torch.tensor([0.0, 0.0, 1.0])[:, None, None]).to(device=device, dtype=dtype)
        return 2 * math.tan(math.radians(fov) / 2) / (width - 1), x[:1].clone(), y[:, :1].clone(), rim


def smoothness(depth: Float[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """mean |∂_u d| + mean |∂_v d| over pixel steps."""
    return depth.diff(dim=2).abs().mean() + depth.diff(dim=1).abs().mean()


def steepness(depth: Float[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """mean (|∂_u d| - s)₊² / s + mean (|∂_v d| - s)₊² / s over pixel steps of a depth in shares of its range.

    s is a slope of 0.04 in a pixel of 64: gentler steps are free, and what is steeper costs the more, unlike in
    :func:`smoothness`, for which one high step is as good as many low ones.
    """
    limit = FREE_SLOPE * 64 / depth.shape[-1]
    steps = depth.diff(dim=2), depth.diff(dim=1)
    return sum(((step.abs() - limit).relu().square() / limit).mean() for step in steps)
