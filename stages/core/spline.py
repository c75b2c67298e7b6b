"""A smooth surface through a grid of values: bicubic spline interpolation, as two products with a matrix."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

__all__ = ["fill", "spline_matrix"]


def spline_matrix(positions: Tensor, count: int) -> Tensor:
    """(P, count) float64: times the values at 0, 1, ..., count-1, the natural cubic spline through them at positions.

    Of the bicubic interpolations this is the one whose curvature is continuous, so that light on the surface shows no
    seams; straight lines stay straight (torch's own bicubic, with a = -0.75, ripples them).
    """
    knots = torch.arange(-1, count + 1, dtype=torch.float64)
    ends = torch.zeros(2, count + 2, dtype=torch.float64)
    ends[0, :3] = ends[1, -3:] = torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)  # no curvature at the ends
    conditions = torch.cat([_bump(knots[1:-1, None] - knots), ends])
    return _bump(positions.double()[:, None] - knots) @ torch.linalg.inv(conditions)[:, :count]


def fill(values: Tensor, known: Tensor) -> Tensor:
    """values (..., H, W) with the unknown ones grown from the known (H, W), ring by ring, each the mean of its
    neighbours; so that what was cut off does not pull at what is kept."""
    values, known = torch.where(known, values, 0), known.clone()
    flat = values.view(-1, 1, *known.shape)
    while not known.all():
        share = avg_pool2d(known[None, None].to(values), 3, 1, 1)[0, 0]
        ring = ~known & (share > 0)
        flat[..., ring] = (avg_pool2d(flat, 3, 1, 1) / share)[..., ring]
        known |= ring
    return values


def _bump(distance: Tensor) -> Tensor:
    """The cubic B-spline: 2/3 at 0, 1/6 at ±1, 0 from ±2 on."""
    x = distance.abs()
    return torch.where(x < 1, 2 / 3 - x**2 + x**3 / 2, (2 - x).clamp(min=0) ** 3 / 6)
