"""What a rasterised surface looks like, on the CPU: each step of appearance.py as one loop that keeps its numbers in
registers, which costs an eighth. Inside, all is float64 but the shaded texture.
"""

import math

import numpy as np
from torch import Tensor

from stages.core.kernels import compiled
from stages.data.appearance import EDGE_ON

__all__ = ["picture", "shade"]


def shade(points: Tensor, light: Tensor) -> Tensor:
    """As in appearance.py."""
    shading = points.new_empty(points.shape[:3])
    _shade(points.contiguous().numpy(), light.contiguous().numpy(), shading.numpy())
    return shading


@compiled()
def _shade(points, light, shading):
    images, rows, columns, _ = points.shape
    for b in range(images):
        for r in range(rows):
            above, below = max(r - 1, 0), min(r + 1, rows - 1)
            for c in range(columns):
                left = c - 1 if c > 0 else columns - 2
                right = c + 1 if c < columns - 1 else 1
                ax = float(points[b, r, right, 0] - points[b, r, left, 0])
                ay = float(points[b, r, right, 1] - points[b, r, left, 1])
                az = float(points[b, r, right, 2] - points[b, r, left, 2])
                bx = float(points[b, below, c, 0] - points[b, above, c, 0])
                by = float(points[b, below, c, 1] - points[b, above, c, 1])
                bz = float(points[b, below, c, 2] - points[b, above, c, 2])
                nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
                length = max(math.sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
                cosine = (nx * light[b, 2] + ny * light[b, 3] + nz * light[b, 4]) / length
                shading[b, r, c] = light[b, 0] + light[b, 1] * max(cosine, 0.0)


def picture(pixels: Tensor, face: Tensor, texture: Tensor, shading: Tensor, background: Tensor, samples: int) -> Tensor:
    """As in appearance.py; the result is channels-last in memory."""
    batch, _, height, width = background.shape
    image = background.new_empty(batch, height, width, 3)
    arrays = (a.contiguous().numpy() for a in (pixels, face, texture, shading, background))
    _picture(*arrays, samples, image.numpy())
    return image.permute(0, 3, 1, 2)


@compiled(fastmath={"contract"}, error_model="numpy")
def _look_up(grid, row, column, y, x, channel):
    """(R, C, 3) at (row + y, column + x), bilinear."""
    above = grid[row, column, channel] * (1 - x) + grid[row, column + 1, channel] * x
    below = grid[row + 1, column, channel] * (1 - x) + grid[row + 1, column + 1, channel] * x
    return above * (1 - y) + below * y


@compiled(fastmath={"contract"}, error_model="numpy")
def _picture(pixels, face, texture, shading, background, samples, image):
    images, rows, columns, _ = pixels.shape
    height, width = image.shape[1:3]
    last_row, last_column = texture.shape[2] - 1, texture.shape[3] - 1
    to_row, to_column = last_row / (rows - 1), last_column / (columns - 1)
    cell_row, cell_column = _cells(rows, columns)
    shaded = np.empty((last_row + 1, last_column + 1, 3), np.float32)
    share = 1 / (samples * samples)
    for b in range(images):
        _shade_texture(texture[b], shading[b], shaded)
        for v in range(height):
            for u in range(width):
                red = green = blue = 0.0
                missed = samples * samples
                for j in range(samples):
                    for i in range(samples):
                        f = face[b, v * samples + j, u * samples + i]
                        if f < 0:
                            continue
                        missed -= 1
                        upper, r, c = f & 1, cell_row[f >> 1], cell_column[f >> 1]
                        u0, v0 = float(pixels[b, r, c + upper, 0]), float(pixels[b, r, c + upper, 1])
                        u1, v1 = pixels[b, r + 1, c, 0] - u0, pixels[b, r + 1, c, 1] - v0
                        u2, v2 = pixels[b, r + upper, c + 1, 0] - u0, pixels[b, r + upper, c + 1, 1] - v0
                        du, dv = u + (i + 0.5) / samples - 0.5 - u0, v + (j + 0.5) / samples - 0.5 - v0
                        area = u1 * v2 - v1 * u2
                        unit = 1 / area if abs(area) > EDGE_ON else 0.0
                        s = min(max((du * v2 - dv * u2) * unit, 0.0), 1.0)
                        t = min(max((u1 * dv - v1 * du) * unit, 0.0), 1.0)
                        x = (c + 1 - s if upper else c + t) * to_column
                        y = (r + s + t if upper else r + s) * to_row
                        m, n = min(int(y), last_row - 1), min(int(x), last_column - 1)
                        x, y = x - n, y - m
                        red += _look_up(shaded, m, n, y, x, 0)
                        green += _look_up(shaded, m, n, y, x, 1)
                        blue += _look_up(shaded, m, n, y, x, 2)
                image[b, v, u, 0] = (red + missed * background[b, 0, v, u]) * share
                image[b, v, u, 1] = (green + missed * background[b, 1, v, u]) * share
                image[b, v, u, 2] = (blue + missed * background[b, 2, v, u]) * share


@compiled()
def _cells(rows, columns):
    """Row and column of every cell of a grid of vertices: looked up, they cost less than a division."""
    row = np.empty((rows - 1) * (columns - 1), np.int32)
    column = np.empty_like(row)
    for cell in range(len(row)):
        row[cell], column[cell] = cell // (columns - 1), cell % (columns - 1)
    return row, column


@compiled(fastmath={"contract"}, error_model="numpy")
def _shade_texture(texture, shading, shaded):
    """(3, T, S) albedo times (R, C) shading, stretched corner to corner, into (T, S, 3)."""
    rows, columns = shading.shape
    last_row, last_column = texture.shape[1] - 1, texture.shape[2] - 1
    line = np.empty(columns, np.float32)
    for i in range(last_row + 1):
        y = i * (rows - 1) / last_row
        r = min(int(y), rows - 2)
        for c in range(columns):
            line[c] = shading[r, c] + (shading[r + 1, c] - shading[r, c]) * (y - r)
        for j in range(last_column + 1):
            x = j * (columns - 1) / last_column
            c = min(int(x), columns - 2)
            light = line[c] + (line[c + 1] - line[c]) * (x - c)
            shaded[i, j, 0] = texture[0, i, j] * light
            shaded[i, j, 1] = texture[1, i, j] * light
            shaded[i, j, 2] = texture[2, i, j] * light
