"""From an open surface to a body with a flat back: what a 3D printer needs."""

import torch
from torch import Tensor

from stages.core.trim import largest_piece, vertex_normals

__all__ = ["THICKNESS", "close", "hang_skirt", "manifold", "open_edges"]

THICKNESS = 0.005  # metres between the deepest point of the surface and the back


def open_edges(faces: Tensor) -> Tensor:
    """(E, 2) the directed edges that belong to one triangle only: the rim."""
    edges, forth, back = _edges(faces)
    return edges[~torch.isin(forth, back)]


def manifold(faces: Tensor, count: int) -> Tensor:
    """The triangles (F, 3) of ``count`` vertices, less those at a vertex through which the rim passes twice, or at an
    edge with more than two triangles; the largest piece of them.

    Walls on such a rim would meet in one upright edge with four triangles: not watertight. Raises ValueError when
    nothing is left.
    """
    while len(faces):
        edges, forth, back = _edges(faces)
        _, place, times = forth.unique(return_inverse=True, return_counts=True)
        bad = edges[~torch.isin(forth, back)].flatten().bincount(minlength=count) > 2
        bad[edges[times[place] > 1]] = True
        if not bad.any():
            return faces
        faces = largest_piece(faces[~bad[faces].any(1)], count)
    raise ValueError("its surface hangs together by single points and cannot be closed")


def close(points: Tensor, faces: Tensor, normals: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points, triangles and normals with a back and walls, and for each point which one of the surface it came from.

    points (V, 3) in the camera frame, a manifold surface that is used to the last point. Each point of the back lies
    on the line of sight of one in front: as no line of sight meets the surface twice, the body never meets itself.
    The rim's points are there for the walls too, which keeps its edges sharp; they are at the same place to the bit.
    """
    count = len(points)
    back = points * (points[:, 2:].max() + THICKNESS) / points[:, 2:]
    rim, edge = open_edges(faces).unique(return_inverse=True)
    walls = _walls(edge + 2 * count, edge + 2 * count + len(rim))
    every = torch.arange(count)
    source = torch.cat([every, every, rim, rim])
    points = torch.cat([points, back, points[rim], back[rim]])
    away = torch.tensor([0.0, 0.0, 1.0]).to(normals).expand(count, 3)
    normals = torch.cat([normals, away, vertex_normals(points, walls)[2 * count :]])
    return points, torch.cat([faces, faces.flip(1) + count, walls]), normals, source


def hang_skirt(points: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Points and triangles with a wall along the rim, 1 % deeper at its foot."""
    rim, edge = open_edges(faces).unique(return_inverse=True)
    return torch.cat([points, points[rim] * 1.01]), torch.cat([faces, _walls(rim[edge], edge + len(points))])


def _walls(above: Tensor, below: Tensor) -> Tensor:
    """(2E, 3) two triangles for each edge (E, 2) of the rim and the one below it, facing outward."""
    (here, there), (under, beyond) = above.unbind(1), below.unbind(1)
    return torch.cat([torch.stack([there, here, under], 1), torch.stack([there, under, beyond], 1)])


def _edges(faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(3F, 2) the triangles' directed edges, and a number for each of them and for its reverse."""
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    base = int(faces.max()) + 1 if len(faces) else 0
    return edges, edges[:, 0] * base + edges[:, 1], edges[:, 1] * base + edges[:, 0]
