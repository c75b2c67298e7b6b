"""Small diagrams: lines over numbered steps, as pictures."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["diagram"]

SIZE = (520, 360)
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 40, 44
INK, FAINT, PAPER = (40, 40, 40), (225, 225, 225), (255, 255, 255)
COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115))  # told apart by the colour-blind too
TICKS = 4
FINE = 2  # drawn larger and shrunk, for smooth lines


def diagram(title: str, across: Sequence[str], lines: Mapping[str, Sequence[float]]) -> np.ndarray:
    """(360, 520, 3) uint8: up to three ``lines``, name → a value above 0 for each label in ``across``."""
    step = _round_step(max(max(line) for line in lines.values()) / TICKS)
    high = step * TICKS
    width, height = (side * FINE for side in SIZE)
    picture = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(picture)
    font, small = (ImageFont.load_default(points * FINE) for points in (16, 13))

    def place(number: int, value: float) -> tuple[float, float]:
        x = LEFT + (SIZE[0] - LEFT - RIGHT) * (number + 0.5) / len(across)
        return x * FINE, (SIZE[1] - BOTTOM - (SIZE[1] - TOP - BOTTOM) * value / high) * FINE

    draw.text((LEFT * FINE, TOP // 2 * FINE), title, INK, font, anchor="lm")
    for tick in np.linspace(0, high, TICKS + 1).tolist():
        y = place(0, tick)[1]
        draw.line((LEFT * FINE, y, (SIZE[0] - RIGHT) * FINE, y), FAINT, FINE)
        draw.text(((LEFT - 8) * FINE, y), f"{tick:.3g}", INK, small, anchor="rm")
    for number, label in enumerate(across):
        draw.text((place(number, 0)[0], (SIZE[1] - BOTTOM + 14) * FINE), label, INK, small, anchor="mm")
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number]
        draw.line([place(*point) for point in enumerate(line)], colour, 2 * FINE, joint="curve")
        draw.text(((LEFT + 110 * number) * FINE, (SIZE[1] - 12) * FINE), name, colour, small, anchor="lm")
    return np.asarray(picture.resize(SIZE, Image.Resampling.LANCZOS))


def _round_step(step: float) -> float:
    """The next larger one that reads well: 0.1, 0.15, 0.2, 0.25, 0.3, …"""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if factor * power >= step)
