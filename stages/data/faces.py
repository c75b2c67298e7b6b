"""Procedural, bilaterally symmetric face-like heads with full ground truth."""

from collections.abc import Sequence

import numpy as np
import torch

from stages.data.draws import Draws
from stages.data.face_shape import Traits, bump, chart, displace, draw_shape, mirror
from stages.data.face_skin import draw_skin, hair_mask, paint
from stages.data.scenery import draw_background, draw_light, draw_view
from stages.data.surfaces import Surface, render

__all__ = ["build_head", "render_faces"]

MESH = (80, 45)  # rows, half columns
BATCH = 16
CENTRE_Y = 0.52  # what is drawn at the middle of the image, in half face widths below the eyes
CENTRE_Z = -0.35  # where the axis of rotation runs, in half face widths behind the ears


def build_head(draw: Draws, size: int) -> tuple[Surface, Traits]:
    """The canonical heads of these draws and the traits that they came from; the texture suits images of this size."""
    traits = draw_shape(draw) | draw_skin(draw)
    mesh = chart(traits, *MESH)
    half = displace(mesh, traits)
    mask = hair_mask(mesh, traits, 0.07)
    grow = 1 + (traits["hair_volume"][:, None, None] * mask)
    half[..., 0] *= grow
    half[..., 2] *= grow
    half[..., 1] -= (traits["hair_volume"][:, None, None] * mask) * bump((mesh.t - 0) / 4)
    centre = half.new_tensor([0.0, CENTRE_Y, CENTRE_Z])
    half = (half - centre) * traits["scale"][:, None, None, None] + half.new_tensor([0.0, 0.0, 1.0])
    points = mirror(half, half.new_tensor([-1.0, 1.0, 1.0]))
    points[:, :, 0] = points[:, :, -1]
    fine = max(2, round(2 * size / 64))
    rows, columns = (MESH[0] - 1) * fine + 1, (MESH[1] - 1) * fine + 1
    skin = paint(chart(traits, rows, columns), traits, draw)
    texture = torch.cat([skin[..., 1:].flip(-1), skin], -1)
    return Surface(points, texture), traits


@torch.no_grad()
def render_faces(seed: int, indices: Sequence[int], size: int = 64, device: str = "cpu") -> dict[str, np.ndarray]:
    parts = [_render(seed, indices[i : i + BATCH], size, device) for i in range(0, len(indices), BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _render(seed, indices, size, device) -> dict[str, np.ndarray]:
    draw = Draws(seed, indices, device)
    view, light = draw_view(draw), draw_light(draw)
    surface, _ = build_head(draw, size)
    background = draw_background(draw, size)
    out = render(surface, view, light, background)
    image = (out.image * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    arrays = {"image": image, "depth": out.depth, "mask": out.mask, "view": view, "light": light}
    return {name: array.cpu().numpy() for name, array in arrays.items()}
