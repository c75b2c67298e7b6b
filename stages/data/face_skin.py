"""The colours of a procedural face over the same chart as its shape: skin, eyes, brows, lips, hair, beard."""

import math

import torch
from torch import Tensor

from stages.data.draws import Draws
from stages.data.face_chart import Chart, Traits, bump, constant, edge, over_grid, ramp
from stages.data.face_features import blend, paint_brows, paint_eyes, paint_mouth, paint_nose, tint, window

__all__ = ["draw_skin", "hair_mask", "paint"]

SKIN = (  # light to dark, RGB as displayed
    (0.96, 0.81, 0.72),
    (0.91, 0.72, 0.60),
    (0.82, 0.62, 0.48),
    (0.68, 0.48, 0.35),
    (0.52, 0.35, 0.25),
    (0.38, 0.25, 0.19),
)
HAIR = (
    (0.08, 0.07, 0.07),
    (0.20, 0.13, 0.09),
    (0.38, 0.24, 0.14),
    (0.58, 0.42, 0.24),
    (0.82, 0.68, 0.42),
    (0.52, 0.24, 0.12),
)
GREY = (0.72, 0.71, 0.70)
IRIS = ((0.20, 0.11, 0.06), (0.34, 0.21, 0.10), (0.30, 0.36, 0.20), (0.30, 0.46, 0.62), (0.42, 0.48, 0.52))


def _pick(colours: tuple, where: Tensor) -> Tensor:
    """(B, 3) colours at position 0 … 1 along a palette of K, mixed between neighbours."""
    palette = constant(colours, where.device)
    at = where.clamp(0, 1) * (len(palette) - 1)
    low = at.floor().clamp(max=len(palette) - 2).long()
    return torch.lerp(palette[low], palette[low + 1], (at - low)[:, None])


def draw_skin(draw: Draws) -> Traits:
    """Colours (B, 3) and the traits (B,) that only colour shows."""
    tone = draw.uniform() ** 1.3
    skin = _pick(SKIN, tone) * torch.stack([draw.bell(1, 0.05), draw.bell(1, 0.05), draw.bell(1, 0.08)], 1)
    # Fair hair goes with fair skin more often than not.
    hair = _pick(HAIR, draw.uniform() * (1.05 - 0.85 * ramp(tone * 1.6)))
    hair = torch.lerp(hair, constant(GREY, hair.device), (draw.chance(0.15) * draw.uniform(0.2, 1.0))[:, None])
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


def hair_mask(chart: Chart, traits: Traits, softness: float, overhang: float = 0.0) -> Tensor:
    """(B, R, C) 0 … 1 where hair grows: above a line that runs over the forehead, down before the ear, to the nape.

    softness: width of the edge, in face units; overhang: by how many degrees the hair reaches further over the face.
    """
    p, _ = over_grid(traits)
    degrees = chart.phi * (180 / math.pi)
    front = p["hairline"] + p["fringe"] - p["hair_peak"] * bump(degrees, 14) - p["hair_temple"] * bump(degrees - 42, 16)
    to_side = ramp((degrees + overhang - p["hair_front"]) / 14 + 0.5)
    to_nape = ramp((degrees - 112) / 16 + 0.5)
    line = torch.lerp(torch.lerp(front, p["hair_side"], to_side), p["hair_nape"], to_nape)
    return edge(line + 0.02 * overhang - chart.y, softness)


def paint(chart: Chart, traits: Traits, draw: Draws) -> Tensor:
    """Albedo (B, 3, R, C) in [0, 1] over the half chart."""
    p, colour = over_grid(traits)
    mottle = draw.noise(10, 6, chart.x.shape[1:]) + 0.7 * draw.noise(32, 18, chart.x.shape[1:])
    albedo = colour["skin"] * (1 + p["mottle"][:, None] * mottle)
    _paint_face(albedo, chart, p, colour, draw)
    paint_nose(albedo, chart, p)
    paint_mouth(albedo, chart, p, colour)
    paint_eyes(albedo, chart, p, colour)
    paint_brows(albedo, chart, p, colour, draw)
    _paint_hair(albedo, chart, traits, colour, draw)
    return albedo.clamp_(0.02, 0.98)


def _paint_face(albedo: Tensor, chart: Chart, p: Traits, colour: Traits, draw: Draws) -> None:
    """Blush, freckles, beard and moustache, and the shade under the chin."""
    with window(albedo, chart, ("eye", "under"), 60) as (part, c):
        x, y = c.x, c.y
        tint(part, p["blush"] * bump(x - 0.58, 0.26, y - 0.55, 0.24), (0.1, 1.0, 0.85))
        spots = ramp(draw.noise(44, 40, x.shape[1:])[:, 0] * 1.2 - 1.1) * p["freckles"]
        tint(part, 0.35 * spots * bump(x, 0.7, y - 0.42, 0.32), (0.5, 0.9, 1.0))

    with window(albedo, chart, ("nose", "throat"), 106) as (part, c):
        degrees = c.phi * (180 / math.pi)
        line = 0.80 + 0.30 * bump(c.x, 0.42) - 0.75 * ramp((degrees - 48) / 40)
        beard = (
            p["beard"] * ramp((c.y - line) / 0.30) * ((1 - ramp((degrees - 96) / 10)) * (1 - ramp((c.t - 12.2) / 0.8)))
        )
        upper = bump(c.y - p["mouth_y"] + 0.13 + 0.05 * c.x, 0.09) * (1 - ramp((c.x - 0.36) / 0.1))
        fine = 0.85 + 0.15 * draw.noise(40, 36, c.x.shape[1:])[:, 0]
        blend(part, colour["hair"] * 0.8, (torch.maximum(beard, p["moustache"] * upper) * fine).clamp(0, 0.92))

    with window(albedo, chart, (11.25, "base")) as (part, c):
        part *= 1 - 0.5 * ramp((c.t - 11.25) / 0.9) * (1 - 0.5 * ramp((c.t - 13) / 1.5))


def _paint_hair(albedo: Tensor, chart: Chart, traits: Traits, colour: Traits, draw: Draws) -> None:
    """Hair in strands, then what is worn below the neck."""
    size = chart.x.shape[1:]
    mask = hair_mask(chart, traits, 0.035, overhang=3.5)  # the step from face to hair is all hair
    strands = draw.noise(5, 60, size).add_(draw.noise(10, 26, size), alpha=0.6)
    strands = (strands * traits["strands"][:, None, None, None]).add_(1).clamp_(0.35, 1.9)
    strands *= ramp((chart.y[:, None] + 1.7) / 0.9).mul_(0.2).add_(0.8)
    blend(albedo, colour["hair"] * strands, mask)
    with window(albedo, chart, (13.5, "base")) as (part, c):
        blend(part, colour["cloth"], edge(c.t - 13.9, 0.06) * (1 - mask[:, -len(c.t) :]))
