"""Random numbers that belong to one image: the same on every device, in any order, for any batch."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Draws"]

COLUMNS = 256  # uniform numbers that an image may use for its parameters
NOISE = 8192  # normal numbers for textures


class Draws:
    """The random numbers of images `indices` of the set with this seed, as tensors with one row per image.

    Every image has its own Philox stream, keyed by (seed, index) and drawn on the CPU; the calls below hand its numbers
    out in order, so an image depends on nothing but (seed, index) and the program.
    """

    def __init__(self, seed: int, indices, device: torch.device | str = "cpu"):
        uniform = np.empty((len(indices), COLUMNS), np.float32)
        noise = np.empty((len(indices), NOISE), np.float32)
        for row, index in enumerate(indices):
            generator = np.random.Generator(np.random.Philox(key=[seed, int(index)]))
            generator.random(out=uniform[row], dtype=np.float32)
            generator.standard_normal(out=noise[row], dtype=np.float32)
        self.count, self.device = len(indices), torch.device(device)
        self._uniform = torch.from_numpy(uniform).to(device)
        self._noise = torch.from_numpy(noise).to(device)
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
        return F.interpolate(knots, size=size, mode="bilinear", align_corners=True)
