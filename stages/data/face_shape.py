"""The shape of a procedural head: a lofted skull and neck, with features pushed out of it.

**Units:** 1 is half the width of the face (about 7 cm). x to the image's right, y down, z *away* from the viewer, as in the camera frame;
the eyes are at y ≈ 0 and the ears at z ≈ 0. Only the half x ≥ 0 is ever computed, the other is its mirror image.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from stages.data.draws import Draws

__all__ = [
    "RINGS",
    "Chart",
    "Traits",
    "brow_curve",
    "bump",
    "chart",
    "displace",
    "draw_shape",
    "eye_curves",
    "grid_position",
    "mirror",
    "mouth_curves",
    "ramp",
]

Traits = dict[str, Tensor]  # one (B,) tensor per trait

# The rings of the loft, crown to neck, at the front (y), the side (w) and how far they reach forward (f) and back (b); `lift` is how much
# higher the ring runs at the back than in front: the ring `chin` so follows the jaw up to the ear.
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
# Share of the grid's rows between one ring and the next, and of its columns between angles from the front: dense where the features are.
ROW_SHARE = (2, 3, 5, 6, 7, 8, 9, 9, 9, 9, 7, 4, 3, 3, 2, 1)
COLUMN_ANGLE = (0, 35, 75, 112, 180)
COLUMN_SHARE = (36, 28, 20, 16)


@lru_cache(maxsize=16)
def _rows(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """For every grid row: its ring coordinate t (0 = crown … 16 = base), and the four rings (4, rows) with their Catmull-Rom
    weights (4, rows) that interpolate ring values there."""
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
    """Where each grid point of the bare half head lies: x ≥ 0, y, z (B, R, C); t (R, 1) ring coordinate, phi (1, C) angle."""

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
    """exp(-u² - v²)."""
    return torch.exp(-(u * u)) if v is None else torch.exp(-(u * u) - v * v)


def ramp(u: Tensor) -> Tensor:
    """0 for u ≤ 0, 1 for u ≥ 1, smooth between."""
    u = u.clamp(0, 1)
    return u * u * (3 - 2 * u)


def draw_shape(draw: Draws) -> Traits:
    """Everything that varies in a head's geometry. Lengths in half face widths."""
    return {
        "scale": draw.bell(0.0625, 0.005),  # metres per unit
        "width": draw.bell(1.0, 0.07),
        "cranium": draw.bell(1.0, 0.05),
        "jaw": draw.bell(1.0, 0.13),
        "chin_length": draw.bell(0.0, 0.16),
        "chin": draw.bell(0.10, 0.10),
        "flat": draw.bell(0.0, 0.14),
        "depth": draw.bell(1.36, 0.20),
        "back": draw.bell(1.10, 0.12),
        "forehead": draw.bell(0.0, 0.10),
        "fat": draw.bell(0.0, 1.0),
        "brow_ridge": draw.uniform(0.02, 0.13),
        "eye_x": draw.bell(0.45, 0.05),
        "eye_y": draw.bell(0.02, 0.05),
        "eye_width": draw.bell(0.225, 0.035),
        "eye_open": draw.bell(0.095, 0.035),
        "eye_slant": draw.bell(0.01, 0.05),
        "eye_socket": draw.uniform(0.10, 0.22),
        "brow_y": draw.bell(-0.25, 0.06),
        "nose_length": draw.bell(0.62, 0.08),
        "nose_height": draw.bell(0.35, 0.10),
        "nose_bridge": draw.uniform(0.30, 0.62),
        "nose_width": draw.bell(0.23, 0.06),
        "nose_hump": draw.bell(0.0, 0.06),
        "nose_tip": draw.bell(0.07, 0.04),
        "cheekbone": draw.uniform(0.0, 0.11),
        "mouth_y": draw.bell(1.04, 0.06),
        "mouth_width": draw.bell(0.38, 0.07),
        "upper_lip": draw.uniform(0.05, 0.12),
        "lower_lip": draw.uniform(0.07, 0.15),
        "lips_out": draw.uniform(0.03, 0.10),
        "smile": draw.bell(0.25, 0.75),
        "mouth_open": (draw.uniform(-0.12, 0.12)).clamp(min=0),
        "ear": draw.uniform(0.08, 0.22),
    }


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


def _per_face(traits: Traits) -> Traits:
    return {name: value[:, None, None] for name, value in traits.items()}


def displace(chart: Chart, traits: Traits) -> Tensor:
    """The half head with its features, (B, R, C, 3) in face units."""
    p = _per_face(traits)
    x, y, z = chart.x.clone(), chart.y.clone(), chart.z.clone()

    rows, columns, c = chart.window(("hairline", "throat"), 80)
    out = _relief(c, p)
    z[:, rows, columns] -= out
    # Cheeks widen sideways too.
    cheeks = p["fat"] * 0.06 * bump((c.x - 0.75) / 0.3, (c.y - 0.85) / 0.4)
    x[:, rows, columns] += cheeks * ramp(c.x / 0.4)

    rows = slice(int((chart.t[:, 0] < RING["brow"]).sum()), int((chart.t[:, 0] <= RING["lip"]).sum()))
    part = Chart(chart.x[:, rows], chart.y[:, rows], chart.z[:, rows], chart.t[rows], chart.phi)
    ear = _ear(part, p)
    x[:, rows] += ear
    z[:, rows] += 0.5 * ear
    return torch.stack([x, y, z], -1)


def _relief(c: Chart, p: Traits) -> Tensor:
    """How far the features stand out of the bare face, towards the viewer."""
    x, y = c.x, c.y
    ex, ey = (x - p["eye_x"]), (y - p["eye_y"])
    out = p["brow_ridge"] * bump((x - 0.36) / 0.34, (y - p["brow_y"] + 0.02) / 0.12)
    out -= p["eye_socket"] * bump(ex / 0.27, (ey - 0.02) / 0.19)
    out += 0.10 * bump(ex / 0.17, (ey - 0.01) / 0.13)
    out += p["cheekbone"] * bump((x - 0.66) / 0.26, (y - 0.38) / 0.22)
    out += (0.05 + 0.05 * p["fat"] + 0.06 * p["smile"].clamp(min=0)) * bump((x - 0.48) / 0.25, (y - 0.72) / 0.24)

    # Nose: a ridge that grows from the bridge to the tip and ends abruptly, with a ball and two wings.
    length, height = p["nose_length"], p["nose_height"]
    along = (y - p["eye_y"] + 0.16) / (length + 0.16)
    rise = p["nose_bridge"] * 0.6 + (1 - p["nose_bridge"] * 0.6) * along.clamp(0, 1.2)
    ridge = height * rise * ramp(along / 0.28 + 0.35) * (1 - ramp((y - p["eye_y"] - length - 0.01) / 0.15))
    ridge += p["nose_hump"] * bump((along - 0.45) / 0.25)
    out += ridge * bump(x / (p["nose_width"] * (0.55 + 0.35 * along.clamp(0, 1))))
    tip = y - p["eye_y"] - length + 0.06
    out += p["nose_tip"] * bump(x / 0.13, tip / 0.11)
    out += 0.4 * height * bump((x - 0.85 * p["nose_width"]) / 0.085, (tip - 0.03) / 0.10)
    # The fold from the wing of the nose to the corner of the mouth.
    fold = x - p["nose_width"] - 0.1 - 0.30 * (tip + 0.02)
    out -= (0.025 + 0.05 * p["smile"].clamp(min=0)) * bump(fold / 0.07) * bump((tip - 0.2) / 0.22)

    # Mouth: the teeth's arch, two lips, the line between them; then the chin.
    mouth = mouth_curves(x, p)
    width, across, within, gap = mouth["width"], mouth["across"], mouth["within"], mouth["gap"]
    line = y - mouth["line"]
    out += 0.09 * bump(x / (1.15 * width), line / 0.28)
    out += p["lips_out"] * within * bump((line + 0.5 * p["upper_lip"]) / (0.75 * p["upper_lip"] + 0.01))
    out += 1.2 * p["lips_out"] * within * bump((line - gap - 0.55 * p["lower_lip"]) / (0.7 * p["lower_lip"] + 0.01))
    out -= (0.05 + 0.5 * gap) * bump(across / 1.05) * bump((line - 0.4 * gap) / (0.03 + 0.5 * gap))
    out -= 0.03 * bump((x - 1.08 * width) / 0.07, line / 0.08)
    out -= 0.07 * bump(x / 0.30, (line - gap - p["lower_lip"] - 0.11) / 0.09)
    out += p["chin"] * bump(x / 0.24, (y - 1.50 - p["chin_length"]) / 0.16)
    return out * (1 - ramp((c.x - 0.72) / 0.35))


def mouth_curves(x: Tensor, p: Traits) -> Traits:
    """The mouth at distance x from its middle: heights y of its `line`, `top` and `bottom` edge, the `gap` below the line."""
    width = p["mouth_width"] * (1 + 0.12 * p["smile"])
    across = x / width
    within = (1 - across * across).clamp(min=0)
    line = p["mouth_y"] - 0.07 * p["smile"] * across.clamp(max=1.3) ** 2
    gap = p["mouth_open"] * within
    bow = 1 - 0.28 * bump(x / 0.045) + 0.12 * bump((x - 0.09) / 0.06)
    top = line - p["upper_lip"] * within**0.8 * bow
    bottom = line + gap + p["lower_lip"] * within**0.65
    return {"width": width, "across": across, "within": within, "line": line, "gap": gap, "top": top, "bottom": bottom}


def eye_curves(u: Tensor, p: Traits) -> tuple[Tensor, Tensor]:
    """Heights y, from the middle of the eye, of the upper and lower lid's edge at u = -1 (nose) … 1 (temple)."""
    within = (1 - u * u).clamp(min=0)
    slant = -p["eye_slant"] * u
    return slant - p["eye_open"] * within**0.75 * (1 - 0.12 * u), slant + 0.62 * p["eye_open"] * within**0.9


def brow_curve(u: Tensor, p: Traits) -> Tensor:
    """Height y of the brow's middle at u = 0 (nose) … 1 (temple), which is x = 0.17 + 0.56 u."""
    return p["brow_y"] - p["brow_arch"] * bump((u - 0.62) / 0.42) + 0.06 * ramp((u - 0.6) / 0.5)


def _ear(c: Chart, p: Traits) -> Tensor:
    """How far the ear stands out sideways: a shell with a rim and a hollow."""
    u = (c.phi - math.radians(98)) / math.radians(15)
    v = (c.y - 0.22) / 0.36
    u = u - 0.25 * v
    radius = (u * u + v * v).sqrt()
    shell = 1 - ramp((radius - 0.78) / 0.34)
    hollow = bump((u + 0.15) / 0.5, v / 0.55)
    return p["ear"] * shell * (0.45 + 0.55 * ramp((u + 1) / 1.6) - 0.35 * hollow)


def mirror(half: Tensor, sign: Tensor | float = 1.0) -> Tensor:
    """(B, R, C, 3) half → (B, R, 2C-1, 3) whole: columns -π … π, multiplied by `sign` on the mirrored side."""
    return torch.cat([half[:, :, 1:].flip(2) * sign, half], 2)
