"""The chart of a procedural head: the bare skull and neck, lofted through rings, that features are laid out on.

**Units:** 1 is half the width of the face (about 7 cm). x to the image's right, y down, z *away* from the viewer, as in
the camera frame; the eyes are at y ≈ 0 and the ears at z ≈ 0. Only the half x ≥ 0 is ever computed, the other is its
mirror image.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

__all__ = ["RINGS", "Chart", "Traits", "bump", "chart", "edge", "grid_position", "mirror", "ramp"]

Traits = dict[str, Tensor]  # one (B,) tensor per trait

# The rings of the loft, crown to neck: height in front (y), half width (w), reach forward (f) and back (b); `lift` is
# how much higher the ring runs at the back than in front: so the ring `chin` follows the jaw up to the ear.
RINGS = {
    #           y      w     f     b    lift
    "crown": (-1.72, 0.00, 0.00, 0.00, 0.00),
    "top": (-1.66, 0.46, 0.50, 0.62, 0.00),
    "dome": (-1.46, 0.82, 0.92, 1.08, 0.00),
    "hairline": (-1.10, 1.02, 1.18, 1.34, 0.00),
    "forehead": (-0.66, 1.07, 1.26, 1.42, 0.00),
    "brow": (-0.28, 1.06, 1.27, 1.42, 0.02),
    "eye": (0.04, 1.04, 1.22, 1.34, 0.10),
    "cheek": (0.42, 1.02, 1.21, 1.20, 0.32),
    "nose": (0.74, 0.99, 1.20, 1.06, 0.56),
    "mouth": (1.05, 0.95, 1.19, 0.94, 0.80),
    "lip": (1.36, 0.90, 1.17, 0.84, 1.02),
    "chin": (1.62, 0.80, 1.10, 0.80, 1.14),
    "under": (1.73, 0.66, 0.86, 0.78, 1.04),
    "throat": (1.80, 0.66, 0.52, 0.78, 0.70),
    "neck": (2.25, 0.68, 0.46, 0.80, 0.40),
    "collar": (2.75, 0.86, 0.55, 0.90, 0.10),
    "base": (2.85, 0.00, 0.00, 0.00, 0.00),
}
RING = {name: i for i, name in enumerate(RINGS)}
# Share of the grid's rows between one ring and the next, and of its columns between angles from the front: most where
# the features are.
ROW_SHARE = (2, 3, 5, 6, 7, 8, 9, 9, 9, 9, 7, 4, 3, 3, 2, 1)
COLUMN_ANGLE = (0, 35, 75, 112, 180)
COLUMN_SHARE = (36, 28, 20, 16)


FAR = 20.0  # beyond which exp(-x) is as good as 0


@lru_cache(maxsize=16)
def _rows(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """For every grid row: its ring coordinate t (0 = crown … 16 = base), and the four rings (4, rows) with their
    Catmull-Rom weights (4, rows) that interpolate ring values there."""
    last = len(RINGS) - 1
    t = np.interp(np.linspace(0, 1, count), np.cumsum((0, *ROW_SHARE)) / sum(ROW_SHARE), np.arange(last + 1))
    ring = np.minimum(t.astype(int), last - 1)
    s = t - ring
    weights = np.stack([-s + 2 * s**2 - s**3, 2 - 5 * s**2 + 3 * s**3, s + 4 * s**2 - 3 * s**3, -(s**2) + s**3]) / 2
    rings = np.clip(ring + np.arange(-1, 3)[:, None], 0, last)
    return torch.from_numpy(t).float(), torch.from_numpy(rings), torch.from_numpy(weights).float()


@lru_cache(maxsize=16)
def _angles(count: int) -> Tensor:
    """Angle φ from the front of every column of the half grid, 0 … π."""
    shares = np.cumsum((0, *COLUMN_SHARE)) / sum(COLUMN_SHARE)
    return torch.from_numpy(np.radians(np.interp(np.linspace(0, 1, count), shares, COLUMN_ANGLE))).float()


def grid_position(t: Tensor, degrees: Tensor, rows: int, columns: int) -> Tensor:
    """(…, 2) fractional (column, row) in a rows × columns half grid of ring coordinate t and angle from the front."""
    row = np.interp(t.numpy(), _rows(rows)[0].numpy(), np.arange(rows))
    column = np.interp(np.radians(degrees.numpy()), _angles(columns).numpy(), np.arange(columns))
    return torch.from_numpy(np.stack([column, row], -1)).float()


@dataclass(frozen=True)
class Chart:
    """The bare half head: x ≥ 0, y, z (B, R, C) of its grid points; ring coordinate t (R, 1), angle phi (1, C)."""

    x: Tensor
    y: Tensor
    z: Tensor
    t: Tensor
    phi: Tensor

    def window(self, rings: tuple[str, str], degrees: float) -> tuple[slice, slice, "Chart"]:
        """Rows between two rings and columns up to an angle: the part of the grid that a small feature can touch."""
        t, phi = self.t[:, 0].cpu(), self.phi[0].cpu()
        first, last = (RING[name] for name in rings)
        r0, r1 = int((t < first).sum()), int((t <= last).sum())
        rows, columns = slice(r0, r1), slice(0, int((phi <= math.radians(degrees)).sum()))
        part = (a[:, rows, columns].contiguous() for a in (self.x, self.y, self.z))
        return rows, columns, Chart(*part, self.t[rows], self.phi[:, columns])


def bump(u: Tensor, v: Tensor | None = None) -> Tensor:
    """exp(-u² - v²), never quite 0: where exp underflows it takes eight times as long."""
    square = u * u if v is None else u * u + v * v
    return square.clamp_(max=FAR).neg_().exp_()


def edge(u: Tensor) -> Tensor:
    """From 0 to 1 about u = 0: 1 / (1 + exp(-u)), under the same care."""
    return u.clamp(-FAR, FAR).sigmoid_()


def ramp(u: Tensor) -> Tensor:
    """0 for u ≤ 0, 1 for u ≥ 1, smooth between."""
    u = u.clamp(0, 1)
    return u * u * (3 - 2 * u)


def chart(traits: Traits, rows: int, columns: int) -> Chart:
    """Lay out the bare skull and neck on a rows × columns half grid."""
    scale = traits["scale"]
    t, rings, weights = (a.to(scale.device) for a in _rows(rows))
    phi = _angles(columns).to(scale.device)
    y, w, f, b, lift = (a.expand(len(scale), -1).clone() for a in torch.tensor(list(RINGS.values())).to(scale).T)
    for ring, share in (("mouth", 0.15), ("lip", 0.6), ("chin", 1.0), ("under", 1.0), ("throat", 0.8), ("neck", 0.3)):
        y[:, RING[ring]] += share * traits["chin_length"]
    for ring, share in (("nose", 0.2), ("mouth", 0.6), ("lip", 0.9), ("chin", 1.0), ("under", 0.8)):
        w[:, RING[ring]] *= 1 + share * (traits["jaw"] - 1)
    for ring, share in (
        ("nose", 0.02),
        ("mouth", 0.03),
        ("lip", 0.05),
        ("chin", 0.06),
        ("under", 0.08),
        ("throat", 0.1),
        ("neck", 0.1),
    ):
        w[:, RING[ring]] += share * traits["fat"]
    top = slice(RING["top"], RING["brow"])
    w[:, top] *= traits["cranium"][:, None]
    b[:, : RING["mouth"]] *= traits["cranium"][:, None]
    for ring, share in (("dome", 0.7), ("hairline", 1.0), ("forehead", 0.6)):
        f[:, RING[ring]] += share * traits["forehead"]
    w *= traits["width"][:, None]
    f *= traits["depth"][:, None]
    b *= traits["depth"][:, None] * traits["back"][:, None]
    y, w, f, b, lift = ((a[:, rings] * weights).sum(1) for a in (y, w, f, b, lift))
    sine, cosine = phi.sin(), phi.cos()
    # A section is half an ellipse in front and half behind; sin² flattens the front, as faces are.
    front = -f[..., None] * cosine * (1 + traits["flat"][:, None, None] * sine**2)
    back = -b[..., None] * cosine
    z = torch.where(cosine > 0, front, back)
    x = w[..., None] * sine
    y = y[..., None] - lift[..., None] * (1 - cosine) / 2
    return Chart(x, y, z, t[:, None], phi[None, :])


def mirror(half: Tensor, sign: Tensor | float = 1.0) -> Tensor:
    """(B, R, C, 3) half → (B, R, 2C-1, 3) whole: columns -π … π, multiplied by `sign` on the mirrored side."""
    return torch.cat([half[:, :, 1:].flip(2) * sign, half], 2)
