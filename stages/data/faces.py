"""Procedural, bilaterally symmetric face-like heads with full ground truth."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stages.core.camera import apply_view, project
from stages.data.draws import Draws
from stages.data.face_chart import bump, chart, mirror
from stages.data.face_points import key_points
from stages.data.face_shape import displace, draw_shape
from stages.data.face_skin import draw_skin, hair_mask, paint
from stages.data.scenery import draw_background, draw_light, draw_view
from stages.data.surfaces import Surface, render

__all__ = ["GENERATOR", "Scene", "draw_scene", "render_faces"]

GENERATOR = 1  # raised whenever the same (seed, index) would give another image

NEAREST = 0.9  # metres; where the method's canonical depth begins: a head that would reach out of it is set back
MESH = (72, 41)  # rows, half columns
BATCH = 24  # images at a time, at 64 pixels
CENTRE_Y = 0.62  # what is drawn at the middle of the image, in half face widths below the eyes
CENTRE_Z = -0.30  # where the axis of rotation runs, in half face widths behind the ears


def _build_heads(draw: Draws, size: int) -> tuple[Surface, Tensor]:
    """The canonical heads of these draws, textured for images of this size, and their key points (B, 66, 3)."""
    traits = draw_shape(draw) | draw_skin(draw)
    mesh = chart(traits, *MESH)
    half = displace(mesh, traits)
    mask = hair_mask(mesh, traits, 0.07)
    grow = 1 + (traits["hair_volume"][:, None, None] * mask)
    half[..., 0] *= grow
    half[..., 2] *= grow
    half[..., 1] -= (traits["hair_volume"][:, None, None] * mask) * bump(mesh.t / 4)
    half[:, :, -1, 0] = 0  # sin π is not quite 0 in floats
    centre = half.new_tensor([0.0, CENTRE_Y, CENTRE_Z])
    half = (half - centre) * traits["scale"][:, None, None, None] + half.new_tensor([0.0, 0.0, 1.0])
    near = half[..., 2].flatten(1).amin(1)
    half[..., 2] += (NEAREST - near).clamp(min=0)[:, None, None]
    landmarks = key_points(mesh, traits, half)
    points = mirror(half, half.new_tensor([-1.0, 1.0, 1.0]))
    fine = max(2, round(2 * size / 64))
    rows, columns = (MESH[0] - 1) * fine + 1, (MESH[1] - 1) * fine + 1
    skin = paint(chart(traits, rows, columns), traits, draw)
    texture = torch.cat([skin[..., 1:].flip(-1), skin], -1)
    return Surface(points, texture), landmarks


@dataclass(frozen=True)
class Scene:
    """Heads in the canonical pose, their key points (B, 66, 3) on them, and what surrounds them: see `scenery`."""

    surface: Surface
    key_points: Tensor
    view: Tensor
    light: Tensor
    background: Tensor


def draw_scene(draw: Draws, size: int) -> Scene:
    """Everything that determines the images of these draws."""
    view, light = draw_view(draw), draw_light(draw)
    surface, points = _build_heads(draw, size)
    return Scene(surface, points, view, light, draw_background(draw, size))


def render_faces(seed: int, indices: Sequence[int], size: int = 64, device: str = "cpu") -> dict[str, np.ndarray]:
    """Images `indices` of the set `seed`, with their ground truth; an image does not depend on those drawn beside it.

    image u8 (N, size, size, 3); depth f32 (N, size, size) metres at pixel centres in the input view, 0 on background;
    mask bool (N, size, size); view f32 (N, 6) angles in radians and translation in metres; light f32 (N, 5) ambient,
    diffuse and direction in the canonical frame; keypoints f32 (N, 66, 3) u px, v px, z metres in the input view.
    """
    step = max(1, BATCH * 64**2 // size**2)
    batches = [indices[i : i + step] for i in range(0, len(indices), step)]
    if device == "cpu" and torch.get_num_threads() > 1 and len(batches) > 1:
        # The tensors of one batch are too small to be worth splitting: a thread draws whole batches instead.
        with ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            parts = list(pool.map(lambda batch: _render(seed, batch, size, device), batches))
    else:
        parts = [_render(seed, batch, size, device) for batch in batches]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@torch.no_grad()
def _render(seed: int, indices: Sequence[int], size: int, device: str) -> dict[str, np.ndarray]:
    scene = draw_scene(Draws(seed, indices, device), size)
    out = render(scene.surface, scene.view, scene.light, scene.background)
    points = apply_view(scene.key_points, scene.view)
    arrays = {
        "image": (out.image * 255).round().to(torch.uint8).permute(0, 2, 3, 1),
        "depth": out.depth,
        "mask": out.mask,
        "view": scene.view,
        "light": scene.light,
        "keypoints": torch.cat([project(points, size, size), points[..., 2:]], -1),
    }
    return {name: array.cpu().numpy() for name, array in arrays.items()}
