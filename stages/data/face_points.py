"""The 66 key points of a procedural face.

The usual scheme of 68 landmarks (counted from one: jaw 1-17, brows 18-27, nose 28-36, eyes 37-48, outer lips 49-60,
inner lips 61-68; from the image's left to its right, round eyes and lips clockwise from their left corner) without 61
and 65, the inner corners of the mouth, as 3DFAW has it: numbers 61-66 here are 62, 63, 64, 66, 67 and 68 there.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.data.face_chart import RINGS, Chart, Traits, constant, grid_position
from stages.data.face_shape import brow_curve, eye_curves, mouth_curves

__all__ = ["KEY_POINTS", "key_points"]

KEY_POINTS = 66
# The jaw line from chin to ear: ring coordinate and angle from the front.
JAW_RING = (11.0, 11.0, 11.0, 10.95, 10.7, 10.0, 8.9, 7.4, 5.9)
JAW_ANGLE = (0.0, 13.0, 27.0, 42.0, 57.0, 70.0, 78.0, 82.0, 84.0)
STEPS = 3  # of Newton's method; the chart is close to linear

# The points of the half face x ≥ 0 are numbered: jaw 0-8, brow 9-13, bridge 14-17, nostrils 18-20, eye 21-26, outer
# lips 27-33, inner lips 34-37. WHOLE lists the 66 as (half point, side).
_L, _R = -1, 1
WHOLE = (
    [(i, _L) for i in range(8, 0, -1)] + [(i, _R) for i in range(9)]
    + [(i, _L) for i in range(13, 8, -1)] + [(i, _R) for i in range(9, 14)]
    + [(i, _R) for i in range(14, 18)]
    + [(20, _L), (19, _L), (18, _R), (19, _R), (20, _R)]
    + [(24, _L), (23, _L), (22, _L), (21, _L), (26, _L), (25, _L)]
    + [(21, _R), (22, _R), (23, _R), (24, _R), (25, _R), (26, _R)]
    + [(30, _L), (29, _L), (28, _L), (27, _R), (28, _R), (29, _R), (30, _R)]
    + [(31, _R), (32, _R), (33, _R), (32, _L), (31, _L)]
    + [(35, _L), (34, _R), (35, _R), (37, _R), (36, _R), (37, _L)]
)  # fmt: skip


def _half_points(traits: Traits) -> tuple[Tensor, Tensor]:
    """x and y (B, 29) of the half points 9 … 37 on the bare chart."""
    p = {name: value[:, None] for name, value in traits.items() if value.ndim == 1}
    one = torch.ones_like(p["eye_x"])

    def at(*values: float) -> Tensor:
        return constant(values, one.device)[None] * one

    u = at(0.02, 0.25, 0.48, 0.71, 0.94)
    brow = 0.17 + 0.56 * u, brow_curve(u, p)
    along = at(0.06, 0.32, 0.60, 0.93)
    bridge = 0 * along, p["eye_y"] - 0.08 + along * (p["nose_length"] + 0.04)
    base = at(0.0, 0.5, 1.0) * p["nose_width"], p["eye_y"] + p["nose_length"] + 0.09 - at(0, 0.01, 0.04)
    u = at(-1.0, -0.4, 0.35, 1.0, 0.35, -0.4)
    upper, lower = eye_curves(u, p)
    lid = torch.cat([upper[:, :4], lower[:, 4:]], 1)
    eye = p["eye_x"] + p["eye_width"] * u, p["eye_y"] + lid
    width = p["mouth_width"] * (1 + 0.12 * p["smile"])
    x = width * at(0.0, 0.25, 0.62, 1.0, 0.62, 0.30, 0.0)
    mouth = mouth_curves(x, p)
    lips = x, torch.cat([mouth["top"][:, :4], mouth["bottom"][:, 4:]], 1)
    x = width * at(0.0, 0.5, 0.0, 0.5)
    mouth = mouth_curves(x, p)
    inner = x, mouth["line"] + at(0, 0, 1, 1) * mouth["gap"]
    return tuple(torch.cat(part, 1) for part in zip(brow, bridge, base, eye, lips, inner, strict=True))


def _sample(grid: Tensor, position: Tensor) -> Tensor:
    """Values (B, K, D) of a grid (B, D, R, C) at fractional (column, row) positions (B, K, 2)."""
    extent = constant((grid.shape[-1] - 1, grid.shape[-2] - 1), grid.device)
    return F.grid_sample(grid, (position * 2 / extent - 1)[:, None], align_corners=True)[:, :, 0].mT


def key_points(chart: Chart, traits: Traits, half: Tensor) -> Tensor:
    """The key points (B, 66, 3) of a displaced half grid (B, 3, R, C) over this chart, in the grid's own frame.

    They lie where the features are drawn; Newton's method finds the grid position of each (x, y) on the chart.
    """
    batch, _, rows, columns = half.shape
    x, y = _half_points(traits)
    ring = (y[..., None] > constant(tuple(ring[0] for ring in RINGS.values()), y.device)).sum(-1) - 0.5
    position = grid_position(ring, (x / 1.05).clamp(max=0.95).asin().rad2deg(), rows, columns)
    grid = torch.stack([chart.x, chart.y], 1)
    around = constant(((0, 0), (0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)), x.device)[:, None]
    inside = constant((columns - 1.5, rows - 1.5), x.device)
    for _ in range(STEPS):
        here, right, left, below, above = _sample(grid, (position[:, None] + around).flatten(1, 2)).chunk(5, 1)
        (a, c), (b, d) = (right - left).unbind(-1), (below - above).unbind(-1)
        u, v = x - here[..., 0], y - here[..., 1]
        step = torch.stack([d * u - b * v, a * v - c * u], -1) / (a * d - b * c)[..., None]
        position = (position + step).clamp(min=0.5).minimum(inside)
    jaw = grid_position(constant(JAW_RING, x.device), constant(JAW_ANGLE, x.device), rows, columns)
    found = _sample(half, torch.cat([jaw.expand(batch, -1, -1), position], 1))
    index, side = (constant(part, x.device) for part in zip(*WHOLE, strict=True))
    found = found[:, index.long()]
    return torch.cat([found[..., :1] * side[:, None], found[..., 1:]], -1)
