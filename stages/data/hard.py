"""Pictures that the method fails on, by degrees: light from the side, dark noisy texture, heads turned far.

A level changes its one thing and leaves the face, its surroundings and everything else as (seed, index) draw them, so
that levels compare image by image. Level 0 of light and noise is the ordinary picture.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch.nn import functional as F

from stages.data.draws import Draws
from stages.data.faces import Scene
from stages.data.scenery import YAW

__all__ = ["FAILURES", "HARD_NOISE", "LEVELS", "draw_hard_scene"]

LEVELS = 5
BAND = 15.0  # degrees of yaw in a level: 0 to 15 in the first, 60 to 75 in the last
SIDEWAYS = 85.0  # degrees from the front from where the lamp of the last level shines
AMBIENT = 0.02
DARK, GRAIN = 0.15, 0.5  # albedo of the last level as a share of its own, and how much its noise changes it
KNOTS = ((12, 16), (60, 80))  # blotches, and grain of about a pixel, over the whole surface
HARD_NOISE = sum(rows * columns for rows, columns in KNOTS)  # normal numbers that an image takes besides the face's


def _light(scene: Scene, way: float, draw: Draws) -> Scene:
    """The lamp goes round to the side on which it hangs, and takes over what ambient light loses."""
    ambient, diffuse, x, y, z = scene.light.unbind(1)
    dim = ambient + way * (AMBIENT - ambient)
    bright = (ambient + diffuse - dim).clamp(max=1)
    angle = torch.atan2(x, z)
    angle = angle + way * (torch.where(angle < 0, -1.0, 1.0) * math.radians(SIDEWAYS) - angle)
    across = torch.hypot(x, z)
    direction = F.normalize(torch.stack([across * angle.sin(), y * (1 - way), across * angle.cos()], 1), dim=1)
    return replace(scene, light=torch.cat([torch.stack([dim, bright], 1), direction], 1))


def _noise(scene: Scene, way: float, draw: Draws) -> Scene:
    """Darker skin and hair, with blotches and grain that are not symmetric."""
    surface = scene.surface
    noise = sum(surface.spread(draw.noise(*knots, knots)) for knots in KNOTS) / math.sqrt(len(KNOTS))
    spoilt = surface.albedo * (1 - way * (1 - DARK)) * (1 + way * GRAIN * noise)
    return replace(scene, surface=replace(surface, albedo=spoilt.clamp(0, 1)))


def _pose(scene: Scene, way: float, draw: Draws) -> Scene:
    """Yaw within the level's band, to its own side; pitch and roll as they were."""
    yaw = scene.view[:, 1]
    within = yaw.abs() / math.radians(YAW)  # 0 to 1
    turned = torch.where(yaw < 0, -1.0, 1.0) * math.radians(BAND) * (way * (LEVELS - 1) + within)
    return replace(scene, view=torch.cat([scene.view[:, :1], turned[:, None], scene.view[:, 2:]], 1))


FAILURES = {"light": _light, "noise": _noise, "pose": _pose}


def draw_hard_scene(
    failure: str, level: int, draw_scene: Callable[[Draws, int], Scene], draw: Draws, size: int
) -> Scene:
    """The scene that ``draw_scene`` draws, at a level of a failure: 0, the easiest, to ``LEVELS`` - 1.

    draw: with ``HARD_NOISE`` more than ``draw_scene`` takes.
    """
    return FAILURES[failure](draw_scene(draw, size), level / (LEVELS - 1), draw)
