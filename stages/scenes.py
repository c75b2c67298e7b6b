"""From an item of a prediction to pictures of it at any size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import ImageColor
from torch import Tensor
from torch.nn.functional import interpolate

from stages.artifact import Artifact
from stages.core.mesh import grid_mesh
from stages.core.scene import Scene
from stages.core.view import FOV, render_mesh
from stages.device import pick_device
from stages.errors import InputError, UsageError
from stages.io.files import file_stems
from stages.io.meshes import build_mesh
from stages.photographs import Photographs, texture_from
from stages.progress import Report, Silent

__all__ = ["BACKGROUND", "SCENE_FIELDS", "Canvas", "make_canvas", "scene_of", "usable_scenes"]

SCENE_FIELDS = ("image", "canonical_depth", "albedo", "light", "view")
TEXTURE = 256  # least side of a texture in pixels: enlarged smoothly, where the renderer's own way would show facets
SMALLEST, LARGEST = 16, 2048  # pixels
SIZE = 512
BACKGROUND = "#ebebeb"
AT_ONCE = 8  # frames; as many pictures are in memory with all that it takes to draw them


def scene_of(item: Mapping[str, np.ndarray], name: str, fov: float) -> Scene:
    """item: the SCENE_FIELDS of one row of a sym3d.prediction file. Raises InputError, naming the item, when there is
    no surface in it."""
    build_mesh({**item, "canonical_image": None}, name, fov=fov)  # says what is wrong with it
    image, depth, albedo, light, view = (
        torch.from_numpy(np.nan_to_num(np.array(item[field], dtype=np.float32))) for field in SCENE_FIELDS
    )
    return Scene(image.permute(2, 0, 1) / 255, depth, albedo.permute(2, 0, 1), light, view, fov)


def usable_scenes(
    prediction: Artifact, rows: Sequence[int], report: Report, photographs: Photographs | None = None
) -> Iterator[tuple[int, Scene]]:
    """(row, scene) of each of these rows, painted with its photograph if there are any; warns of one without a surface
    or photograph and goes on.

    Raises InputError when no item has one.
    """
    stems, fov, found, faults = file_stems(prediction.strings("name")), float(prediction.attrs["fov"]), 0, []
    for row in rows:
        try:
            scene = scene_of({field: prediction[field][row] for field in SCENE_FIELDS}, stems[row], fov)
            if photographs is not None:
                texture = torch.from_numpy(texture_from(photographs, prediction, row))
                scene = replace(scene, paint=texture.permute(2, 0, 1)[None] / 255)
        except InputError as error:
            faults.append(error)
            report.warn(f"{error.where}: {error.what}; skipped")
            continue
        found += 1
        yield row, scene
    if faults and not found:
        raise faults[0]


def make_canvas(
    size: int = SIZE, background: str = BACKGROUND, device: str | None = None, report: Report = Silent()
) -> "Canvas":
    """background: a colour's name in CSS or #rrggbb; device: None is CUDA where there is one;
    report: for the Canvas.

    Raises UsageError on a size, colour or device that there is not.
    """
    if not SMALLEST <= size <= LARGEST:
        raise UsageError(f"--size {size}", "is no side of a picture", f"choose from {SMALLEST} to {LARGEST} pixels")
    try:
        colour = ImageColor.getrgb(background)[:3]
    except ValueError as error:
        raise UsageError(f"--background {background}", "is no colour", "name one, such as white or #ebebeb") from error
    return Canvas(size, tuple(value / 255 for value in colour), pick_device(device), report)


@dataclass(frozen=True)
class Canvas:
    """What pictures are drawn on: their side in pixels, the colour behind the thing, and the device that draws."""

    size: int
    background: tuple[float, float, float]
    device: torch.device
    report: Report  # hears how many pictures of a series are drawn

    @property
    def mark(self) -> str:
        """What in a file's name tells its pictures from those of another size or background: "+256px", "+ffffff"."""
        colour = "".join(f"{round(value * 255):02x}" for value in self.background)
        size = f"+{self.size}px" if self.size != SIZE else ""
        return size + (f"+{colour}" if f"#{colour}" != BACKGROUND else "")

    def draw(self, scene: Scene, views: Tensor, textures: Tensor, *, fov: float = FOV) -> np.ndarray:
        """(T, size, size, 3) uint8 pictures of the scene's surface.

        views: (T, 6) as stages.core.camera.apply_view takes them; textures: (1 or T, 3, H, W) canonical, in [0, 1];
        fov: degrees, the default with room to turn, the scene's own to match its photograph.
        """
        mesh = grid_mesh(scene.depth, fov=scene.fov)
        side = max(TEXTURE, textures.shape[-1])
        parts = []
        with self.report.task("frames", total=len(views)) as task:
            for start in range(0, len(views), AT_ONCE):
                some = textures[start : start + AT_ONCE] if len(textures) > 1 else textures
                some = interpolate(some.to(self.device), (side, side), mode="bicubic").clamp(0, 1)
                looks = views[start : start + AT_ONCE]
                pictures = render_mesh(mesh, some, looks, size=self.size, fov=fov, background=self.background)
                parts.append((pictures * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
                task.advance(len(looks))
        return np.concatenate(parts)

    def photo(self, scene: Scene) -> np.ndarray:
        """(size, size, 3) uint8: the photograph, pixel on pixel with what ``draw`` makes from its view and fov."""
        large = interpolate(scene.photo[None], (self.size, self.size), mode="bicubic", align_corners=True)[0]
        return (large.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
