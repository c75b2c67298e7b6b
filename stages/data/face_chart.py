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

__all__ = [
    *("RINGS", "Chart", "Traits", "bare_depth", "bump", "chart", "colour_map", "constant", "draw_rings", "edge"),
    *("grid_position", "mirror", "over_grid", "ramp"),
]

Traits = dict[str, Tensor]  # one (B,) tensor per trait, (B, 3) for a colour

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


@lru_cache(maxsize=256)
def constant(values: tuple, device: torch.device) -> Tensor:
    """Numbers that never change, float32: they go to a device once. Do not write to it."""
    return torch.tensor(values, dtype=torch.float32).to(device)


def colour_map(rgb: tuple[float, float, float], like: Tensor) -> Tensor:
    """(1, 3, 1, 1): one colour, where ``like`` is. Do not write to it."""
    return constant(rgb, like.device)[None, :, None, None]


def over_grid(traits: Traits) -> tuple[Traits, Traits]:
    """Numbers as (B, 1, 1) and colours as (B, 3, 1, 1), to be combined with maps over the grid."""
    numbers = {name: value[:, None, None] for name, value in traits.items() if value.ndim == 1}
    return numbers, {name: value[:, :, None, None] for name, value in traits.items() if value.ndim == 2}


@lru_cache(maxsize=16)
def _rows(count: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """For every grid row: its ring coordinate t (0 = crown … 16 = base), and the four rings (4, rows) with their
    Catmull-Rom weights (4, rows) that interpolate ring values there."""
    last = len(RINGS) - 1
    t = np.interp(np.linspace(0, 1, count), np.cumsum((0, *ROW_SHARE)) / sum(ROW_SHARE), np.arange(last + 1))
    ring = np.minimum(t.astype(int), last - 1)
    s = t - ring
    weights = np.stack([-s + 2 * s**2 - s**3, 2 - 5 * s**2 + 3 * s**3, s + 4 * s**2 - 3 * s**3, -(s**2) + s**3]) / 2
    rings = np.clip(ring + np.arange(-1, 3)[:, None], 0, last)
    return tuple(torch.from_numpy(a).to(device) for a in (t.astype(np.float32), rings, weights.astype(np.float32)))


@lru_cache(maxsize=16)
def _angles(count: int, device: torch.device | str = "cpu") -> Tensor:
    """Angle φ from the front of every column of the half grid, 0 … π."""
    shares = np.cumsum((0, *COLUMN_SHARE)) / sum(COLUMN_SHARE)
    angles = np.radians(np.interp(np.linspace(0, 1, count), shares, COLUMN_ANGLE))
    return torch.from_numpy(angles).float().to(device)


def grid_position(t: Tensor, degrees: Tensor, rows: int, columns: int) -> Tensor:
    """(…, 2) fractional (column, row) in a rows × columns half grid of ring coordinate t and angle from the front."""
    row = _between(_rows(rows, t.device)[0], t)
    column = _between(_angles(columns, t.device), degrees.double().deg2rad())
    return torch.stack([column, row], -1).float()


def _between(nodes: Tensor, value: Tensor) -> Tensor:
    """Fractional index at which ascending nodes (N,) take a value (…) between the first and the last."""
    nodes, value = nodes.double(), value.double().contiguous()
    value = value.clamp(nodes[0], nodes[-1])
    low = torch.searchsorted(nodes, value, right=True).sub_(1).clamp_(0, len(nodes) - 2)
    return low + (value - nodes[low]) / (nodes[low + 1] - nodes[low])


@lru_cache(maxsize=64)
def _window(rows: int, columns: int, rings: tuple, degrees: tuple[float, float]) -> tuple[slice, slice]:
    t, phi = _rows(rows)[0], _angles(columns)
    first, last = (RING.get(ring, ring) for ring in rings)
    start, stop = map(math.radians, degrees)
    return (
        slice(int((t < first).sum()), int((t <= last).sum())),
        slice(int((phi < start).sum()), int((phi <= stop).sum())),
    )


@dataclass(frozen=True)
class Chart:
    """The bare half head from the front: x ≥ 0, y (B, R, C) of its grid points, ring coordinate t (R, 1), angle phi
    (1, C)."""

    x: Tensor
    y: Tensor
    t: Tensor
    phi: Tensor

    def window(
        self, rings: tuple[str | float, str | float], degrees: float = 180, start: float = 0
    ) -> tuple[slice, slice, "Chart"]:
        """Rows between two rings and columns between two angles, of a whole chart: what a small feature can touch."""
        rows, columns = _window(len(self.t), self.phi.shape[1], rings, (start, degrees))
        x, y = (a[:, rows, columns].contiguous() for a in (self.x, self.y))
        return rows, columns, Chart(x, y, self.t[rows], self.phi[:, columns])


def bump(x: Tensor, width: float | Tensor, y: Tensor | None = None, height: float | Tensor = 1.0) -> Tensor:
    """exp(-(x/width)² - (y/height)²), never quite 0: where exp underflows it takes eight times as long."""
    power = (x * (-1 / width**2)).mul_(x)
    if isinstance(height, Tensor):
        power.addcmul_(y / height**2, y, value=-1)
    elif y is not None:
        power.addcmul_(y, y, value=-1 / height**2)
    return power.clamp_(min=-FAR).exp_()


def edge(x: Tensor, width: float) -> Tensor:
    """From 0 to 1 about x = 0: 1 / (1 + exp(-x/width)), under the same care."""
    return (x * (1 / width)).clamp_(-FAR, FAR).sigmoid_()


def ramp(u: Tensor) -> Tensor:
    """0 for u ≤ 0, 1 for u ≥ 1, smooth between."""
    u = u.clamp(0, 1)
    return torch.rsub(u, 3, alpha=2).mul_(u).mul_(u)


def draw_rings(traits: Traits) -> Tensor:
    """(B, 5, 17): y, w, lift, f and b of the rings of these heads."""
    scale = traits["scale"]
    y, w, f, b, lift = constant(tuple(RINGS.values()), scale.device).T[:, None].expand(-1, len(scale), -1).clone()
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
    w[:, RING["top"] : RING["brow"]] *= traits["cranium"][:, None]
    b[:, : RING["mouth"]] *= traits["cranium"][:, None]
    for ring, share in (("dome", 0.7), ("hairline", 1.0), ("forehead", 0.6)):
        f[:, RING[ring]] += share * traits["forehead"]
    w *= traits["width"][:, None]
    f *= traits["depth"][:, None]
    b *= traits["depth"][:, None] * traits["back"][:, None]
    return torch.stack([y, w, lift, f, b], 1)


def _loft(rings: Tensor, rows: int) -> list[Tensor]:
    """Of each of N ring values (B, N, 17) what the grid's rows have, (B, R, 1)."""
    _, ring, weights = _rows(rows, rings.device)
    return [value[..., None] for value in (rings[:, :, ring] * weights).sum(2).unbind(1)]


def chart(rings: Tensor, rows: int, columns: int) -> Chart:
    """Lay out the bare skull and neck on a rows × columns half grid."""
    y, w, lift = _loft(rings[:, :3], rows)
    phi = _angles(columns, rings.device)
    return Chart(w * phi.sin(), y - lift * ((1 - phi.cos()) / 2), _rows(rows, rings.device)[0][:, None], phi[None])


def bare_depth(rings: Tensor, flat: Tensor, rows: int, columns: int) -> Tensor:
    """z (B, R, C) of the chart's points. A section is half an ellipse in front and half behind; sin² flattens the
    front by flat (B,), as faces are."""
    front, back = _loft(rings[:, 3:], rows)
    phi = _angles(columns, rings.device)
    sine, cosine = phi.sin(), phi.cos()
    return torch.where(cosine > 0, -front * cosine * (1 + flat[:, None, None] * sine**2), -back * cosine)


def mirror(half: Tensor, sign: Tensor | None = None) -> Tensor:
    """(…, C) half → (…, 2C-1) whole: columns -π … π, multiplied by `sign` on the mirrored side."""
    other = half[..., 1:].flip(-1)
    return torch.cat([other if sign is None else other * sign, half], -1)
