"""What is painted on a procedural face in small: eyes, brows, nose and mouth, each within its window of the chart.

Every function changes `albedo` (B, 3, R, C) over the half chart in place. `p` holds the traits as (B, 1, 1), `colour`
those that are colours as (B, 3, 1, 1). Darkening that hardly depends on the light's direction (nostrils, sockets,
creases) is part of the albedo: the method's shading knows no occlusion, and what is symmetric an albedo can explain.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from stages.data.draws import Draws
from stages.data.face_chart import Chart, Traits, bump, colour_map, edge, ramp
from stages.data.face_shape import brow_curve, eye_curves, mouth_curves

__all__ = ["blend", "paint_brows", "paint_eyes", "paint_mouth", "paint_nose", "tint", "window"]

TEETH, GUMS, WHITE = (0.90, 0.87, 0.80), (0.22, 0.07, 0.07), (0.93, 0.90, 0.88)


@contextmanager
def window(
    albedo: Tensor, chart: Chart, rings: tuple[str | float, str | float], degrees: float = 180
) -> Iterator[tuple[Tensor, Chart]]:
    """A part of both, copied so that it is contiguous (and quick) while it is painted, then put back."""
    rows, columns, part = chart.window(rings, degrees)
    copy = albedo[:, :, rows, columns].contiguous()
    yield copy, part
    albedo[:, :, rows, columns] = copy


def blend(albedo: Tensor, colour: Tensor, amount: Tensor) -> None:
    """Move (B, 3, R, C) towards a colour by 0 … 1 (B, R, C)."""
    albedo.lerp_(colour.expand_as(albedo), amount[:, None])


def tint(albedo: Tensor, amount: Tensor, rgb: tuple[float, float, float] = (1, 1, 1)) -> None:
    """Darken each channel by its share of an amount 0 … 1 (B, R, C)."""
    for channel, share in zip(albedo.unbind(1), rgb, strict=True):
        channel.addcmul_(channel, amount, value=-share)


def paint_eyes(albedo: Tensor, chart: Chart, p: Traits, colour: Traits) -> None:
    """Sockets, lids with crease and lashes, between them the ball with iris, pupil and glint; glasses on some."""
    with window(albedo, chart, ("forehead", "cheek"), 62) as (part, c):
        x, y = c.x - p["eye_x"], c.y - p["eye_y"]
        _paint_eyes(part, x, y, p, colour)
        frame = (((x / 0.34) ** 4).add_(((y - 0.05) / 0.25) ** 4).add_(1e-6)).sqrt_().sqrt_()
        bridge = bump(y + 0.04 - 0.3 * x * x, 0.03) * (1 - ramp((x + 0.34) / 0.06))
        tint(part, p["glasses"] * (bump(frame - 1, 0.075) + bridge).clamp(max=1))


def _paint_eyes(part: Tensor, x: Tensor, y: Tensor, p: Traits, colour: Traits) -> None:
    """What is within a window about the eye, x and y (B, R, C) from its middle."""
    u = x / p["eye_width"]
    within = (1 - u * u).clamp(min=0)
    upper, lower = eye_curves(u, p)
    below_lid = y - upper

    dark = 0.8 * bump(x + 0.38 * p["eye_x"], 0.13, y + 0.05, 0.15)  # beside the bridge of the nose
    dark += 0.5 * bump(x, 0.3, y + 0.10, 0.10)
    dark += 0.35 * bump(x, 0.2, y - 0.19, 0.06)  # bags
    tint(part, p["shadow"] * dark.clamp(max=1.5), (1, 1.03, 1.02))
    tint(part, p["makeup"] * bump(u, 1.1, y + 0.13, 0.09), (0.6, 0.75, 0.55))
    tint(part, 0.30 * bump(below_lid + 0.075, 0.022) * ramp(within / 0.3))

    rim = 0.014
    ball = edge(below_lid, rim) * edge(lower - y, rim) * ramp(within / 0.10)
    radius = (x * x + (y + 0.008) ** 2).sqrt()
    shade = 1 - 0.28 * ramp(u.abs() - 0.3) - 0.25 * bump(below_lid, 0.035)
    eye = colour_map(WHITE, x) * shade[:, None]
    ring = 0.45 + 0.75 * bump(radius - 0.06, 0.025)
    blend(eye, colour["iris"] * ring[:, None], edge(0.098 - radius, 0.008))
    tint(eye, 0.93 * edge(0.040 - radius, 0.006))
    blend(eye, colour_map((1, 1, 1), x), 0.85 * bump(x, 0.018, y + 0.045, 0.018))
    blend(part, eye, ball)
    lash = (bump(below_lid + 0.008, 0.022) + 0.35 * bump(y - lower, 0.016)) * ramp(within / 0.06)
    tint(part, p["lash"] * lash.clamp(max=1))


def paint_brows(albedo: Tensor, chart: Chart, p: Traits, colour: Traits, draw: Draws) -> None:
    """The brows, and the lines over them on a forehead that has some."""
    with window(albedo, chart, ("hairline", "eye"), 62) as (part, c):
        lines = bump(c.y + 0.58, 0.025) + bump(c.y + 0.72, 0.025)
        tint(part, 0.2 * p["wrinkles"] * lines * bump(c.x, 0.5))
        u = (c.x - 0.17) / 0.56
        thick = p["brow_thick"] * (1.1 - 0.75 * ramp((u - 0.35) / 0.7))
        hair = edge(thick - (c.y - brow_curve(u, p)).abs(), 0.016)
        hair = hair * ramp((u + 0.06) / 0.14) * (1 - ramp((u - 0.90) / 0.14))
        grain = 0.88 + 0.12 * draw.noise(12, 40, c.x.shape[1:])[:, 0]
        blend(part, colour["brow"], p["brow_dense"] * hair * grain.clamp(0.5, 1.1))


def paint_nose(albedo: Tensor, chart: Chart, p: Traits) -> None:
    """Nostrils, the shade under the tip, the crease round the wings and the folds from there to the mouth."""
    with window(albedo, chart, ("eye", "lip"), 42) as (part, c):
        x, width = c.x, p["nose_width"]
        tip = c.y - p["eye_y"] - p["nose_length"]
        fold = x - width - 0.12 - 0.30 * (tip + 0.02)
        dark = 0.55 * bump(x - 0.5 * width, 0.8 * width, tip - 0.095, 0.045)
        dark += 0.8 * bump(x - 1.28 * width, 0.07, tip + 0.02, 0.12)
        dark += (0.45 * p["smile"].clamp(min=0) + p["wrinkles"]) * bump(fold, 0.05, tip - 0.22, 0.2)
        tint(part, p["shadow"] * dark.clamp(max=1.5), (1, 1.03, 1.02))
        tint(part, 0.75 * bump(x - 0.52 * width, 0.07, tip - 0.06, 0.036), (0.95, 1, 1))
        tint(part, p["blush"] * bump(x, 0.16, tip + 0.05, 0.12), (0.1, 0.8, 0.7))


def paint_mouth(albedo: Tensor, chart: Chart, p: Traits, colour: Traits) -> None:
    """Lips, what an open mouth shows, the line between the lips and the shade under them."""
    with window(albedo, chart, ("cheek", "chin"), 40) as (part, c):
        mouth = mouth_curves(c.x, p)
        across, within, gap = mouth["across"], mouth["within"], mouth["gap"]
        line = c.y - mouth["line"]
        tint(part, 0.45 * p["shadow"] * bump(c.x, 0.26, line - p["lower_lip"] - gap - 0.09, 0.06))
        rim = 0.018
        lips = edge(c.y - mouth["top"], rim) * edge(mouth["bottom"] - c.y, rim)
        sheen = 1 + 0.10 * bump(line - gap - 0.5 * p["lower_lip"], 0.04) - 0.12 * ramp(-line / 0.08)
        blend(part, colour["lips"] * sheen[:, None], 0.9 * lips * ramp(within / 0.12))

        inside = edge(line, 0.012) * edge(gap - line, 0.012) * ramp(gap / 0.02)
        teeth = colour_map(TEETH, line) * (1 - 0.7 * ramp(across))[:, None]
        blend(teeth, colour_map(GUMS, line), ramp((line / gap.clamp(min=1e-3) - 0.55) / 0.3))
        blend(part, teeth, inside)
        seam = (bump(line, 0.018) + bump(line - gap, 0.016)).clamp(max=1)
        tint(part, 0.62 * seam * (1 - ramp((across - 0.92) / 0.16)) * (1 - 0.5 * ramp(gap / 0.03)))
