"""Pictures as features are learned from: parts of them, each seen twice in different light and colours."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["other_light", "random_crops"]

SMALLEST = 0.4  # side of a crop, of the image's
# Largest changes: of contrast, each colour's, across the picture (lit from a side), of brightness, each colour's.
CONTRAST, TINT, SLOPE, BRIGHTNESS, CAST = 0.4, 0.15, 0.5, 0.25, 0.08


def random_crops(images: Tensor, rng: np.random.Generator) -> Tensor:
    """(N, 3, S, S) → square parts of them, enlarged to the same size, half of them mirrored."""
    side = _draw(rng, images, SMALLEST, 1)
    centre = _draw(rng, images, -1, 1, 2) * (1 - side)[:, None]
    mirror = torch.where(_draw(rng, images, -1, 1) < 0, -1.0, 1.0)
    zero = torch.zeros_like(side)
    rows = torch.stack([side * mirror, zero, centre[:, 0], zero, side, centre[:, 1]], 1).view(-1, 2, 3)
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def other_light(images: Tensor, rng: np.random.Generator) -> Tensor:
    """(N, 3, S, S) in [-1, 1] → the same in light of another strength, colour and direction."""

    def change(most: float, *shape: int) -> Tensor:
        return _draw(rng, images, -most, most, *shape)

    along = torch.linspace(-1, 1, images.shape[-1], device=images.device)
    slope = 1 + change(SLOPE, 1, 1, 1) * along + change(SLOPE, 1, 1, 1) * along[:, None]
    factor = (1 + change(CONTRAST, 1, 1, 1)) * (1 + change(TINT, 3, 1, 1))
    return (images * factor * slope + change(BRIGHTNESS, 1, 1, 1) + change(CAST, 3, 1, 1)).clamp(-1, 1)


def _draw(rng: np.random.Generator, images: Tensor, low: float, high: float, *shape: int) -> Tensor:
    values = rng.uniform(low, high, (len(images), *shape)).astype(np.float32)
    return torch.from_numpy(values).to(images.device)
