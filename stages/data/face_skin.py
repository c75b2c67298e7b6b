"""The colours of a procedural face over the same chart as its shape: skin, eyes, brows, lips, hair, beard."""

import math

import torch
from torch import Tensor

from stages.data.draws import Draws
from stages.data.face_shape import Chart, Traits, brow_curve, bump, eye_curves, mouth_curves, ramp

__all__ = ["draw_skin", "hair_mask", "paint"]

SKIN = torch.tensor(  # light to dark, RGB as displayed
    [
        [0.96, 0.81, 0.72],
        [0.91, 0.72, 0.60],
        [0.82, 0.62, 0.48],
        [0.68, 0.48, 0.35],
        [0.48, 0.32, 0.23],
        [0.32, 0.21, 0.16],
    ]
)
HAIR = torch.tensor(
    [
        [0.08, 0.07, 0.07],
        [0.20, 0.13, 0.09],
        [0.38, 0.24, 0.14],
        [0.58, 0.42, 0.24],
        [0.82, 0.68, 0.42],
        [0.52, 0.24, 0.12],
    ]
)
GREY = torch.tensor([0.72, 0.71, 0.70])
IRIS = torch.tensor(
    [[0.20, 0.11, 0.06], [0.34, 0.21, 0.10], [0.30, 0.36, 0.20], [0.30, 0.46, 0.62], [0.42, 0.48, 0.52]]
)


def _pick(palette: Tensor, where: Tensor) -> Tensor:
    """(B, 3) colours at position 0 … 1 along a palette (K, 3), mixed between neighbours."""
    palette = palette.to(where)
    at = where.clamp(0, 1) * (len(palette) - 1)
    low = at.floor().clamp(max=len(palette) - 2).long()
    return torch.lerp(palette[low], palette[low + 1], (at - low)[:, None])


def draw_skin(draw: Draws) -> Traits:
    """Colours (B, 3) and the traits (B,) that only colour shows."""
    tone = draw.uniform()
    skin = _pick(SKIN, tone) * torch.stack([draw.bell(1, 0.05), draw.bell(1, 0.05), draw.bell(1, 0.08)], 1)
    # Fair hair goes with fair skin more often than not.
    hair = _pick(HAIR, draw.uniform() * (1.05 - 0.85 * ramp(tone * 1.6)))
    hair = torch.lerp(hair, GREY.to(hair), (draw.chance(0.15) * draw.uniform(0.2, 1.0))[:, None])
    feminine = draw.chance(0.5)
    long_hair = draw.chance(0.75) * feminine + draw.chance(0.08) * (1 - feminine)
    bald = draw.chance(0.22) * (1 - feminine)
    lipstick = feminine * draw.uniform(0.0, 0.8)
    red = torch.stack([draw.uniform(0.5, 0.85), draw.uniform(0.1, 0.3), draw.uniform(0.15, 0.35)], 1)
    natural = skin * torch.stack([draw.uniform(0.82, 0.95), draw.uniform(0.58, 0.72), draw.uniform(0.60, 0.75)], 1)
    bearded = draw.chance(0.35) * (1 - feminine)
    return {
        "skin": skin.clamp(0.08, 0.97),
        "hair": hair,
        "brow": torch.lerp(hair * 0.75, skin * 0.5, 0.25),
        "iris": _pick(IRIS, draw.uniform() * (1.15 - ramp(tone * 1.8))),
        "lips": torch.lerp(natural, red, 0.8 * lipstick[:, None]),
        "blush": draw.uniform(0.02, 0.14),
        "shadow": draw.uniform(0.15, 0.42),
        "makeup": feminine * draw.uniform(0.0, 0.5),
        "lash": 0.5 + 0.4 * feminine * draw.uniform(),
        "brow_thick": draw.uniform(0.035, 0.075),
        "brow_arch": draw.uniform(0.02, 0.13),
        "brow_dense": draw.uniform(0.55, 0.95),
        "hairline": draw.bell(-0.98, 0.16) - 0.9 * bald,
        "hair_temple": draw.uniform(-0.15, 0.15),
        "hair_peak": draw.bell(0.0, 0.14),
        "fringe": draw.chance(0.25) * (1 - bald) * draw.uniform(0.1, 0.48),
        "hair_side": torch.where(long_hair > 0, draw.uniform(1.0, 2.6), draw.uniform(-0.5, 0.25) - 0.1 * bald),
        "hair_front": draw.uniform(52, 70) + 6 * (1 - long_hair),
        "hair_nape": torch.where(long_hair > 0, 2.9 + 0 * bald, draw.uniform(0.5, 1.1)),
        "hair_volume": draw.uniform(0.02, 0.17) * (1 - 0.8 * bald) * (0.6 + 0.4 * feminine),
        "hair_long": long_hair,
        "strands": draw.uniform(0.10, 0.30),
        "beard": bearded * draw.uniform(0.15, 0.85) + (1 - feminine) * draw.uniform(0, 0.22),
        "moustache": bearded * draw.uniform(0.0, 0.8),
        "freckles": draw.chance(0.3) * draw.uniform(0.2, 1.0) * (1 - tone),
        "mottle": draw.uniform(0.02, 0.06),
        "wrinkles": draw.chance(0.35) * draw.uniform(0.1, 0.5),
        "glasses": draw.chance(0.07) * draw.uniform(0.6, 1.0),
        "cloth": torch.stack([draw.uniform(0.1, 0.8) for _ in range(3)], 1),
    }


def hair_mask(chart: Chart, traits: Traits, softness: float) -> Tensor:
    """(B, R, C) 0 … 1 where hair grows: above a line that runs over the forehead, down before the ear, to the nape."""
    p = {k: v[:, None, None] for k, v in traits.items() if v.ndim == 1}
    degrees = chart.phi * (180 / math.pi)
    front = (
        p["hairline"] + p["fringe"] - p["hair_peak"] * bump(degrees / 14) - p["hair_temple"] * bump((degrees - 42) / 16)
    )
    to_side = ramp((degrees - p["hair_front"]) / 14 + 0.5)
    to_nape = ramp((degrees - 112) / 16 + 0.5)
    edge = torch.lerp(torch.lerp(front, p["hair_side"], to_side), p["hair_nape"], to_nape)
    return torch.sigmoid((edge - chart.y) / softness)


def paint(chart: Chart, traits: Traits, draw: Draws) -> Tensor:
    """Albedo (B, 3, R, C) in [0, 1] over the half chart."""
    p = {k: v[:, None, None] for k, v in traits.items() if v.ndim == 1}
    colour = {k: v[:, :, None, None] for k, v in traits.items() if v.ndim == 2}
    size = chart.x.shape[1:]
    x = chart.x

    mottle = 1 + p["mottle"] * (draw.noise(10, 6, size) + 0.7 * draw.noise(32, 18, size))[:, 0]
    skin = colour["skin"] * mottle[:, None]
    albedo = skin.clone()
    _face(albedo, chart, p, colour, draw)
    _shadows(albedo, chart, p)
    _mouth(albedo, chart, p, colour)
    _eyes(albedo, chart, p, colour)
    _brows(albedo, chart, p, colour, draw)

    mask = hair_mask(chart, traits, 0.035)[:, None]
    strands = 1 + p["strands"][:, None] * (draw.noise(5, 60, size) + 0.6 * draw.noise(10, 26, size))
    hair = colour["hair"] * strands.clamp(0.35, 1.9) * (0.8 + 0.2 * ramp((chart.y[:, None] + 1.7) / 0.9))
    albedo = torch.lerp(albedo, hair, mask)
    cloth = torch.sigmoid((chart.t - 13.9) / 0.06).expand(x.shape)[:, None] * (1 - mask)
    albedo = torch.lerp(albedo, colour["cloth"].expand_as(albedo), cloth)
    return albedo.clamp(0.02, 0.98)


def _blend(albedo: Tensor, colour: Tensor, amount: Tensor) -> None:
    albedo.lerp_(colour.expand_as(albedo), amount[:, None])


def _face(albedo: Tensor, chart: Chart, p: Traits, colour: Traits, draw: Draws) -> None:
    """Blush, freckles, beard, moustache, ears: over the whole lower face."""
    rows, columns, c = chart.window(("forehead", "throat"), 115)
    part = albedo[:, :, rows, columns]
    x, y = c.x, c.y
    red = p["blush"] * (
        bump((x - 0.58) / 0.26, (y - 0.55) / 0.24)
        + 0.8 * bump(x / 0.16, (y - p["eye_y"] - p["nose_length"] + 0.05) / 0.12)
    )
    part *= 1 - red[:, None] * torch.tensor([0.1, 1.0, 0.85]).to(x)[:, None, None]
    spots = ramp(draw.noise(44, 40, x.shape[1:])[:, 0] * 1.2 - 1.1) * p["freckles"]
    part *= (
        1
        - 0.35
        * (spots * bump(x / 0.7, (y - 0.42) / 0.32))[:, None]
        * torch.tensor([0.5, 0.9, 1.0]).to(x)[:, None, None]
    )
    fine = 0.85 + 0.15 * draw.noise(40, 36, x.shape[1:])[:, 0]
    degrees = c.phi * (180 / math.pi)
    line = 0.80 + 0.30 * bump(x / 0.42) - 0.75 * ramp((degrees - 48) / 40)
    beard = p["beard"] * ramp((y - line) / 0.30) * (1 - ramp((degrees - 96) / 10)) * (1 - ramp((c.t - 12.2) / 0.8))
    upper = y - p["mouth_y"] + 0.13 + 0.05 * x
    beard = torch.maximum(beard, p["moustache"] * bump(upper / 0.09) * (1 - ramp((x - 0.36) / 0.1)))
    _blend(part, colour["hair"] * 0.8, (beard * fine).clamp(0, 0.92))


def _shadows(albedo: Tensor, chart: Chart, p: Traits) -> None:
    """Places that little light reaches, whatever its direction: under the chin, beside the nose, the eye sockets."""
    rows, columns, c = chart.window(("forehead", "throat"), 75)
    x, y = c.x, c.y
    tip = y - p["eye_y"] - p["nose_length"]
    width = p["nose_width"]
    dark = 0.8 * bump((x - p["eye_x"] * 0.62) / 0.14, (y - p["eye_y"] + 0.05) / 0.15)
    dark += 0.5 * bump((x - p["eye_x"]) / 0.3, (y - p["eye_y"] + 0.10) / 0.10)
    dark += 0.35 * bump((x - p["eye_x"]) / 0.2, (y - p["eye_y"] - 0.19) / 0.06)  # bags
    dark += 0.9 * bump((x - 0.7 * width) / (0.9 * width), (tip - 0.09) / 0.05)  # under the tip
    dark += 0.8 * bump((x - 1.28 * width) / 0.07, (tip + 0.02) / 0.13)  # crease round the wing
    dark += 0.45 * bump(x / 0.26, (y - p["mouth_y"] - p["lower_lip"] - p["mouth_open"] - 0.08) / 0.06)
    fold = x - width - 0.12 - 0.30 * (tip + 0.02)
    dark += (0.4 * p["smile"].clamp(min=0) + p["wrinkles"]) * bump(fold / 0.045) * bump((tip - 0.2) / 0.2)
    dark += p["wrinkles"] * 0.5 * (bump((y + 0.58) / 0.025) + bump((y + 0.72) / 0.025)) * bump(x / 0.5)
    nostril = bump((x - 0.52 * width) / 0.075, (tip - 0.045) / 0.042)
    part = albedo[:, :, rows, columns]
    part *= (1 - p["shadow"] * dark.clamp(max=1.6))[:, None] * torch.tensor([1.0, 0.97, 0.96]).to(x)[:, None, None]
    part *= 1 - 0.75 * nostril[:, None]
    below = ramp((chart.t - 11.25) / 0.9) * (1 - 0.5 * ramp((chart.t - 13) / 1.5))
    albedo *= 1 - (0.55 * below)[None, None]


def _mouth(albedo: Tensor, chart: Chart, p: Traits, colour: Traits) -> None:
    rows, columns, c = chart.window(("cheek", "chin"), 40)
    x, y = c.x, c.y
    mouth = mouth_curves(x, p)
    across, within, gap = mouth["across"], mouth["within"], mouth["gap"]
    line = y - mouth["line"]
    soft = 0.018
    lips = torch.sigmoid((y - mouth["top"]) / soft) * torch.sigmoid((mouth["bottom"] - y) / soft) * ramp(within / 0.12)
    part = albedo[:, :, rows, columns]
    sheen = 1 + 0.10 * bump((line - gap - 0.5 * p["lower_lip"]) / 0.04) - 0.12 * ramp(-line / 0.08)
    _blend(part, colour["lips"] * sheen[:, None], 0.9 * lips)
    inside = torch.sigmoid(line / 0.012) * torch.sigmoid((gap - line) / 0.012) * ramp(gap / 0.02)
    teeth = torch.tensor([0.90, 0.87, 0.80]).to(x)[None, :, None, None] * (1 - 0.7 * ramp(across / 1.0))[:, None]
    dark = torch.tensor([0.22, 0.07, 0.07]).to(x)[None, :, None, None]
    _blend(
        part, torch.lerp(teeth, dark.expand_as(teeth), ramp((line / gap.clamp(min=1e-3) - 0.55) / 0.3)[:, None]), inside
    )
    seam = bump(line / 0.018) + bump((line - gap) / 0.016)
    part *= 1 - (0.62 * seam.clamp(max=1) * (1 - ramp((across - 0.92) / 0.16)) * (1 - 0.5 * ramp(gap / 0.03)))[:, None]


def _eyes(albedo: Tensor, chart: Chart, p: Traits, colour: Traits) -> None:
    rows, columns, c = chart.window(("forehead", "cheek"), 62)
    part = albedo[:, :, rows, columns]
    x, y = c.x - p["eye_x"], c.y - p["eye_y"]
    u = x / p["eye_width"]
    within = (1 - u * u).clamp(min=0)
    upper, lower = eye_curves(u, p)
    # Eyelid with its crease, eye shadow and lashes, then the ball that shows between the lids.
    lid = bump((y - upper + 0.075) / 0.022) * ramp(within / 0.3)
    part *= 1 - (0.30 * lid)[:, None]
    part *= (
        1
        - (p["makeup"] * bump(u / 1.1, (y + 0.13) / 0.09))[:, None]
        * torch.tensor([0.6, 0.75, 0.55]).to(x)[:, None, None]
    )
    soft = 0.014
    ball = torch.sigmoid((y - upper) / soft) * torch.sigmoid((lower - y) / soft) * ramp(within / 0.10)
    radius = (x * x + (y + 0.008) ** 2).sqrt()
    white = (
        torch.tensor([0.93, 0.90, 0.88]).to(x)[None, :, None, None]
        * (1 - 0.28 * ramp(u.abs() - 0.3) - 0.25 * bump((y - upper) / 0.035))[:, None]
    )
    iris = torch.sigmoid((0.098 - radius) / 0.008)
    ring = (0.45 + 0.75 * bump((radius - 0.06) / 0.025))[:, None]
    white = torch.lerp(white, (colour["iris"] * ring).expand_as(white), iris[:, None])
    white = white * (1 - 0.93 * torch.sigmoid((0.040 - radius) / 0.006))[:, None]
    glint = bump((x + 0.0) / 0.016, (y + 0.045) / 0.016)
    white = torch.lerp(white, torch.ones_like(white), (0.85 * glint)[:, None])
    _blend(part, white, ball)
    lash = bump((y - upper + 0.008) / 0.022) * ramp(within / 0.06)
    lash = lash + 0.35 * bump((y - lower) / 0.016) * ramp(within / 0.06)
    part *= 1 - (p["lash"] * lash.clamp(max=1))[:, None]

    rim = ((x / 0.34) ** 4 + ((y - 0.05) / 0.25) ** 4 + 1e-6) ** 0.25
    frame = bump((rim - 1) / 0.075) + bump((y + 0.04 - 0.3 * x * x) / 0.03) * (
        1 - ramp((c.x - p["eye_x"] + 0.34) / 0.06)
    )
    part *= 1 - (p["glasses"] * frame.clamp(max=1) * (p["glasses"] > 0))[:, None]


def _brows(albedo: Tensor, chart: Chart, p: Traits, colour: Traits, draw: Draws) -> None:
    rows, columns, c = chart.window(("hairline", "eye"), 62)
    part = albedo[:, :, rows, columns]
    u = (c.x - 0.17) / 0.56
    thick = p["brow_thick"] * (1.1 - 0.75 * ramp((u - 0.35) / 0.7))
    hair = (
        torch.sigmoid((thick - (c.y - brow_curve(u, p)).abs()) / 0.016)
        * ramp((u + 0.06) / 0.14)
        * (1 - ramp((u - 0.90) / 0.14))
    )
    grain = 0.88 + 0.12 * draw.noise(12, 40, c.x.shape[1:])[:, 0]
    _blend(part, colour["brow"], p["brow_dense"] * hair * grain.clamp(0.5, 1.1))
