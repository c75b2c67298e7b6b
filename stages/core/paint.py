"""The colours of a rasterised mesh, on the CPU: a kernel compiled by numba, spread over threads by image."""

import numpy as np
import torch
from torch import Tensor

from stages.core.kernels import compiled
from stages.core.raster.lattice import Lattice
from stages.core.threads import over_images

__all__ = ["paint"]


@compiled()
def _fetch(texture, x, y, weight, colour):
    """Add ``weight`` times the texture at column x, row y, interpolated between texel centres and held at the rim."""
    height, width = texture.shape[:2]
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    right, down = x - left, y - top
    for c in range(3):
        above = texture[top, left, c] * (1 - right) + texture[top, left + 1, c] * right
        below = texture[top + 1, left, c] * (1 - right) + texture[top + 1, left + 1, c] * right
        colour[c] += weight * (above * (1 - down) + below * down)


@compiled()
def _sample(points, triangle, uv, texture, x, y, weight, colour):
    """Add what the ray (x, y, 1) sees of a triangle; see :func:`stages.core.view.render_mesh` for the weights."""
    across, up, total = 0.0, 0.0, 0.0
    for corner in range(3):
        i, j, k = triangle[corner], triangle[(corner + 1) % 3], triangle[(corner + 2) % 3]
        xj, yj, zj = points[j, 0], points[j, 1], points[j, 2]
        xk, yk, zk = points[k, 0], points[k, 1], points[k, 2]
        w = x * (yj * zk - zj * yk) + y * (zj * xk - xj * zk) + (xj * yk - yj * xk)
        across += w * uv[i, 0]
        up += w * uv[i, 1]
        total += w
    height, width = texture.shape[:2]
    _fetch(texture, across / total * width - 0.5, (1 - up / total) * height - 0.5, weight, colour)


@compiled()
def _paint(start, stop, points, faces, uv, textures, cover, focal, centre_u, centre_v, background, pictures):
    """A pixel whose four samples lie in one triangle is sampled once, in its middle; others at all four."""
    size = pictures.shape[1]
    colour = np.empty(3)
    for b in range(start, stop):
        texture = textures[b % len(textures)]
        for v in range(size):
            for u in range(size):
                first = cover[b, 2 * v, 2 * u]
                colour[:] = 0
                whole = True
                for s in range(1, 4):
                    whole = whole and cover[b, 2 * v + s // 2, 2 * u + s % 2] == first
                if whole and first >= 0:
                    x, y = (2 * u + 0.5 - centre_u) / focal, (2 * v + 0.5 - centre_v) / focal
                    _sample(points[b], faces[first], uv, texture, x, y, 1.0, colour)
                elif whole:
                    colour[:] = background
                else:
                    for s in range(4):
                        column, row = 2 * u + s % 2, 2 * v + s // 2
                        face = cover[b, row, column]
                        if face < 0:
                            colour += 0.25 * background
                        else:
                            x, y = (column - centre_u) / focal, (row - centre_v) / focal
                            _sample(points[b], faces[face], uv, texture, x, y, 0.25, colour)
                pictures[b, v, u] = colour


def paint(
    points: Tensor, faces: Tensor, uv: Tensor, textures: Tensor, cover: Tensor, lattice: Lattice, background: Tensor
) -> Tensor:
    """(B,V,3) float64, camera frame, (F,3), (V,2) float64, (1 or B,3,h,w) float32, (B,2H,2W) of the 2×2 lattice, (3,)
    float64 → pictures (B,3,H,W) float32; colours in [0, 1]. See :func:`stages.core.view.render_mesh`."""
    height, width = lattice.height // 2, lattice.width // 2
    pictures = np.empty((len(points), height, width, 3), np.float32)
    images = textures.permute(0, 2, 3, 1).contiguous()
    arrays = (tensor.numpy() for tensor in (points, faces, uv, images, cover))
    over_images(_paint, len(points), *arrays, *lattice[:3], background.numpy(), pictures)
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)
