"""From a depth grid to a triangle mesh that other programs open the right way up."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from stages.core.camera import apply_view, back_project
from stages.core.model import BORDER
from stages.core.raster import grid_faces

__all__ = ["Mesh", "grid_mesh", "to_camera", "to_world"]

# The normals of the first free columns, and so their shading, still feel the clamped border next to them.
TRIM = BORDER + 1

# A triangle whose normal is further than this from the line of sight stands nearly edge-on: over a single pixel the
# depth then jumps by more than tan(80°) = 5.7 pixel widths. In the outer eighth of the picture that is a curtain
# hanging into the background, not a surface; further in it may be a nostril.
STEEP_DEGREES = 80.0
RIM = 1 / 8


@dataclass(frozen=True)
class Mesh:
    """Triangles with one texture coordinate per vertex.

    vertices: (V, 3) float32, metres, x right, y up, z towards the viewer; (0, 0, 0) is the method's
              rotation centre.
    faces:    (F, 3) int64, counter-clockwise seen from outside (from +z).
    normals:  (V, 3) float32, unit length, outward.
    uv:       (V, 2) float32 in [0, 1], (0, 0) the lower left corner of the texture, as OBJ has it.
    """

    vertices: Tensor
    faces: Tensor
    normals: Tensor
    uv: Tensor


def to_world(points: Tensor) -> Tensor:
    """Camera frame (..., 3) (x right, y down, z forward, metres) → y up, z towards the viewer, centred on (0, 0, 1).

    Half a turn about x: (x, y, z) → (x, -y, 1 - z). A rotation, so the winding of triangles stays as it is.
    """
    x, y, z = points.unbind(-1)
    return torch.stack([x, -y, 1 - z], dim=-1)


to_camera = to_world  # half a turn is its own inverse


def grid_mesh(depth: Tensor, *, view: Tensor | None = None, fov: float = 10.0) -> Mesh:
    """The surface of a canonical depth map, trimmed of its rim.

    depth: (H, W) metres; view: (6,) to place the surface as the input saw it (angles in radians, translation in
    metres), None for the canonical pose; fov: horizontal field of view in degrees.

    Left out are the TRIM outer columns (two of them are clamped to the border depth) and as many rows; runs of
    triangles steeper than STEEP_DEGREES to the line of sight that reach the outer eighth; whatever is then not
    connected with the largest piece; and vertices without a triangle. If that took more than half of the triangles,
    the shape is rough all over and only the outer rows and columns go. What is left out never depends on the pose.

    Raises ValueError when the depth is not a finite, positive (H, W) grid of at least 8×8.
    """
    if depth.ndim != 2 or min(depth.shape) < 8 or not bool((depth.isfinite() & (depth > 0)).all()):
        raise ValueError(f"depth must be a finite, positive grid of at least 8×8, not {tuple(depth.shape)}")
    height, width = depth.shape
    depth = depth.detach().float().cpu()
    canonical = back_project(depth[None], fov).reshape(-1, 3)
    faces = _kept_faces(canonical, height, width)

    points = canonical if view is None else apply_view(canonical[None], view.detach().float().cpu()[None])[0]
    used, faces = faces.unique(return_inverse=True)
    vertices = to_world(points[used])
    row, column = used // width, used % width
    uv = torch.stack([(column + 0.5) / width, 1 - (row + 0.5) / height], dim=-1)
    return Mesh(vertices, faces, _vertex_normals(vertices, faces), uv)


def _kept_faces(points: Tensor, height: int, width: int) -> Tensor:
    """The grid's triangles (F, 3) less border, curtains and stray pieces; points (H·W, 3) in the camera frame."""
    grid = grid_faces(height, width).cpu()
    grid = grid[_inside(height, width, TRIM, TRIM)[grid].all(1)]

    sight = normalize(points[grid].mean(1), dim=-1)
    cosine = (normalize(_face_normals(points, grid), dim=-1) * sight).sum(-1).abs()
    steep = cosine < math.cos(math.radians(STEEP_DEGREES))
    run = _components(grid[steep], len(points))
    curtain = torch.zeros(len(points), dtype=torch.bool)
    curtain[run[~_inside(height, width, math.ceil(RIM * height), math.ceil(RIM * width))]] = True
    faces = grid[~(steep & curtain[run[grid[:, 0]]])]

    piece = _components(faces, len(points))[faces[:, 0]]
    faces = faces[piece == piece.mode().values] if len(faces) else faces
    return faces if 2 * len(faces) > len(grid) else grid


def _inside(height: int, width: int, rows: int, columns: int) -> Tensor:
    """(H·W,) true for the vertices at least so many rows and columns away from the edge."""
    inside = torch.zeros(height, width, dtype=torch.bool)
    inside[rows:-rows, columns:-columns] = True
    return inside.flatten()


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


def _vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(V, 3) unit normals, each the area-weighted mean of the triangles around the vertex."""
    face_normal = _face_normals(vertices, faces)
    total = torch.zeros_like(vertices).index_add_(0, faces.flatten(), face_normal.repeat_interleave(3, 0))
    return normalize(total, dim=-1, eps=1e-20)
