"""Render a closed, textured surface with ground truth. Knows nothing of faces: any category that can be laid out on a
grid of (row, column) vertices closing around its columns can be drawn with it.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.core import raster
from stages.core.camera import FOV, apply_view, pixel_rays

__all__ = ["Rendering", "Surface", "grid_normals", "render", "shade_texture"]


@dataclass(frozen=True)
class Surface:
    """points: (B, R, C, 3) metres, camera frame, canonical pose; column C-1 repeats column 0, rows 0 and R-1 are poles.
    texture: (B, 3, T, S) albedo in [0, 1] over the same rectangle, corner to corner."""

    points: Tensor
    texture: Tensor


@dataclass(frozen=True)
class Rendering:
    """image: (B, 3, size, size) in [0, 1]; depth: (B, size, size) metres in the input view at pixel centres, 0 where
    background; mask: (B, size, size) bool, the pixel centres that the surface covers; points: (B, R, C, 3) in view."""

    image: Tensor
    depth: Tensor
    mask: Tensor
    points: Tensor


@lru_cache(maxsize=8)
def _flat_faces(rows: int, columns: int, device: torch.device) -> Tensor:
    return raster.grid_faces(rows, columns).to(device)


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
    """albedo · (k_s + k_d max(0, ⟨n, l⟩)) over the texture's rectangle; light (B, 5) = k_s, k_d, l in the canonical frame."""
    cosine = (grid_normals(surface.points) * light[:, None, None, 2:]).sum(-1).clamp(min=0)
    shading = light[:, 0, None, None] + light[:, 1, None, None] * cosine
    size = surface.texture.shape[-2:]
    shading = F.interpolate(shading[:, None], size=size, mode="bilinear", align_corners=True)
    return surface.texture * shading


def _surface_coordinates(
    points: Tensor, faces: Tensor, columns: int, rays: Tensor, where: Tensor, hit: Tensor
) -> Tensor:
    """(M, 2) fractional (column, row) where each ray meets its triangle, perspective-correct.

    For a ray r through a triangle (v₀, v₁, v₂) seen from the origin the barycentric weights are proportional to
    r·(v₁×v₂), r·(v₂×v₀) and r·(v₀×v₁).
    """
    triangle = faces[hit]
    corner = triangle + (where * points.shape[1])[:, None]
    x, y, z = points.reshape(-1, 3)[corner].unbind(-1)
    rx, ry = rays.unbind(-1)
    weight = []
    for i, j in ((1, 2), (2, 0), (0, 1)):
        weight.append(
            rx * (y[:, i] * z[:, j] - z[:, i] * y[:, j])
            + ry * (z[:, i] * x[:, j] - x[:, i] * z[:, j])
            + (x[:, i] * y[:, j] - y[:, i] * x[:, j])
        )
    weight = torch.stack(weight, -1)
    weight = weight / weight.sum(-1, keepdim=True)
    row = torch.div(triangle, columns, rounding_mode="floor")
    return torch.stack([(weight * (triangle - row * columns)).sum(-1), (weight * row).sum(-1)], -1)


def render(surface: Surface, view: Tensor, light: Tensor, background: Tensor) -> Rendering:
    """Draw a batch of surfaces in method.md's camera.

    view: (B, 6) angles in radians and translation in metres; light: (B, 5); background: (B, 3, size, size) in [0, 1].
    The image averages 2×2 samples per pixel, at ±¼ pixel from its centre; depth and mask are one sample at the centre.
    """
    batch, rows, columns, _ = surface.points.shape
    size, device = background.shape[-1], surface.points.device
    faces = _flat_faces(rows, columns, device)
    moved = apply_view(surface.points.reshape(batch, -1, 3), view)

    cover = raster.cover(moved, faces, size, size, FOV)
    depth, mask = raster.plane_depth(moved, faces, cover, size, size, FOV)

    # The 2·size grid's outermost samples lie ½ fine pixel outside those of the size grid: a slightly wider camera.
    fine_fov = 2 * math.degrees(math.atan((2 * size - 1) / (2 * size - 2) * math.tan(math.radians(FOV / 2))))
    fine = raster.cover(moved, faces, 2 * size, 2 * size, fine_fov)
    where, v, u = (fine >= 0).nonzero(as_tuple=True)
    rays = pixel_rays(2 * size, 2 * size, fine_fov, device=device)[v, u, :2]
    uv = _surface_coordinates(moved, faces, columns, rays, where, fine[where, v, u].long())

    # One grid_sample per batch: park the samples of each image on a dense 2·size grid.
    grid = torch.zeros(batch, 2 * size, 2 * size, 2, device=device)
    grid[where, v, u] = uv * (2 / torch.tensor([columns - 1, rows - 1], device=device)) - 1
    colour = F.grid_sample(shade_texture(surface, light), grid, mode="bilinear", align_corners=True)
    hit = (fine >= 0)[:, None].float()
    image = F.avg_pool2d(colour * hit, 2) + (1 - F.avg_pool2d(hit, 2)) * background
    return Rendering(image.clamp(0, 1), torch.where(mask, depth, 0), mask, moved.reshape(surface.points.shape))
