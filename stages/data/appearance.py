"""What a rasterised surface looks like, in plain torch: what a GPU runs, and what the CPU's kernels are tested by."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["EDGE_ON", "picture", "sample_positions", "shade"]

EDGE_ON = 1e-9  # pixels²: twice the area below which a triangle has no barycentric coordinates


def shade(points: Tensor, light: Tensor) -> Tensor:
    """k_s + k_d max(0, ⟨n, l⟩) at the vertices (B, R, C, 3) of a surface, in its own frame; light (B, 5): k_s, k_d, l.

    Normals are by central differences that wrap around the columns; they point inwards, like all of this method.
    """
    along_u = torch.empty_like(points)
    along_u[:, :, 1:-1] = points[:, :, 2:] - points[:, :, :-2]
    along_u[:, :, 0] = along_u[:, :, -1] = points[:, :, 1] - points[:, :, -2]
    along_v = torch.empty_like(points)
    along_v[:, 1:-1] = points[:, 2:] - points[:, :-2]
    along_v[:, 0], along_v[:, -1] = points[:, 1] - points[:, 0], points[:, -1] - points[:, -2]
    normal = torch.linalg.cross(along_u, along_v)
    normal = normal / normal.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    cosine = (normal * light[:, None, None, 2:]).sum(-1).clamp(min=0)
    return light[:, 0, None, None] + light[:, 1, None, None] * cosine


def picture(pixels: Tensor, face: Tensor, texture: Tensor, shading: Tensor, background: Tensor, samples: int) -> Tensor:
    """(B, 3, H, W): albedo · shading where the surface is seen, averaged over samples × samples per pixel.

    pixels: (B, R, C, 2) where the vertices appear, in pixels; face: (B, samples H, samples W) int32, the triangle of
    ``raster.grid_faces`` that each sample sees, or -1; texture: (B, 3, T, S) albedo over the grid, corner to corner;
    shading: (B, R, C); background: (B, 3, H, W). Perspective within a triangle is neglected.
    """
    rows, columns = shading.shape[1:]
    across, down = _grid_position(pixels, face, samples)
    position = torch.stack([across * (2 / (columns - 1)) - 1, down * (2 / (rows - 1)) - 1], -1)
    shading = F.interpolate(shading[:, None], size=texture.shape[-2:], mode="bilinear", align_corners=True)
    colour = F.grid_sample(texture * shading, position, align_corners=True)
    hit = (face >= 0)[:, None].to(colour)
    return F.avg_pool2d(colour * hit, samples) + (1 - F.avg_pool2d(hit, samples)) * background


@lru_cache(maxsize=8)
def sample_positions(height: int, width: int, samples: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pixel coordinates u (1, W') and v (H', 1) of the samples of an image."""
    v, u = ((torch.arange(samples * n, device=device) + 0.5) / samples - 0.5 for n in (height, width))
    return u[None, :], v[:, None]


def _grid_position(pixels: Tensor, face: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Fractional column and row (B, H', W') of the grid that each sample sees; anything where it sees none."""
    batch, rows, columns, _ = pixels.shape
    face = face.clamp(min=0).long()
    cell, upper = face // 2, face % 2
    row, column = cell // (columns - 1), cell % (columns - 1)
    # {(v,u), (v+1,u), (v,u+1)} and {(v,u+1), (v+1,u), (v+1,u+1)}
    start = torch.arange(batch, device=face.device)[:, None, None] * (rows * columns)
    here = start + row * columns + column
    flat = pixels.reshape(-1, 2)
    first, second, third = (
        flat[corner].unbind(-1) for corner in (here + upper, here + columns, here + 1 + upper * columns)
    )
    u, v = sample_positions(face.shape[1] // samples, face.shape[2] // samples, samples, face.device)
    (u0, v0), du, dv = first, u - first[0], v - first[1]
    (u1, v1), (u2, v2) = ((a - u0, b - v0) for a, b in (second, third))
    area = u1 * v2 - v1 * u2
    share = torch.where(area.abs() > EDGE_ON, 1 / area, 0)
    s, t = ((du * v2 - dv * u2) * share).clamp(0, 1), ((u1 * dv - v1 * du) * share).clamp(0, 1)
    # (u, v) + (t, s) in the first, (u + 1, v) + (-s, s + t) in the second.
    return column + t + upper * (1 - s - t), row + s + upper * t
