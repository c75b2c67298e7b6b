"""Procedural, bilaterally symmetric face-like heads with full ground truth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stages.core.camera import apply_view, project
from stages.data.draws import Draws
from stages.data.face_chart import bare_depth, bump, chart, constant, draw_rings, mirror
from stages.data.face_points import key_points
from stages.data.face_shape import displace, draw_shape
from stages.data.face_skin import draw_skin, hair_mask, paint
from stages.data.meshes import Mesh, render_mesh
from stages.data.scenery import draw_background, draw_light, draw_view
from stages.data.surfaces import Rendering, Surface, render

__all__ = ["GENERATOR", "Scene", "batch_size", "collect", "draw_scene", "render_batch", "render_faces"]

GENERATOR = 1  # raised whenever the same (seed, index) would give another image

NEAREST = 0.9  # metres; where the method's canonical depth begins: a head that would reach out of it is set back
MESH = (72, 41)  # rows, half columns
BATCH = 48  # images at a time on a CPU, at 64 pixels: few enough for its caches, many enough for small operations
DEVICE_BATCH = 512  # and on a GPU, where some seven hundred launches must be worth their while
CENTRE_Y = 0.62  # what is drawn at the middle of the image, in half face widths below the eyes
CENTRE_Z = -0.30  # where the axis of rotation runs, in half face widths behind the ears


def _build_heads(draw: Draws, size: int) -> tuple[Surface, Tensor]:
    """The canonical heads of these draws, textured for images of this size, and their key points (B, 66, 3)."""
    traits = draw_shape(draw) | draw_skin(draw)
    rings = draw_rings(traits)
    mesh = chart(rings, *MESH)
    x, y, z = displace(mesh, bare_depth(rings, traits["flat"], *MESH), traits)
    hair = traits["hair_volume"][:, None, None] * hair_mask(mesh, traits, 0.07)
    half = torch.stack([x * (1 + hair), y - hair * bump(mesh.t, 4) - CENTRE_Y, z * (1 + hair) - CENTRE_Z], 1)
    half[:, 0, :, -1] = 0  # sin π is not quite 0 in floats
    half *= traits["scale"][:, None, None, None]
    half[:, 2] += 1
    half[:, 2] += (NEAREST - half[:, 2].amin((1, 2))).clamp(min=0)[:, None, None]
    landmarks = key_points(mesh, traits, half)
    points = mirror(half, constant((-1, 1, 1), half.device)[:, None, None]).permute(0, 2, 3, 1).contiguous()
    fine = max(2, round(2 * size / 64))
    rows, columns = (MESH[0] - 1) * fine + 1, (MESH[1] - 1) * fine + 1
    return Surface(points, mirror(paint(chart(rings, rows, columns), traits, draw))), landmarks


@dataclass(frozen=True)
class Scene:
    """Heads in the canonical pose, their key points (B, 66, 3) on them, if any, and what surrounds them: see
    `scenery`."""

    surface: Surface | Mesh
    key_points: Tensor | None
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
    step = batch_size(size, device)
    batches = (indices[start : start + step] for start in range(0, len(indices), step))
    parts = [render_batch(Draws(seed, batch, device), size) for batch in batches]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def batch_size(size: int, device: torch.device | str = "cpu") -> int:
    """How many images of this size are best drawn at once."""
    at_once = BATCH if torch.device(device).type == "cpu" else DEVICE_BATCH
    return max(1, at_once * 64**2 // size**2)


@torch.no_grad()
def render_batch(
    draw: Draws, size: int, draw_scene: Callable[[Draws, int], Scene] = draw_scene
) -> dict[str, np.ndarray]:
    """The images of the scenes of these draws, as `render_faces` has them, computed where the draws are; no keypoints
    where the scenes have none."""
    scene = draw_scene(draw, size)
    look = render if isinstance(scene.surface, Surface) else render_mesh
    drawn = look(scene.surface, scene.view, scene.light, scene.background)
    return collect(drawn, scene.view, scene.light, scene.key_points)


def collect(drawn: Rendering, view: Tensor, light: Tensor, key_points: Tensor | None) -> dict[str, np.ndarray]:
    """A drawn batch as `render_faces` has it; key points (B, 66, 3), if any, are of the canonical pose."""
    size = drawn.image.shape[-1]
    arrays = {
        "image": (drawn.image * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous(),
        "depth": drawn.depth,
        "mask": drawn.mask,
        "view": view,
        "light": light,
    }
    if key_points is not None:
        points = apply_view(key_points, view)
        arrays["keypoints"] = torch.cat([project(points, size, size), points[..., 2:]], -1)
    return {name: array.cpu().numpy() for name, array in arrays.items()}
