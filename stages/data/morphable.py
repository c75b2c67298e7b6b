"""Draw faces from a morphable model with the viewpoints, light, backgrounds and truth of the procedural ones."""

import torch
from torch import Tensor

from stages.data.draws import NOISE, Draws
from stages.data.face_model import FaceModel
from stages.data.faces import collect
from stages.data.meshes import Mesh, render_mesh
from stages.data.model_skin import paint_model
from stages.data.scenery import draw_background, draw_light, draw_view

__all__ = ["MORPHABLE_GENERATOR", "draw_faces", "model_draws", "render_model"]

MORPHABLE_GENERATOR = 1  # raised whenever the same (file, seed, index) would give another image

BATCH, DEVICE_BATCH = 16, 256  # images at a time on a CPU and on a GPU, at 64 pixels
REST, ACTIVE = 1.0, 0.55  # blend shapes act beyond one standard deviation, which is one in six, and grow from there


def model_draws(model: FaceModel, seed: int, indices, device: torch.device | str = "cpu") -> Draws:
    """The random numbers of these images: those of any, and more for the modes."""
    colours = model.colours.count if model.colours else 0
    return Draws(seed, indices, device, noise=NOISE + model.shape.count + colours)


def draw_faces(model: FaceModel, draw: Draws) -> Mesh:
    """Faces in the canonical pose."""
    expressions = len(model.dials)
    identity = _normal(draw, model.shape.count - expressions)
    expression = _normal(draw, expressions)[:, model.dials]
    if model.blend:
        expression = (ACTIVE * (expression - REST)).clamp(0, 1)
    points = model.shape.mix(torch.cat([identity, expression], 1))
    if model.colours:
        albedo = model.colours.mix(_normal(draw, model.colours.count)).clamp(0.02, 0.98)
    else:
        albedo = paint_model(model.skin, draw)
    return Mesh(points, albedo * model.bright[:, None], model.faces, model.corners)


def _normal(draw: Draws, count: int) -> Tensor:
    """(B, count) standard normal."""
    return draw.noise(1, count, (1, count))[:, 0, 0]


@torch.no_grad()
def render_model(model: FaceModel, draw: Draws, size: int) -> dict:
    """The images of these draws as `render_batch` has them; no keypoints where the model has no landmarks."""
    view, light, background = draw_view(draw), draw_light(draw), draw_background(draw, size)
    mesh = draw_faces(model, draw)
    key_points = None if model.landmarks is None else mesh.points[:, model.landmarks]
    return collect(render_mesh(mesh, view, light, background), view, light, key_points)
