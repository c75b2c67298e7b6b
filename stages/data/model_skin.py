"""Paint a morphable face that has no colours of its own with those of the procedural faces.

Each vertex of the mean face gets a place on the procedural chart, laid over it by its landmarks; whatever is painted
there moves along with the vertex. Left and right share the painted half, so albedo is as symmetric as the mesh.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stages.data.draws import Draws
from stages.data.face_chart import Chart, Traits, chart, constant, draw_rings, grid_position
from stages.data.face_skin import draw_skin, paint

__all__ = ["Placement", "paint_model", "place"]

ROWS, COLUMNS = 143, 81  # of the painted half chart: about as fine as the vertices of a face
SEARCH_ROWS, SEARCH_STEPS = 801, 24
TEMPLE = (45.0, 75.0)  # degrees from the front between which a vertex's place by x gives way to that by angle
EYES, CHIN = range(36, 48), 8
PLAIN = ("scale", "width", "cranium", "jaw", "depth", "back"), ("fat", "forehead", "mouth_open")  # all 1, all 0

Fitted = tuple[tuple[str, float], ...]  # name and value of each trait


@dataclass(frozen=True)
class Placement:
    """position: (V, 2) of each vertex on the half chart, as grid_sample has it; traits: where features are."""

    position: Tensor
    traits: Fitted


def place(points: np.ndarray, landmarks: np.ndarray) -> Placement:
    """Where the vertices (V, 3) of a face belong, given its 68 landmarks (68, 3); both in metres, camera frame.

    Raises ValueError for landmarks that are no face's.
    """
    centre = landmarks[EYES].mean(0)
    unit = (landmarks[16, 0] - landmarks[0, 0]) / 2.08  # half the width of the face between the ears
    if not (unit > 0.01 and landmarks[CHIN, 1] > centre[1]):
        raise ValueError("has landmarks that are no upright face's")
    flat = (landmarks - centre) / unit
    traits = _traits(np.stack([np.abs(flat[:, 0]), flat[:, 1]], 1))
    x, y, z = ((points - [centre[0], centre[1], landmarks[[0, 16], 2].mean()]) / unit).T
    bare = _chart(traits, SEARCH_ROWS, 3, torch.device("cpu"))
    ring, degrees = _on_chart(bare, np.abs(x), y, np.degrees(np.arctan2(np.abs(x), -z)))
    at = grid_position(*(torch.from_numpy(a) for a in (ring, degrees)), ROWS, COLUMNS)
    return Placement(at * 2 / torch.tensor([COLUMNS - 1.0, ROWS - 1.0]) - 1, traits)


def _traits(p: np.ndarray) -> Fitted:
    """What `draw_shape` draws, as far as painting asks for it, of landmarks (68, 2): |x| and y in half face widths."""
    eye, upper, lower = p[[36, 39, 42, 45]].mean(0), p[[37, 38, 43, 44], 1].mean(), p[[40, 41, 46, 47], 1].mean()
    inner, outer = p[[39, 42]].mean(0), p[[36, 45]].mean(0)
    line, corner = p[[62, 66], 1].mean(), p[[48, 54]].mean(0)
    smile = (line - corner[1]) / 0.07
    plain = {name: value for names, value in zip(PLAIN, (1.0, 0.0), strict=True) for name in names}
    fitted = plain | {
        "chin_length": p[CHIN, 1] - 1.62,
        "eye_x": eye[0],
        "eye_y": eye[1],
        "eye_width": (outer[0] - inner[0]) / 2,
        "eye_open": max(eye[1] - upper, (lower - eye[1]) / 0.62, 0.02) * 1.1,
        "eye_slant": (inner[1] - outer[1]) / 2,
        "brow_y": p[[17, 18, 19, 20, 21, 22, 23, 24, 25, 26], 1].mean() + 0.06,
        "nose_length": p[33, 1] - eye[1] - 0.09,
        "nose_width": 1.15 * p[[31, 35], 0].mean(),
        "mouth_y": line,
        "mouth_width": corner[0] / (1 + 0.12 * smile),
        "upper_lip": max(line - p[[50, 52], 1].mean(), 0.02),
        "lower_lip": max(p[57, 1] - line, 0.02),
        "smile": smile,
    }
    return tuple((name, float(value)) for name, value in fitted.items())


@lru_cache(maxsize=8)
def _chart(traits: Fitted, rows: int, columns: int, device: torch.device) -> Chart:
    return chart(draw_rings(_per_image(traits, 1, device)), rows, columns)


def _per_image(traits: Fitted, count: int, device: torch.device) -> Traits:
    return {name: constant((value,), device).expand(count) for name, value in traits}


def _on_chart(bare: Chart, x: np.ndarray, y: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ring coordinates and angles (degrees) of vertices at x ≥ 0 and y, this angle from the front about the neck.

    Features are where x and y say, as on the chart; on the sides and behind the angle counts.
    """
    t, front, behind, beside = (a.double().numpy() for a in (bare.t[:, 0], *bare.y[0].T[[0, 2]], bare.x[0, :, 1]))
    wide = np.interp(y, front, beside / np.sin(bare.phi[0, 1].item())).clip(1e-3)
    share = np.clip((angle - TEMPLE[0]) / (TEMPLE[1] - TEMPLE[0]), 0, 1)
    turn = np.degrees(np.arcsin((x / wide).clip(max=1))) * (1 - share) + angle * share
    back = (1 - np.cos(np.radians(turn))) / 2
    low, high = np.zeros(len(y)), np.full(len(y), t[-1])
    for _ in range(SEARCH_STEPS):  # at any angle one ring lies below the other
        ring = (low + high) / 2
        above = np.interp(ring, t, front) * (1 - back) + np.interp(ring, t, behind) * back < y
        low, high = np.where(above, ring, low), np.where(above, high, ring)
    return ring, turn


def paint_model(placement: Placement, draw: Draws) -> Tensor:
    """Albedo (B, V, 3) in [0, 1] of the placed vertices."""
    device, count = draw.device, draw.count
    bare = _chart(placement.traits, ROWS, COLUMNS, device)
    bare = Chart(bare.x.expand(count, -1, -1), bare.y.expand(count, -1, -1), bare.t, bare.phi)
    painted = paint(bare, _per_image(placement.traits, count, device) | draw_skin(draw), draw)
    at = placement.position.expand(count, 1, -1, -1)
    return F.grid_sample(painted, at, align_corners=True, padding_mode="border")[:, :, 0].mT
