"""Where the samples of an image lie."""

from typing import NamedTuple

import torch
from torch import Tensor

from stages.core.camera import focal_length
from stages.errors import UsageError

__all__ = ["Lattice", "make_lattice"]


class Lattice(NamedTuple):
    """A pinhole camera counted in samples: column = focal · x/z + centre_u, row = focal · y/z + centre_v."""

    focal: float
    centre_u: float
    centre_v: float
    height: int
    width: int

    def rays(self, device=None) -> Tensor:
        """(height, width, 3) float64: the point at depth 1 behind every sample."""
        v, u = torch.meshgrid(
            torch.arange(self.height, dtype=torch.float64, device=device),
            torch.arange(self.width, dtype=torch.float64, device=device),
            indexing="ij",
        )
        return torch.stack([(u - self.centre_u) / self.focal, (v - self.centre_v) / self.focal, torch.ones_like(u)], -1)


def make_lattice(height: int, width: int, fov: float, samples: int) -> Lattice:
    """``samples`` × ``samples`` samples per pixel, spread evenly over the pixel's unit square.

    Sample k of a row lies at the pixel coordinate (k + 1/2) / samples - 1/2: the pixel centre for one sample per pixel,
    u ± 1/4 for two.
    """
    if height < 1 or width < 2:
        raise UsageError("rasteriser", f"an image of {height}×{width} pixels has no focal length", "use at least 1×2")
    if samples < 1:
        raise UsageError("rasteriser", f"{samples} samples per pixel", "use 1 or more")
    if not 0 < fov < 180:
        raise UsageError("rasteriser", f"a field of view of {fov}°", "use one between 0° and 180°")
    centre_u, centre_v = (samples * size / 2 - 0.5 for size in (width, height))
    return Lattice(focal_length(width, fov) * samples, centre_u, centre_v, height * samples, width * samples)
