"""Render a closed, textured surface with ground truth. Knows nothing of faces: any category that can be laid out on a
grid of (row, column) vertices closing around its columns can be drawn with it.
"""

from dataclasses import dataclass

from torch import Tensor

from stages.core import raster
from stages.core.camera import FOV, apply_view, project
from stages.data import appearance, appearance_cpu
from stages.data.draws import stretch

__all__ = ["SAMPLES", "Rendering", "Surface", "render"]

SAMPLES = 2  # per pixel and axis in the image


@dataclass(frozen=True)
class Surface:
    """points: (B, R, C, 3) metres, camera frame, canonical pose; column C-1 repeats column 0, rows 0 and R-1 are poles.
    albedo: (B, 3, T, S) in [0, 1] over the same rectangle, corner to corner."""

    points: Tensor
    albedo: Tensor

    def spread(self, knots: Tensor) -> Tensor:
        """A grid (B, 1, r, c) over the same rectangle, where the albedo is: (B, 1, T, S)."""
        return stretch(knots, self.albedo.shape[2:])


@dataclass(frozen=True)
class Rendering:
    """image: (B, 3, size, size) in [0, 1]; depth: (B, size, size) metres in the input view at pixel centres, 0 where
    background; mask: (B, size, size) bool, the pixel centres that the surface covers."""

    image: Tensor
    depth: Tensor
    mask: Tensor


def render(surface: Surface, view: Tensor, light: Tensor, background: Tensor) -> Rendering:
    """Draw a batch of surfaces in the camera of docs/conventions.md.

    view: (B, 6) angles in radians and translation in metres; light: (B, 5); background: (B, 3, size, size) in [0, 1].
    The image averages 2×2 samples per pixel, at ±¼ pixel from its centre; depth and mask are one sample at the centre.
    """
    batch, rows, columns, _ = surface.points.shape
    size, device = background.shape[-1], background.device
    look = appearance_cpu if device.type == "cpu" else appearance
    faces = raster.grid_faces(rows, columns, device)
    moved = apply_view(surface.points.reshape(batch, -1, 3), view)

    cover = raster.cover(moved, faces, size, size, FOV)
    depth, mask = raster.plane_depth(moved, faces, cover, size, size, FOV)

    fine = raster.cover(moved, faces, size, size, FOV, samples=SAMPLES)
    pixels = project(moved, size, size).view(batch, rows, columns, 2)
    shading = look.shade(surface.points, light)
    image = look.picture(pixels, fine, surface.albedo, shading, background, SAMPLES)
    return Rendering(image.clamp(0, 1), depth, mask)
