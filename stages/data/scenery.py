"""What surrounds an object in a picture: where it is seen from, its light, its background. Knows nothing of faces."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.data.draws import Draws

__all__ = ["draw_background", "draw_light", "draw_view"]

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
    patches = F.interpolate(knots, (size, size), mode="bicubic", align_corners=True)
    grey = patches.mean(1, keepdim=True)
    patches = (grey + 0.45 * (patches - grey)) * draw.uniform(0.0, 0.09)[:, None, None, None]
    return (base[:, :, None, None] + wide + patches).clamp(0.02, 0.98)
