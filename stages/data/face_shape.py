"""The shape of a procedural head: what varies, and the features that stand out of the bare chart."""

import math

from torch import Tensor

from stages.data.draws import Draws
from stages.data.face_chart import Chart, Traits, bump, over_grid, ramp

__all__ = ["brow_curve", "displace", "draw_shape", "eye_curves", "mouth_curves"]


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


def displace(chart: Chart, z: Tensor, traits: Traits) -> tuple[Tensor, Tensor, Tensor]:
    """x, y, z (B, R, C) of the half head with its features, in face units; z: of the bare one, changed in place."""
    p, _ = over_grid(traits)
    x = chart.x.clone()

    rows, columns, c = chart.window(("hairline", "throat"), 80)
    z[:, rows, columns] -= _relief(c, p)
    # Cheeks widen sideways too.
    x[:, rows, columns] += p["fat"] * 0.06 * bump(c.x - 0.75, 0.3, c.y - 0.85, 0.4) * ramp(c.x / 0.4)

    rows, columns, c = chart.window(("brow", "lip"), 122, start=74)
    ear = _ear(c, p)
    x[:, rows, columns] += ear
    z[:, rows, columns] += 0.5 * ear
    return x, chart.y, z


def _relief(c: Chart, p: Traits) -> Tensor:
    """How far the features stand out of the bare face, towards the viewer."""
    x, y = c.x, c.y
    ex, ey = (x - p["eye_x"]), (y - p["eye_y"])
    out = p["brow_ridge"] * bump(x - 0.36, 0.34, y - p["brow_y"] + 0.02, 0.12)
    out -= p["eye_socket"] * bump(ex, 0.27, ey - 0.02, 0.19)
    out += 0.10 * bump(ex, 0.17, ey - 0.01, 0.13)
    out += p["cheekbone"] * bump(x - 0.66, 0.26, y - 0.38, 0.22)
    out += (0.05 + 0.05 * p["fat"] + 0.06 * p["smile"].clamp(min=0)) * bump(x - 0.48, 0.25, y - 0.72, 0.24)

    # Nose: a ridge that grows from the bridge to the tip and ends abruptly, with a ball and two wings.
    length, height = p["nose_length"], p["nose_height"]
    along = (y - p["eye_y"] + 0.16) / (length + 0.16)
    rise = p["nose_bridge"] * 0.6 + (1 - p["nose_bridge"] * 0.6) * along.clamp(0, 1.2)
    ridge = height * rise * ramp(along / 0.28 + 0.35) * (1 - ramp((y - p["eye_y"] - length - 0.01) / 0.15))
    ridge += p["nose_hump"] * bump(along - 0.45, 0.25)
    out += ridge * bump(x, p["nose_width"] * (0.55 + 0.35 * along.clamp(0, 1)))
    tip = y - p["eye_y"] - length + 0.06
    out += p["nose_tip"] * bump(x, 0.13, tip, 0.11)
    out += 0.4 * height * bump(x - 0.85 * p["nose_width"], 0.085, tip - 0.03, 0.10)
    # The fold from the wing of the nose to the corner of the mouth.
    fold = x - p["nose_width"] - 0.1 - 0.30 * (tip + 0.02)
    out -= (0.025 + 0.05 * p["smile"].clamp(min=0)) * bump(fold, 0.07, tip - 0.2, 0.22)

    # Mouth: the teeth's arch, two lips, the line between them; then the chin.
    mouth = mouth_curves(x, p)
    width, across, within, gap = mouth["width"], mouth["across"], mouth["within"], mouth["gap"]
    line = y - mouth["line"]
    out += 0.09 * bump(x, 1.15 * width, line, 0.28)
    out += p["lips_out"] * within * bump(line + 0.5 * p["upper_lip"], 0.75 * p["upper_lip"] + 0.01)
    out += 1.2 * p["lips_out"] * within * bump(line - gap - 0.55 * p["lower_lip"], 0.7 * p["lower_lip"] + 0.01)
    out -= (0.05 + 0.5 * gap) * bump(across, 1.05, line - 0.4 * gap, 0.03 + 0.5 * gap)
    out -= 0.03 * bump(x - 1.08 * width, 0.07, line, 0.08)
    out -= 0.07 * bump(x, 0.30, line - gap - p["lower_lip"] - 0.11, 0.09)
    out += p["chin"] * bump(x, 0.24, y - 1.50 - p["chin_length"], 0.16)
    return out * (1 - ramp((c.x - 0.72) / 0.35))


def mouth_curves(x: Tensor, p: Traits) -> Traits:
    """The mouth at distance x from its middle: heights y of `line`, `top` and `bottom`, the `gap` below the line."""
    width = p["mouth_width"] * (1 + 0.12 * p["smile"])
    across = x / width
    within = (1 - across * across).clamp(min=0)
    line = p["mouth_y"] - 0.07 * p["smile"] * across.clamp(max=1.3) ** 2
    gap = p["mouth_open"] * within
    bow = 1 - 0.28 * bump(x, 0.045) + 0.12 * bump(x - 0.09, 0.06)
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
    return p["brow_y"] - p["brow_arch"] * bump(u - 0.62, 0.42) + 0.06 * ramp((u - 0.6) / 0.5)


def _ear(c: Chart, p: Traits) -> Tensor:
    """How far the ear stands out sideways: a shell with a rim and a hollow."""
    u = (c.phi - math.radians(98)) / math.radians(15)
    v = (c.y - 0.22) / 0.36
    u = u - 0.25 * v
    radius = (u * u + v * v).sqrt()
    shell = 1 - ramp((radius - 0.78) / 0.34)
    hollow = bump(u + 0.15, 0.5, v, 0.55)
    return p["ear"] * shell * (0.45 + 0.55 * ramp((u + 1) / 1.6) - 0.35 * hollow)
