"""Render a closed, textured surface with ground truth. Knows nothing of faces: any category that can be laid out on a
grid of (row, column) vertices closing around its columns can be drawn with it.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.core import raster
from stages.core.camera import FOV, apply_view, project

__all__ = ["Rendering", "Surface", "grid_normals", "render", "shade_texture"]

SAMPLES = 2  # per pixel and axis in the image


@dataclass(frozen=True)
class Surface:
    """points: (B, R, C, 3) metres, camera frame, canonical pose; column C-1 repeats column 0, rows 0 and R-1 are poles.
    texture: (B, 3, T, S) albedo in [0, 1] over the same rectangle, corner to corner."""

    points: Tensor
    texture: Tensor


@dataclass(frozen=True)
class Rendering:
    """image: (B, 3, size, size) in [0, 1]; depth: (B, size, size) metres in the input view at pixel centres, 0 where
    background; mask: (B, size, size) bool, the pixel centres that the surface covers."""

    image: Tensor
    depth: Tensor
    mask: Tensor


@lru_cache(maxsize=8)
def _sample_positions(size: int, device: torch.device) -> Tensor:
    """(SAMPLES² size², 2) pixel coordinates (u, v) of the samples of an image."""
    at = (torch.arange(SAMPLES * size, device=device) + 0.5) / SAMPLES - 0.5
    v, u = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([u, v], -1).view(-1, 2)


@lru_cache(maxsize=8)
def _triangles(rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of every triangle of a grid: vertices (3, F), its cell's column and row, and 1.0 if it is the second there."""
    faces = raster.grid_faces(rows, columns).to(device)
    number = torch.arange(len(faces), device=device)
    cell = number // 2
    column, row, second = cell % (columns - 1), cell // (columns - 1), number % 2
    return faces.T.to(torch.int32).contiguous(), column.float(), row.float(), second.float()


def grid_normals(points: Tensor) -> Tensor:
    """Unit normals (B, R, C, 3) by central differences that wrap around the columns; +z for a frontal surface, that is
    pointing inwards, like every normal of this method."""
    along_u = torch.empty_like(points)
    along_u[:, :, 1:-1] = points[:, :, 2:] - points[:, :, :-2]
    along_u[:, :, 0] = along_u[:, :, -1] = points[:, :, 1] - points[:, :, -2]
    along_v = torch.empty_like(points)
    along_v[:, 1:-1] = points[:, 2:] - points[:, :-2]
    along_v[:, 0], along_v[:, -1] = points[:, 1] - points[:, 0], points[:, -1] - points[:, -2]
    (ax, ay, az), (bx, by, bz) = along_u.unbind(-1), along_v.unbind(-1)
    normal = torch.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)
    return normal / normal.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def shade_texture(surface: Surface, light: Tensor) -> Tensor:
    """albedo · (k_s + k_d max(0, ⟨n, l⟩)) over the texture's rectangle; light (B, 5): k_s, k_d, l, canonical frame."""
    cosine = (grid_normals(surface.points) * light[:, None, None, 2:]).sum(-1).clamp(min=0)
    shading = light[:, 0, None, None] + light[:, 1, None, None] * cosine
    size = surface.texture.shape[-2:]
    shading = F.interpolate(shading[:, None], size=size, mode="bilinear", align_corners=True)
    return surface.texture * shading


def _surface_coordinates(
    pixels: Tensor, rows: int, columns: int, at: Tensor, image: Tensor, face: Tensor
) -> tuple[Tensor, Tensor]:
    """Fractional column and row (M,) of the grid that each of M samples sees.

    pixels: (B, V, 2) where the vertices appear; at: (M, 2) where the samples lie; image, face: (M,) which triangle of
    which image covers each. Only colour follows from this: perspective within a triangle is neglected.
    """
    corners, column, row, upper = _triangles(rows, columns, pixels.device)
    first, *others = (corner.index_select(0, face) + image * (rows * columns) for corner in corners)
    u, v = pixels.reshape(-1, 2).T.contiguous()
    u0, v0 = u.index_select(0, first), v.index_select(0, first)
    (u1, v1), (u2, v2) = ((u.index_select(0, i) - u0, v.index_select(0, i) - v0) for i in others)
    du, dv = at[:, 0] - u0, at[:, 1] - v0
    area = u1 * v2 - v1 * u2
    share = torch.where(area.abs() > 1e-9, 1 / area, 0)  # edge-on slivers can lose their area to rounding
    second = ((du * v2 - dv * u2) * share).clamp_(0, 1)
    third = ((u1 * dv - v1 * du) * share).clamp_(0, 1)
    # {(v,u), (v+1,u), (v,u+1)}: (u + third, v + second);
    # {(v,u+1), (v+1,u), (v+1,u+1)}: (u + 1 - second, v + second + third)
    upper = upper.index_select(0, face)
    across = column.index_select(0, face) + third + upper * (1 - second - third)
    return across, row.index_select(0, face) + second + upper * third


def render(surface: Surface, view: Tensor, light: Tensor, background: Tensor) -> Rendering:
    """Draw a batch of surfaces in method.md's camera.

    view: (B, 6) angles in radians and translation in metres; light: (B, 5); background: (B, 3, size, size) in [0, 1].
    The image averages 2×2 samples per pixel, at ±¼ pixel from its centre; depth and mask are one sample at the centre.
    """
    batch, rows, columns, _ = surface.points.shape
    size, device = background.shape[-1], surface.points.device
    faces = raster.grid_faces(rows, columns)
    moved = apply_view(surface.points.reshape(batch, -1, 3), view)

    cover = raster.cover(moved, faces, size, size, FOV)
    depth, mask = raster.plane_depth(moved, faces, cover, size, size, FOV)

    fine = raster.cover(moved, faces, size, size, FOV, samples=SAMPLES)
    hit = fine >= 0
    seen = hit.view(-1).nonzero()[:, 0]
    per_image = (SAMPLES * size) ** 2
    image = seen // per_image
    at = _sample_positions(size, device).index_select(0, seen - image * per_image)
    face = fine.view(-1).index_select(0, seen)
    across, down = _surface_coordinates(project(moved, size, size), rows, columns, at, image.int(), face)

    # One grid_sample per batch: park the samples of each image on a dense grid.
    grid = torch.zeros(batch * per_image, 2, device=device)
    grid[seen] = torch.stack([across * (2 / (columns - 1)) - 1, down * (2 / (rows - 1)) - 1], -1)
    colour = F.grid_sample(shade_texture(surface, light), grid.view(*fine.shape, 2), align_corners=True)
    hit = hit[:, None].float()
    picture = F.avg_pool2d(colour * hit, SAMPLES) + (1 - F.avg_pool2d(hit, SAMPLES)) * background
    return Rendering(picture.clamp(0, 1), depth, mask)
