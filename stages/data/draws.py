"""Random numbers that belong to one image: the same on every device, in any order, for any batch."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

__all__ = ["NOISE", "Draws", "stretch"]

COLUMNS = 256  # uniform numbers that an image may use for its parameters
NOISE = 4955  # normal numbers for textures; more may be asked for behind them


@lru_cache(maxsize=64)
def _between(knots: int, count: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For `count` points spread corner to corner over a row of knots: the knot before, the one after, and the way."""
    at = torch.linspace(0, knots - 1, count, dtype=torch.float64)
    low = at.long().clamp(max=knots - 2)
    return low.to(device), (low + 1).to(device), (at - low).float().to(device)


def stretch(knots: Tensor, size: tuple[int, int]) -> Tensor:
    """(…, r, c) → (…, *size), bilinear, corner to corner; an axis at a time, several times as fast as F.interpolate."""
    low, high, way = _between(knots.shape[-1], size[1], knots.device)
    knots = torch.lerp(knots.index_select(-1, low), knots.index_select(-1, high), way)
    low, high, way = _between(knots.shape[-2], size[0], knots.device)
    return torch.lerp(knots.index_select(-2, low), knots.index_select(-2, high), way[:, None])


class Draws:
    """The random numbers of images `indices` of the set with this seed, as tensors with one row per image.

    Every image has its own Philox stream, keyed by (seed, index) and drawn on the CPU; the calls below hand its numbers
    out in order, so an image depends on nothing but (seed, index) and the program.
    """

    def __init__(self, seed: int, indices, device: torch.device | str = "cpu", noise: int = NOISE):
        uniform = np.empty((len(indices), COLUMNS), np.float32)
        normal = np.empty((len(indices), noise), np.float32)
        for row, index in enumerate(indices):
            generator = np.random.Generator(np.random.Philox(key=[seed, int(index)]))
            generator.random(out=uniform[row], dtype=np.float32)
            generator.standard_normal(out=normal[row], dtype=np.float32)
        self.count, self.device = len(indices), torch.device(device)
        self._uniform = torch.from_numpy(uniform).to(device)
        self._noise = torch.from_numpy(normal).to(device)
        self._column = self._cell = 0

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(B,) uniform in [low, high)."""
        column, self._column = self._column, self._column + 1
        return low + (high - low) * self._uniform[:, column]

    def bell(self, mean: float = 0.0, spread: float = 1.0) -> Tensor:
        """(B,) bell-shaped around the mean, never further than ±spread: the mean of three uniforms."""
        columns, self._column = slice(self._column, self._column + 3), self._column + 3
        return mean + spread * (2 * self._uniform[:, columns].mean(1) - 1)

    def chance(self, probability: float) -> Tensor:
        """(B,) 1.0 with this probability, else 0.0."""
        return (self.uniform() < probability).float()

    def noise(self, rows: int, columns: int, size: tuple[int, int], channels: int = 1) -> Tensor:
        """(B, channels, *size) smooth normal noise of unit variance at its (rows × columns) knots."""
        cells = slice(self._cell, self._cell + channels * rows * columns)
        self._cell = cells.stop
        knots = self._noise[:, cells].reshape(self.count, channels, rows, columns)
        return knots if size == (rows, columns) else stretch(knots, size)
