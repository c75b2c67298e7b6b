"""The colours of a procedural car over the same grid as its shape: windows, lamps, grille, wheels; and what is on one
side only: a number plate's text, a sticker, dirt.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.data.car_shape import COLUMNS, ROWS, Half, columns, rows
from stages.data.draws import Draws
from stages.data.face_chart import Traits, bump, colour_map, constant, edge, mirror, over_grid, ramp
from stages.data.face_features import blend

__all__ = ["DIRT_KNOTS", "draw_paint", "paint"]

DIRT_KNOTS = (9, 12)
GLYPHS = 7  # places for a letter on a number plate
SOFT = 0.012  # width of an edge of paint
RUBBER, SHADE = (0.07, 0.07, 0.075), (0.05, 0.05, 0.05)
LAMP, TAIL_LAMP, PLATE = (0.93, 0.93, 0.88), (0.60, 0.06, 0.05), (0.90, 0.89, 0.80)
MUD = (0.40, 0.33, 0.24)


def _colour(draw: Draws, grey: float) -> Tensor:
    """(B, 3): a shade of grey with this probability, else a colour."""
    value, hue = draw.uniform(0.10, 0.92), draw.uniform(0, 6)
    wheel = constant((0.0, 4.0, 2.0), hue.device)
    pure = ((hue[:, None] + wheel) % 6 - 3).abs().sub(1).clamp(0, 1)
    saturation = draw.uniform(0.45, 0.92) * (1 - draw.chance(grey))
    return value.clamp(min=0.35 * (saturation > 0))[:, None] * (1 - saturation[:, None] * (1 - pure))


def draw_paint(draw: Draws) -> Traits:
    """Colours (B, 3) and the traits (B,) that only colour shows."""
    body, other, sticker = _colour(draw, 0.5), _colour(draw, 0.6), _colour(draw, 0.2)
    glass = draw.uniform(0.05, 0.20)
    hub, grille = draw.uniform(0.25, 0.80), draw.uniform(0.04, 0.30)
    return {
        "body": body,
        "other": other,
        "sticker": sticker,
        "glass": torch.stack([glass, glass * 1.05, glass * 1.15], 1),
        "hub": torch.stack([hub] * 3, 1),
        "grille": torch.stack([grille] * 3, 1),
        "two_tone": draw.chance(0.12),
        "stripes": draw.chance(0.10),
        "stripe": draw.uniform(0.12, 0.24),
        "plastic": draw.chance(0.3),
        "grille_width": draw.uniform(0.25, 0.62),
        "grille_place": draw.bell(0.66, 0.08),
        "grille_height": draw.uniform(0.07, 0.15),
        "lamp_place": draw.bell(0.68, 0.06),
        "lamp_width": draw.uniform(0.10, 0.18),
        "lamp_height": draw.uniform(0.08, 0.15),
        "pillar": draw.bell(0.58, 0.05),
        "plate": draw.chance(0.9),
        "text": draw.chance(0.75),
        **{f"glyph {i}": draw.chance(0.6) for i in range(GLYPHS)},
        "stuck": draw.chance(0.25),
        "sticker_row": draw.uniform(),
        "sticker_column": draw.uniform(),
        "sticker_side": 2 * draw.chance(0.5) - 1,
        "sticker_size": draw.uniform(1.0, 2.4),
        "dirt": draw.chance(0.3) * draw.uniform(0.4, 1.0),
    }


def paint(half: Half, traits: Traits, draw: Draws, fine: int) -> Tensor:
    """Albedo (B, 3, T, S) in [0, 1] over the whole grid, `fine` times as fine."""
    p, colour = over_grid(traits)
    size = [(n - 1) * fine + 1 for n in half.x.shape[1:]]
    place = F.interpolate(torch.stack([half.x, half.h, half.z], 1), size, mode="bilinear", align_corners=True)
    albedo = colour["body"].expand(-1, -1, *size).clone()
    _paint_top(albedo, place, p, colour, fine)
    _paint_sides(albedo, place, p, colour, fine)
    _paint_front(albedo, place, p, colour, fine)
    whole = mirror(albedo)
    _paint_one_sided(whole, place, p, colour, draw, fine)
    return whole.clamp_(0.02, 0.98)


def _within(x: Tensor, reach: Tensor | float) -> Tensor:
    """1 where |x| < reach, 0 beyond."""
    return edge(reach - x.abs(), SOFT)


def _along(cells: int, fine: int, like: Tensor) -> Tensor:
    """From 0 to 1 over the rows or columns of a part."""
    return torch.linspace(0, 1, cells * fine + 1, device=like.device)


def _paint_top(albedo: Tensor, place: Tensor, p: Traits, colour: Traits, fine: int) -> None:
    """Roof and stripes in another colour, windscreen and rear window."""
    top = columns("top", fine)
    roof = rows("roof", fine)
    blend(albedo[:, :, roof, top], colour["other"], p["two_tone"].expand_as(place[:, 0, roof, top]))
    long = slice(rows("deck", fine).start, rows("bonnet", fine).stop)
    x = place[:, 0, long, top]
    blend(albedo[:, :, long, top], colour["other"], p["stripes"] * _within(x - p["stripe"], 0.08))
    for name in ("screen", "rear window"):
        part = rows(name, fine)
        x = place[:, 0, part, top]
        inside = _within(_along(ROWS[name], fine, x)[:, None] - 0.5, 0.46)
        blend(albedo[:, :, part, top], colour["glass"], inside * _within(x, x[:, :, -1:] - 0.06))


def _paint_sides(albedo: Tensor, place: Tensor, p: Traits, colour: Traits, fine: int) -> None:
    """Side windows with pillars, a door's gap, tail lamps, and wheels in their arches."""
    window = columns("window", fine)
    x, z = place[:, 0, :, window], place[:, 2, :, window]
    share = z / p["length"]
    low = _along(COLUMNS["window"], fine, x)
    front = p["cowl"] + (p["screen"] - p["cowl"]) * (1 - low) + 0.05  # leans with the windscreen
    back = torch.where(p["cargo"] > 0, p["pillar"], p["roof"] + (p["deck"] - p["roof"]) * low * 0.6 - 0.04)
    glass = edge(share - front, SOFT) * edge(back - share, SOFT) * _within(low - 0.5, 0.38)
    pillar = _within(share - p["pillar"], 0.02) * (1 - p["one_row"])
    blend(albedo[:, :, :, window], colour["glass"], glass * (1 - pillar))

    side = slice(columns("side", fine).start, columns("tyre", fine).stop)
    h, z = place[:, 1, :, side], place[:, 2, :, side]
    blend(albedo[:, :, :, side], colour_map(SHADE, x), 0.6 * bump(z / p["length"] - p["pillar"], 0.008))
    lamp = edge(z / p["length"] - 0.95, SOFT) * _within(h - p["deck_height"] + 0.16, 0.12)
    blend(albedo[:, :, :, side], colour_map(TAIL_LAMP, x), lamp)
    for name in ("front_wheel", "rear_wheel"):
        away = ((z - p[name] * p["length"]) ** 2 + (h - p["wheel"]) ** 2).sqrt()
        blend(albedo[:, :, :, side], colour_map(RUBBER, x), edge(1.12 * p["wheel"] - away, SOFT))
        blend(albedo[:, :, :, side], colour["hub"], edge(0.62 * p["wheel"] - away, SOFT))
        blend(albedo[:, :, :, side], colour_map(SHADE, x), edge(0.14 * p["wheel"] - away, SOFT))
    below = slice(columns("tread", fine).start, None)
    albedo[:, :, rows("deck", fine).start : rows("bonnet", fine).stop, below] = colour_map(RUBBER, x)


def _paint_front(albedo: Tensor, place: Tensor, p: Traits, colour: Traits, fine: int) -> None:
    """Bumper, grille, headlamps and the plate without its text."""
    front = rows("front", fine)
    part, x, up = albedo[:, :, front], place[:, 0, front], _front_height(place[:, 1, front], p)
    blend(part, colour_map(RUBBER, x).add(0.1), p["plastic"] * edge(0.36 - up, SOFT))
    blend(part, colour["grille"], _within(x, 0.62) * _within(up - 0.17, 0.09))
    blend(part, colour["grille"], _within(x, p["grille_width"]) * _within(up - p["grille_place"], p["grille_height"]))
    lamp = _within(x - p["lamp_place"], p["lamp_width"]) * _within(up - 0.70, p["lamp_height"])
    blend(part, colour_map(LAMP, x), lamp)
    blend(part, colour_map(PLATE, x), p["plate"] * _plate(x, up))


def _front_height(h: Tensor, p: Traits) -> Tensor:
    """0 at the sill, 1 at the bonnet's edge."""
    return (h - p["sill"]) / (p["nose_height"] - p["sill"])


def _plate(x: Tensor, up: Tensor) -> Tensor:
    return _within(x, 0.30) * _within(up - 0.40, 0.09)


def _paint_one_sided(whole: Tensor, place: Tensor, p: Traits, colour: Traits, draw: Draws, fine: int) -> None:
    """What breaks the symmetry: letters on the plate, a sticker on body or bonnet, dirt low on the sides."""
    front = rows("front", fine)
    one = place.new_ones(())
    x, up = mirror(place[:, 0, front], -one), _front_height(mirror(place[:, 1, front]), p)
    letters = sum(p[f"glyph {i}"] * _within(x - 0.08 * (i - GLYPHS // 2), 0.028) for i in range(GLYPHS))
    inside = _plate(x, up) * _within(up - 0.40, 0.06) * p["plate"] * p["text"]
    blend(whole[:, :, front], colour_map(SHADE, x), letters.clamp(max=1) * inside)

    first, last = rows("rear window").start, rows("front").start
    side = columns("side").stop - 1
    row = torch.arange(whole.shape[2], device=x.device)[:, None] / fine
    column = torch.arange(whole.shape[3], device=x.device)[None] / fine - sum(COLUMNS.values())
    down = row - torch.lerp(one * first, one * last, p["sticker_row"])
    across = column - p["sticker_side"] * torch.lerp(one, one * side, p["sticker_column"])
    blend(whole, colour["sticker"], p["stuck"] * _within(down, p["sticker_size"]) * _within(across, p["sticker_size"]))

    spots = ramp(draw.noise(*DIRT_KNOTS, whole.shape[-2:])[:, 0] * 0.6 + 0.5)
    low = 1 - ramp((mirror(place[:, 1]) - 0.25) / 0.9)
    blend(whole, colour_map(MUD, x), p["dirt"] * 0.85 * spots * low)
