"""What of a depth grid is surface: less its border, the curtains at its rim, and stray pieces."""

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from stages.core.camera import back_project
from stages.core.model import BORDER
from stages.core.raster import grid_faces

__all__ = ["TRIM", "faces_within", "kept_faces", "largest_piece", "vertex_normals"]

# The normals of the first free columns, and so their shading, still feel the clamped border next to them.
TRIM = BORDER + 1

# A triangle whose normal is further than this from the line of sight stands nearly edge-on: over a single pixel the
# depth then jumps by more than tan(80°) = 5.7 pixel widths. In the outer eighth of the picture that is a curtain
# hanging into the background, not a surface; further in it may be a nostril.
STEEP_DEGREES = 80.0
RIM = 1 / 8


def kept_faces(depth: Tensor, fov: float) -> Tensor:
    """(F,) true for the triangles of ``grid_faces(H, W)`` that are surface; depth (H, W) metres."""
    height, width = depth.shape
    points = back_project(depth[None], fov).reshape(-1, 3)
    grid = grid_faces(height, width)
    inner = _inside(height, width, TRIM, TRIM)[grid].all(1)

    sight = normalize(points[grid].mean(1), dim=-1)
    cosine = (normalize(_face_normals(points, grid), dim=-1) * sight).sum(-1).abs()
    steep = inner & (cosine < math.cos(math.radians(STEEP_DEGREES)))
    run = _components(grid[steep], len(points))
    curtain = torch.zeros(len(points), dtype=torch.bool)
    curtain[run[~_inside(height, width, math.ceil(RIM * height), math.ceil(RIM * width))]] = True
    kept = inner & ~(steep & curtain[run[grid[:, 0]]])
    kept[kept.clone()] = _in_largest_piece(grid[kept], len(points))
    return kept if 2 * kept.sum() > inner.sum() else inner


def faces_within(kept: Tensor, size: tuple[int, int], u: Tensor, v: Tensor) -> Tensor:
    """The triangles (F, 3) of another grid over the same picture whose middle lies in a kept one; the largest piece.

    kept: as above, for a grid of that size; u, v: (rows, columns), where in it the other grid's vertices are.
    """
    faces = grid_faces(*u.shape)
    u, v = u.flatten()[faces].mean(1), v.flatten()[faces].mean(1)
    cell = v.long() * (size[1] - 1) + u.long()
    faces = faces[kept[2 * cell + (u % 1 + v % 1 > 1)]]
    return largest_piece(faces, len(faces) and int(faces.max()) + 1)


def largest_piece(faces: Tensor, count: int) -> Tensor:
    """Those of the triangles (F, 3) that make the largest connected piece; count: of vertices."""
    return faces[_in_largest_piece(faces, count)]


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(V, 3) unit normals, each the area-weighted mean of the triangles around the vertex; zero where there is none."""
    face_normal = _face_normals(vertices, faces)
    total = torch.zeros_like(vertices).index_add_(0, faces.flatten(), face_normal.repeat_interleave(3, 0))
    return normalize(total, dim=-1, eps=1e-20)


def _inside(height: int, width: int, rows: int, columns: int) -> Tensor:
    """(H·W,) true for the vertices at least so many rows and columns away from the edge."""
    inside = torch.zeros(height, width, dtype=torch.bool)
    inside[rows:-rows, columns:-columns] = True
    return inside.flatten()


def _in_largest_piece(faces: Tensor, count: int) -> Tensor:
    """(F,) true for the triangles of the largest piece."""
    piece = _components(faces, count)[faces[:, 0]]
    return piece == piece.mode().values if len(faces) else torch.zeros(0, dtype=torch.bool)


def _components(faces: Tensor, count: int) -> Tensor:
    """(count,) the smallest vertex index that each vertex is connected with through shared vertices of triangles
    (F, 3)."""
    label = torch.arange(count)
    while True:
        lowest = label[faces].amin(1, keepdim=True).expand(-1, 3)
        new = label.scatter_reduce(0, faces.flatten(), lowest.flatten(), "amin")
        new = new[new]  # halve the chains, so that long components settle in a logarithmic number of rounds
        if torch.equal(new, label):
            return label
        label = new


def _face_normals(points: Tensor, faces: Tensor) -> Tensor:
    """(F, 3) right-handed normals, as long as twice the triangle's area."""
    a, b, c = points[faces].unbind(1)
    return torch.linalg.cross(b - a, c - a)
