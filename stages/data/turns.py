"""The pretext task of learning features without labels: crops of pictures, each turned by a multiple of 90 degrees."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["quarter_turns", "random_crops"]

SMALLEST = 0.4  # side of a crop, of the image's: a part must tell which way up it is
CONTRAST, BRIGHTNESS, TINT = 0.4, 0.2, 0.1  # largest changes, so that colours alone do not tell it


def random_crops(images: Tensor, rng: np.random.Generator) -> Tensor:
    """(N, 3, S, S) in [-1, 1] → square crops of them, as large, half of them mirrored, in other light and colours."""

    def draw(low: float, high: float, *shape: int) -> Tensor:
        values = rng.uniform(low, high, (len(images), *shape)).astype(np.float32)
        return torch.from_numpy(values).to(images.device)

    side = draw(SMALLEST, 1)
    centre = draw(-1, 1, 2) * (1 - side)[:, None]
    mirror = torch.where(draw(-1, 1) < 0, -1.0, 1.0)
    zero = torch.zeros_like(side)
    rows = torch.stack([side * mirror, zero, centre[:, 0], zero, side, centre[:, 1]], 1).view(-1, 2, 3)
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    crops = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    contrast = draw(1 - CONTRAST, 1 + CONTRAST, 1, 1, 1) * draw(1 - TINT, 1 + TINT, 3, 1, 1)
    return (crops * contrast + draw(-BRIGHTNESS, BRIGHTNESS, 1, 1, 1)).clamp(-1, 1)


def quarter_turns(images: Tensor) -> tuple[Tensor, Tensor]:
    """Image i turned by i mod 4 times 90 degrees, those of one angle together, and (N,) by how many."""
    parts = [images[turn::4].rot90(turn, (2, 3)) for turn in range(4)]
    turns = torch.cat([torch.full((len(part),), turn) for turn, part in enumerate(parts)])
    return torch.cat(parts), turns.to(images.device)
