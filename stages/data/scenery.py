"""What surrounds an object in a picture: where it is seen from, its light, its background. Knows nothing of faces."""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.data.draws import Draws

__all__ = ["BACKGROUND_NOISE", "YAW", "draw_background", "draw_light", "draw_view"]

BACKGROUND_NOISE = 2 * 2 + 3 * 5 * 5  # normal numbers that `draw_background` takes
PITCH, YAW, ROLL = 20.0, 50.0, 12.0  # degrees


def draw_view(draw: Draws) -> Tensor:
    """(B, 6): pitch, yaw, roll in radians and a small translation in metres (none along z)."""
    pitch, yaw, roll = draw.uniform(-PITCH, PITCH), draw.uniform(-YAW, YAW), draw.bell(0, ROLL)
    angles = torch.stack([pitch, yaw, roll], 1) * (math.pi / 180)
    shift = torch.stack([draw.bell(0, 0.008), draw.bell(0, 0.010), torch.zeros_like(yaw)], 1)
    return torch.cat([angles, shift], 1)


def draw_light(draw: Draws) -> Tensor:
    """(B, 5): ambient, diffuse, and the unit direction (l_x, l_y, 1)/‖·‖ in the object's frame."""
    ambient, diffuse = draw.uniform(0.20, 0.55), draw.uniform(0.40, 0.75)
    total = (ambient + diffuse).clamp(min=1e-6)
    keep = draw.uniform(0.85, 1.10) / total  # how bright the brightest skin is
    # l points away from the lamp, as normals here point away from the viewer: lamps hang above more often than not.
    direction = torch.stack([draw.bell(0, 1.0), draw.bell(0.25, 0.75), torch.ones_like(ambient)], 1)
    return torch.cat([torch.stack([ambient * keep, diffuse * keep], 1), F.normalize(direction, dim=1)], 1)


def draw_background(draw: Draws, size: int) -> Tensor:
    """(B, 3, size, size) in [0, 1]: a dull gradient with out-of-focus patches."""
    base = torch.stack([draw.uniform(0.12, 0.85)] * 3, 1) * torch.stack([draw.bell(1, 0.22) for _ in range(3)], 1)
    wide = draw.noise(2, 2, (size, size)) * draw.uniform(0.02, 0.14)[:, None, None, None]
    knots = draw.noise(5, 5, (5, 5), 3)
    grey = knots.mean(1, keepdim=True)
    knots = (grey + 0.45 * (knots - grey)) * draw.uniform(0.0, 0.09)[:, None, None, None]
    return (_blur(knots, size) + wide).add_(base[:, :, None, None]).clamp_(0.02, 0.98)


@lru_cache(maxsize=8)
def _cubic_weights(knots: int, size: int, device: torch.device) -> Tensor:
    """(size, knots): what each knot of a row adds to each of `size` points from the first to the last."""
    unit = torch.eye(knots, dtype=torch.float64)[None, None]
    return F.interpolate(unit, (size, knots), mode="bicubic", align_corners=True)[0, 0].float().to(device)


def _blur(knots: Tensor, size: int) -> Tensor:
    """(B, C, n, n) → (B, C, size, size): bicubic interpolation as the sum over rows of knots, ten times as fast."""
    weights = _cubic_weights(knots.shape[-1], size, knots.device)
    rows = (knots[..., None, :] * weights).sum(-1)
    out = rows[:, :, :1] * weights[:, :1]
    for row in range(1, rows.shape[2]):
        out.addcmul_(rows[:, :, row : row + 1], weights[:, row : row + 1])
    return out
