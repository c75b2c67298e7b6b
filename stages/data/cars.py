"""Procedural cars with full ground truth: symmetric bodies, seen from the front half and from above."""

import math

import numpy as np
import torch
from torch import Tensor

from stages.core import raster
from stages.core.camera import FOV, rotation
from stages.data.car_paint import DIRT_KNOTS, draw_paint, paint
from stages.data.car_shape import draw_shape, loft
from stages.data.draws import Draws
from stages.data.face_chart import constant, mirror
from stages.data.faces import collect
from stages.data.scenery import BACKGROUND_NOISE, draw_background, draw_light
from stages.data.surfaces import Surface, render

__all__ = ["CAR_GENERATOR", "CAR_NOISE", "build_cars", "draw_car_view", "render_cars"]

CAR_GENERATOR = 2  # raised whenever the same (seed, index) would give another image

CAR_NOISE = math.prod(DIRT_KNOTS) + BACKGROUND_NOISE
YAW, ROLL = 50.0, 2.0  # degrees
ABOVE = (8.0, 34.0)  # degrees that the camera looks down
CANONICAL_ABOVE = 20.0  # and in the canonical pose, which so shows bonnet, windscreen and roof


def build_cars(draw: Draws, size: int) -> Surface:
    """Cars in the canonical pose, textured for images of this size."""
    traits = draw_shape(draw) | draw_paint(draw)
    half = loft(traits)
    fine = max(2, round(3 * size / 64))
    texture = paint(half, traits, draw, fine)
    unit = traits["scale"][:, None, None]
    height, length = (part[:, None, None] for part in (0.48 * traits["roof_height"], 0.5 * traits["length"]))
    y, z = (height - half.h) * unit, (half.z - length) * unit
    cos, sin = (f(math.radians(CANONICAL_ABOVE)) for f in (math.cos, math.sin))
    points = torch.stack([half.x * unit, cos * y - sin * z, 1 + sin * y + cos * z], 1)
    points[:, 0, :, -1] = 0
    points = mirror(points, constant((-1, 1, 1), points.device)[:, None, None])
    return Surface(points.permute(0, 2, 3, 1).contiguous(), texture)


def draw_car_view(draw: Draws) -> Tensor:
    """(B, 6): the viewpoint of a car that stands on level ground, from the canonical pose, and a small translation.

    Turning about the car's own upright axis and then looking down at it is R_x(down) R_y(yaw) R_x(-canonical), here as
    the method's R_z R_y R_x.
    """
    above, yaw, roll = draw.uniform(*ABOVE), draw.uniform(-YAW, YAW), draw.bell(0, ROLL)
    zero = torch.zeros_like(yaw)
    down, turned, back = (
        rotation(torch.stack(angles, 1).deg2rad())
        for angles in ((above, zero, roll), (zero, yaw, zero), (zero - CANONICAL_ABOVE, zero, zero))
    )
    r = down @ turned @ back
    angles = [
        torch.atan2(r[:, 2, 1], r[:, 2, 2]),
        -torch.asin(r[:, 2, 0].clamp(-1, 1)),
        torch.atan2(r[:, 1, 0], r[:, 0, 0]),
    ]
    return torch.stack([*angles, draw.bell(0, 0.005), draw.bell(0, 0.005), zero], 1)


@torch.no_grad()
def render_cars(draw: Draws, size: int, *, backgrounds: bool = False) -> dict[str, np.ndarray]:
    """The images of these draws, which have `CAR_NOISE`, with their truth, as `faces.render_faces` has it, but for the
    key points; and canonical_depth f32 (N, size, size), metres, 0 on background. Before white, or the same cars with
    backgrounds as faces have them."""
    view, light = draw_car_view(draw), draw_light(draw)
    cars = build_cars(draw, size)
    behind = draw_background(draw, size) if backgrounds else cars.points.new_ones(len(view), 3, size, size)
    arrays = collect(render(cars, view, light, behind), view, light, None)
    points, faces = cars.points.flatten(1, 2), raster.grid_faces(*cars.points.shape[1:3], cars.points.device)
    cover = raster.cover(points, faces, size, size, FOV)
    return arrays | {"canonical_depth": raster.plane_depth(points, faces, cover, size, size, FOV)[0].cpu().numpy()}
