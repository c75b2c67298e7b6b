"""The shape of a procedural car: a body with cabin and wheels, lofted from tail to nose.

A car is a stack of cross-sections. Its grid has them as rows, from the middle of the rear to that of the front, and
its columns run around each: roof, window, side, wheel, underside. Lengths are in half car widths.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from stages.data.draws import Draws
from stages.data.face_chart import Traits, constant

__all__ = ["COLUMNS", "ROWS", "Half", "columns", "draw_shape", "loft", "rows"]

# Cells of the grid along the car and around it, in order.
ROWS = {"rear": 3, "deck": 5, "rear window": 5, "roof": 7, "screen": 6, "bonnet": 11, "front": 12}
COLUMNS = {"top": 7, "window": 4, "side": 7, "tyre": 2, "tread": 2, "inside": 1, "underside": 2}
BODY = ("deck", "rear window", "roof", "screen", "bonnet")  # the rows between the two ends

#                hatchback, saloon, van, pickup
KINDS = {
    "length": (2.50, 2.90, 2.85, 3.00),  # real cars are 4.3 to 5.5 half widths long: see docs/your-own-category.md
    "roof_height": (1.58, 1.50, 2.10, 1.85),
    "cowl_height": (1.00, 0.96, 1.20, 1.20),
    "nose_height": (0.74, 0.74, 0.95, 1.02),
    "deck_height": (0.95, 0.98, 0.95, 0.98),
    "sill": (0.24, 0.22, 0.27, 0.38),
    "wheel": (0.33, 0.33, 0.34, 0.40),  # radius
    "cowl": (0.29, 0.30, 0.15, 0.30),  # from the nose, as a share of the length, like the next three
    "screen": (0.45, 0.46, 0.27, 0.43),
    "roof": (0.86, 0.70, 0.95, 0.62),
    "deck": (0.97, 0.86, 0.985, 0.66),
}
SPREAD = {
    "length": 0.20,
    "roof_height": 0.10,
    "cowl_height": 0.06,
    "nose_height": 0.08,
    "deck_height": 0.06,
    "sill": 0.04,
    "wheel": 0.03,
    "cowl": 0.03,
    "screen": 0.03,
    "roof": 0.03,
    "deck": 0.01,
}
CROWN = 0.05  # how much lower a roof is at its edge
SIDE_BULGE, SIDE_WIDEST = 0.05, 0.35  # of the sides, and how far below the belt
TYRE_PLACE, TYRE_WIDTH = 0.91, 0.28


def draw_shape(draw: Draws) -> Traits:
    """Everything that varies in a car's geometry, (B,) each."""
    kind = (draw.uniform() * 4).long()
    traits = {name: constant(of, kind.device)[kind] + draw.bell(0, SPREAD[name]) for name, of in KINDS.items()}
    return traits | {
        "scale": draw.bell(0.0545, 0.003),  # metres per unit
        "taper": draw.uniform(0.08, 0.20),  # of the plan towards the nose
        "tail": draw.uniform(0.04, 0.10),
        "tumble": draw.uniform(0.18, 0.34),  # how far the cabin leans in
        "bulge": draw.uniform(0.06, 0.18),  # of the front
        "arch": draw.uniform(0.02, 0.06),  # of bonnet and roof
        "front_wheel": draw.uniform(0.19, 0.23),  # share of the length
        "rear_wheel": draw.uniform(0.77, 0.81),
        "cargo": (kind == 2) * draw.chance(0.5),  # no windows behind the front seats
        "one_row": (kind == 3).float(),
    }


def rows(name: str, fine: int = 1) -> slice:
    """The grid rows of this part, both of its borders included, on a grid `fine` times as fine."""
    return _part(ROWS, name, fine)


def columns(name: str, fine: int = 1) -> slice:
    """The columns of this part of half the grid, likewise."""
    return _part(COLUMNS, name, fine)


def _part(parts: dict[str, int], name: str, fine: int) -> slice:
    names = list(parts)
    start = sum(parts[before] for before in names[: names.index(name)])
    return slice(start * fine, (start + parts[name]) * fine + 1)


@dataclass(frozen=True)
class Half:
    """The right half of cars, (B, R, C): x to the right, h up from the road, z back from the bumper."""

    x: Tensor
    h: Tensor
    z: Tensor


def loft(traits: Traits) -> Half:
    """Half cars on the grid, from the middle of the rear to that of the front, from the roof down to the underside."""
    p = {name: value[:, None] for name, value in traits.items()}
    share, top = _profile(p)
    z = share * p["length"]
    body = Half(*_section(p, share, z, top), z[..., None].expand(-1, -1, sum(COLUMNS.values()) + 1))
    rear = _end(p, body, 0, ROWS["rear"], 0.06 * torch.ones_like(p["bulge"]))
    front = _end(p, body, -1, ROWS["front"], -p["bulge"])
    parts = [(rear.x, rear.h, rear.z), (body.x, body.h, body.z), (front.x, front.h, front.z)]
    return Half(*(torch.cat(part, 1) for part in zip(*parts, strict=True)))


@lru_cache(maxsize=4)
def _knots(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Per body row: the knots before and after it (of tail, deck, roof, screen, cowl, nose), the way between them, and
    a half wave that is 0 at the knots."""
    counts = [ROWS[name] for name in BODY]
    at = np.interp(np.arange(sum(counts) + 1), np.cumsum([0, *counts]), np.arange(len(counts) + 1))
    low = np.minimum(at.astype(int), len(counts) - 1)
    way = (at - low).astype(np.float32)
    return tuple(torch.from_numpy(a).to(device) for a in (low, low + 1, way, np.sin(np.pi * way)))


def _profile(p: Traits) -> tuple[Tensor, Tensor]:
    """Share of the length, 1 to 0, and height of the middle line of the body rows, (B, R)."""
    low, high, way, wave = _knots(p["length"].device)
    one, zero = torch.ones_like(p["length"]), torch.zeros_like(p["length"])
    shares = torch.cat([one, p["deck"], p["roof"], p["screen"], p["cowl"], zero], 1)
    heights = [p["deck_height"] - 0.04, p["deck_height"], p["roof_height"] - 0.05, p["roof_height"]]
    heights = torch.cat([*heights, p["cowl_height"], p["nose_height"]], 1)
    # Not a matrix product: its rounding would depend on the batch.
    share, top = (torch.lerp(a.index_select(1, low), a.index_select(1, high), way) for a in (shares, heights))
    return share, top + p["arch"] * wave


def _section(p: Traits, share: Tensor, z: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
    """x and h (B, R, C) of the cross-sections at z with this roof height."""
    wide = 1 - p["taper"] * (1 - share / 0.35).clamp(min=0) ** 2 - p["tail"] * ((share - 0.75) / 0.25).clamp(min=0) ** 2
    belt = torch.minimum(p["cowl_height"], top - CROWN - 0.02)
    brim = wide * (1 - SIDE_BULGE * (2 * SIDE_WIDEST) ** 2)
    edge = brim - 0.03 - p["tumble"] * (top - CROWN - belt)
    tyre = TYRE_PLACE * wide
    hubs = torch.stack([p[name] * p["length"] for name in ("front_wheel", "rear_wheel")], -1)
    reach = (p["wheel"][..., None] ** 2 - (z[..., None] - hubs) ** 2).amax(-1).clamp(min=0).sqrt()
    road = torch.where(reach > 0, torch.minimum(p["sill"], p["wheel"] - reach), p["sill"])
    sill = p["sill"].expand_as(z)

    def run(name: str) -> Tensor:
        cells = COLUMNS[name]
        return torch.linspace(0, 1, cells + 1, device=z.device)[(0 if name == "top" else 1) :]

    top, belt, brim, edge, wide, tyre, road, sill = (
        a[..., None] for a in (top, belt, brim, edge, wide, tyre, road, sill)
    )
    s, t, u, v, w, q, r = (run(name) for name in COLUMNS)
    inner = tyre - TYRE_WIDTH
    x = [
        edge * s,
        torch.lerp(edge, brim, t),
        wide * (1 - SIDE_BULGE * (2 * (u - SIDE_WIDEST)) ** 2),
        tyre + 0 * v,
        tyre - TYRE_WIDTH * w,
        inner + 0 * q,
        inner * (1 - r),
    ]
    h = [
        top - CROWN * s**2,
        torch.lerp(top - CROWN, belt, t),
        torch.lerp(belt, sill, u),
        torch.lerp(sill, road, v),
        road + 0 * w,
        torch.lerp(road, sill, q),
        sill + 0 * r,
    ]
    return torch.cat(x, -1), torch.cat(h, -1)


def _end(p: Traits, body: Half, row: int, cells: int, bulge: Tensor) -> Half:
    """The rows that close the body beyond its first or last one, shrinking to a point in the middle."""
    size = torch.arange(1, cells + 1, device=body.x.device) / cells
    size = (1 - size if row else size - 1 / cells)[:, None]  # the rim itself is the body's
    x, h, z = (a[:, row, None] for a in (body.x, body.h, body.z))
    middle = ((h[:, :, :1] + p["sill"][..., None]) / 2).expand_as(h)
    return Half(x * size, torch.lerp(middle, h, size), z + bulge[..., None] * (1 - size**2))
