"""The videos there are of an item, each a function from a scene to its frames, and writing those of many items."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stages.artifact import Artifact
from stages.core.camera import rotation
from stages.core.geometry import depth_normals
from stages.core.lighting import shade
from stages.core.scene import Scene, light_from, lit, with_photo
from stages.core.texture import smoothstep
from stages.core.view import FOV, yaw_views
from stages.errors import UsageError
from stages.io.video import VIDEO_FORMATS, write_video
from stages.photographs import Photographs
from stages.progress import Report
from stages.scenes import Canvas, usable_scenes

__all__ = ["FRAMES", "MOTIONS", "check_videos", "circling_lights", "export_videos", "light", "swing"]

FRAMES = 60  # of every video, and all of them loop without a jerk
SWING, TURN = 40.0, 90.0  # degrees to either side
LAMP = 1.2  # how far to the side of the view a circling lamp stands, for each unit in front: 50°
CELL = 8.0  # pixels; where the lines of a wireframe would be nearer, some are left out


def swing(scene: Scene, frames: int, canvas: Canvas) -> np.ndarray:
    """±40°, lit as in the input; the light turns along."""
    return canvas.draw(scene, _swinging(frames), lit(scene))


def turntable(scene: Scene, frames: int, canvas: Canvas) -> np.ndarray:
    """From profile to profile and back at a steady pace. A depth map has no back, so it is never shown from there."""
    phase = torch.arange(frames) / frames
    triangle = 1 - 4 * ((phase + 0.25) % 1 - 0.5).abs()  # 0, 1, 0, -1, 0
    return canvas.draw(scene, yaw_views(TURN * triangle), lit(scene))


def frontal(scene: Scene, frames: int, canvas: Canvas) -> np.ndarray:
    """The photograph loses its background, turns to face the viewer, and goes back."""
    there = 1 - (2 * torch.arange(frames) / frames - 1).abs()  # 0 → 1 → 0
    fade, turn = smoothstep(there / 0.3), smoothstep((there - 0.3) / 0.5)
    textures = lit(with_photo(scene))
    drawn = canvas.draw(scene, scene.view * (1 - turn)[:, None], textures, fov=scene.fov)
    fade = fade.numpy()[:, None, None, None]
    return (fade * drawn + (1 - fade) * canvas.photo(scene) + 0.5).astype(np.uint8)


def wireframe(scene: Scene, frames: int, canvas: Canvas) -> np.ndarray:
    """The triangles on grey clay, ±40°; only every second or fourth row and column where all would be too dense."""
    light = light_from(-0.4, 0.6, 0.45, 0.55)
    normal = depth_normals(scene.depth[None], scene.fov)
    clay = shade(normal, light[None, 0], light[None, 1], light[None, 2:])[:, None]
    clay = torch.nn.functional.interpolate(clay, (canvas.size, canvas.size), mode="bicubic")
    paint = clay * torch.tensor([0.9, 0.88, 0.84])[:, None, None]
    ink = torch.tensor([0.1, 0.25, 0.5])[:, None, None]
    return canvas.draw(scene, _swinging(frames), torch.lerp(paint, ink, _wires(scene, canvas.size)))


def normals(scene: Scene, frames: int, canvas: Canvas) -> np.ndarray:
    """±40° in the colours of normal maps, in the viewer's frame: red right, green up, blue towards the viewer."""
    views = _swinging(frames)
    turned = depth_normals(scene.depth[None], scene.fov)[0] @ rotation(views[:, :3]).mT[:, None]
    # The method's normals point away from the camera in a frame with y down: outward and y up is (-x, y, z).
    textures = turned * torch.tensor([-0.5, 0.5, 0.5]) + 0.5
    return canvas.draw(scene, views, textures.permute(0, 3, 1, 2))


def light(scene: Scene, frames: int, canvas: Canvas) -> np.ndarray:
    """A lamp circles the frontal view, beginning at the left, as bright as that of the input."""
    textures = lit(scene, circling_lights(scene, frames))
    return canvas.draw(scene, torch.zeros(frames, 6), textures, fov=scene.fov)


MOTIONS: dict[str, Callable[[Scene, int, Canvas], np.ndarray]] = {
    move.__name__: move for move in (swing, turntable, frontal, wireframe, normals, light)
}


def circling_lights(scene: Scene, count: int) -> Tensor:
    """(count, 5) lights around the canonical view: left, above, right, below, as bright as the scene's own."""
    angles = [math.pi - 2 * math.pi * step / count for step in range(count)]
    ambient, diffuse = scene.light[:2].tolist()
    return torch.stack([light_from(LAMP * math.cos(a), LAMP * math.sin(a), ambient, diffuse) for a in angles])


def check_videos(motions: Sequence[str], formats: Sequence[str], size: int, report: Report) -> None:
    """Raises UsageError that names the first unknown motion or format, or says that videos lack a format; notes where
    a film has another size in pixels than was asked for."""
    for option, asked, known in (("--video", motions, MOTIONS), ("--video-format", formats, VIDEO_FORMATS)):
        for value in asked:
            if value not in known:
                raise UsageError(f"{option} {value}", "there is no such choice", f"choose from {', '.join(known)}")
    if motions and not formats:
        raise UsageError("--video-format", "there is none", f"choose from {', '.join(VIDEO_FORMATS)}")
    if motions and "mp4" in formats and size % 2:
        report.note(f"MP4 has even sides only: {size + 1} pixels instead of {size}")


def export_videos(
    prediction: Artifact,
    rows: Sequence[int],
    folder: Path,
    *,
    stems: Sequence[str],
    motions: Sequence[str],
    formats: Sequence[str],
    canvas: Canvas,
    photographs: Photographs | None = None,
    report: Report,
) -> list[Path]:
    """Write these rows as ``folder/<item>.<motion><canvas.mark>.<format>``; returns the paths.

    stems: of the files of every row of the prediction.
    photographs: those that the rows were made from, to paint the surfaces with; names then have "+photo".
    Warns of an item without a surface or photograph and goes on; raises InputError when no item has one.
    """
    written, mark = [], canvas.mark if photographs is None else f"+photo{canvas.mark}"
    with report.task("videos", total=len(rows) * len(motions)) as task:
        for row, scene in usable_scenes(prediction, rows, report, photographs):
            for motion in motions:
                frames = MOTIONS[motion](scene, FRAMES, canvas)
                written += write_video(folder, f"{stems[row]}.{motion}{mark}", frames, formats)
                task.advance(1, f"{motion} of {stems[row]}")
    return written


def _swinging(frames: int) -> Tensor:
    """(frames, 6): 0 → right → 0 → left → 0 as a pendulum moves."""
    return yaw_views(SWING * (2 * math.pi * torch.arange(frames) / frames).sin())


def _wires(scene: Scene, size: int) -> Tensor:
    """(size, size) in [0, 1]: the mesh's edges as a texture, 1.2 pixels wide when seen from the front."""
    height, width = scene.depth.shape
    pixels = size * scene.fov / FOV  # that the whole texture covers on the screen
    step = math.ceil(CELL * width / pixels)
    row, column = (((torch.arange(size) + 0.5) / size * side - 0.5) / step for side in (height, width))
    row, column = row[:, None], column[None, :]
    distance = torch.stack(
        [
            _to_whole(row).expand(size, size),
            _to_whole(column).expand(size, size),
            _to_whole(row + column) / math.sqrt(2),
        ]
    ).amin(0)
    return (0.6 + 0.5 - distance * step * pixels / width).clamp(0, 1)


def _to_whole(values: Tensor) -> Tensor:
    return (values - values.round()).abs()
