"""Draw faces from a morphable model with the viewpoints, light, backgrounds and truth of the procedural ones."""

import torch
from torch import Tensor

from stages.data.draws import Draws
from stages.data.face_model import FaceModel
from stages.data.faces import Scene
from stages.data.meshes import Mesh
from stages.data.model_skin import paint_model
from stages.data.scenery import draw_background, draw_light, draw_view

__all__ = ["MODEL_GENERATOR", "draw_faces", "draw_model_scene", "extra_noise", "model_batch_size"]

MODEL_GENERATOR = 1  # raised whenever the same (file, seed, index) would give another image

BATCH, DEVICE_BATCH = 16, 256  # images at a time on a CPU and on a GPU, at 64 pixels
REST, ACTIVE = 1.0, 0.55  # blend shapes act beyond one standard deviation, which is one in six, and grow from there


def model_batch_size(size: int, device: torch.device | str = "cpu") -> int:
    """How many images of this size are best drawn at once: vertices, not pixels, are most of the work."""
    at_once = BATCH if torch.device(device).type == "cpu" else DEVICE_BATCH
    return max(1, at_once * 64 // size)


def extra_noise(model: FaceModel) -> int:
    """Normal numbers that a face takes for its modes, besides those that any takes."""
    return model.shape.count + (model.colours.count if model.colours else 0)


def draw_faces(model: FaceModel, draw: Draws) -> Mesh:
    """Faces in the canonical pose. An image takes its numbers in this order: identity, expression, colours."""
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


def draw_model_scene(model: FaceModel, draw: Draws, size: int) -> Scene:
    """Everything that determines the images of these draws, which have `extra_noise`, where model and draws are."""
    view, light, background = draw_view(draw), draw_light(draw), draw_background(draw, size)
    mesh = draw_faces(model, draw)
    key_points = None if model.landmarks is None else mesh.points[:, model.landmarks]
    return Scene(mesh, key_points, view, light, background)
