"""Render a closed, textured surface with ground truth. Knows nothing of faces: any category that can be laid out on a
grid of (row, column) vertices closing around its columns can be drawn with it.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.core import raster
from stages.core.camera import FOV, apply_view, intrinsics

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
    background; mask: (B, size, size) bool, the pixel centres that the surface covers; points: (B, R, C, 3) in view."""

    image: Tensor
    depth: Tensor
    mask: Tensor
    points: Tensor


@lru_cache(maxsize=8)
def _sample_rays(size: int, device: torch.device) -> Tensor:
    """(SAMPLES² size², 2) x and y at depth 1 of the rays through the samples of an image."""
    at = (torch.arange(SAMPLES * size, dtype=torch.float64) + 0.5) / SAMPLES - 0.5
    slope = (at - (size - 1) / 2) / intrinsics(size, size, FOV)[0, 0]
    y, x = torch.meshgrid(slope, slope, indexing="ij")
    return torch.stack([x, y], -1).view(-1, 2).to(device, torch.float32)


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
    points: Tensor, faces: Tensor, columns: int, rays: Tensor, image: Tensor, face: Tensor
) -> Tensor:
    """(M, 2) fractional (column, row) of the grid where each of M rays meets its triangle, perspective-correct.

    points: (B, V, 3); rays: (M, 2), x and y at depth 1; image, face: (M,) which triangle of which image.
    For a ray r through a triangle (v₀, v₁, v₂) seen from the origin the barycentric weights are proportional to
    r·(v₁×v₂), r·(v₂×v₀) and r·(v₀×v₁).
    """
    flat = points.reshape(-1, 3).unbind(-1)
    offset = image * points.shape[1]
    corners = [[axis.index_select(0, offset + faces[:, i].index_select(0, face)) for axis in flat] for i in range(3)]
    rx, ry = rays.unbind(-1)
    weight = []
    for (ax, ay, az), (bx, by, bz) in ((corners[i], corners[j]) for i, j in ((1, 2), (2, 0), (0, 1))):
        weight.append(rx * (ay * bz - az * by) + ry * (az * bx - ax * bz) + (ax * by - ay * bx))
    total = weight[0] + weight[1] + weight[2]
    first, second, third = (part / total for part in weight)
    # Two triangles a cell: {(v,u), (v+1,u), (v,u+1)} and {(v,u+1), (v+1,u), (v+1,u+1)}.
    cell = face // 2
    row = cell // (columns - 1)
    upper = face % 2 == 1
    across = torch.where(upper, 1 - second, third)
    down = torch.where(upper, 1 - first, second)
    return torch.stack([cell - row * (columns - 1) + across, row + down], -1)


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

    fine = raster.cover(moved, faces, size, size, FOV, samples=SAMPLES)
    flat = (fine.view(-1) >= 0).nonzero()[:, 0]
    per_image = (SAMPLES * size) ** 2
    where = flat // per_image
    rays = _sample_rays(size, device).index_select(0, flat - where * per_image)
    uv = _surface_coordinates(moved, faces, columns, rays, where, fine.view(-1).index_select(0, flat).long())

    # One grid_sample per batch: park the samples of each image on a dense grid.
    grid = torch.zeros(batch * per_image, 2, device=device)
    grid[flat] = uv * (2 / torch.tensor([columns - 1, rows - 1], device=device)) - 1
    colour = F.grid_sample(shade_texture(surface, light), grid.view(batch, *fine.shape[1:], 2), align_corners=True)
    hit = (fine >= 0)[:, None].float()
    image = F.avg_pool2d(colour * hit, SAMPLES) + (1 - F.avg_pool2d(hit, SAMPLES)) * background
    return Rendering(image.clamp(0, 1), depth, mask, moved.reshape(surface.points.shape))
