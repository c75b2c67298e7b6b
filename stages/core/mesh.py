"""From a depth grid to a triangle mesh that other programs open the right way up."""

from dataclasses import dataclass

import fast_simplification
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from stages.core.camera import FOV, apply_view, project, rays_at, rotation
from stages.core.raster import grid_faces
from stages.core.solid import close, hang_skirt, manifold, open_edges
from stages.core.spline import fill, spline_matrix
from stages.core.trim import TRIM, faces_within, kept_faces, vertex_normals

__all__ = ["Mesh", "grid_mesh", "to_camera", "to_world"]

COARSEST = 8  # rows and columns of a grid that few triangles are taken from
# fast_simplification takes edges in the order of their error only above a fixed error. At 100 units to the metre our
# shapes are above it: at a third of their triangles they then keep to within 0.03 mm, without it to within 0.08 mm.
SIMPLIFY_SCALE = 100.0


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


def grid_mesh(
    depth: Tensor,
    *,
    view: Tensor | None = None,
    fov: float = FOV,
    resolution: int | None = None,
    triangles: int | None = None,
    solid: bool = False,
) -> Mesh:
    """The surface of a canonical depth map, trimmed of its rim.

    depth: (H, W) metres; view: (6,) to place the surface as the input saw it (angles in radians, translation in
    metres), None for the canonical pose; fov: horizontal field of view in degrees. resolution: vertices along each
    side, on a bicubic spline through the depths; None for one per pixel. triangles: at most so many, the flat parts
    first to lose theirs; None for all. solid: closed by a flat back, watertight where vertices at one place are one.

    Left out are the TRIM outer columns (two of them are clamped to the border depth) and as many rows; runs of
    triangles steeper than STEEP_DEGREES to the line of sight that reach the outer eighth; whatever is then not
    connected with the largest piece; and vertices without a triangle. If that took more than half of the triangles,
    the shape is rough all over and only the outer rows and columns go. What is left out depends neither on the pose
    nor on the resolution; a solid also loses what hangs on by a single point.

    Normals are those of the full surface, however few triangles are left. Raises ValueError when the depth is not a
    finite, positive (H, W) grid of at least 8×8, or the surface is too rough for so few triangles or for a body.
    """
    if depth.ndim != 2 or min(depth.shape) < 8 or not bool((depth.isfinite() & (depth > 0)).all()):
        raise ValueError(f"depth must be a finite, positive grid of at least 8×8, not {tuple(depth.shape)}")
    depth = depth.detach().double().cpu()
    kept, own = kept_faces(depth, fov), tuple(side - 2 * TRIM for side in depth.shape)
    shape = own if resolution is None else (resolution, resolution)
    full_shape = tuple(map(max, own, shape))
    full = _surface(depth, kept, full_shape, fov)
    points, faces = full if shape == full_shape else _surface(depth, kept, shape, fov)
    if solid:
        faces = manifold(faces, len(points))
    if triangles is not None:
        while (simpler := _simplified(points, faces, triangles, solid)) is None:
            # The outline alone has more: it has fewer vertices where there are fewer rows and columns.
            shape = tuple(side // 2 for side in shape)
            if min(shape) < COARSEST:
                raise ValueError(f"its surface cannot be had with {triangles} triangles")
            points, faces = _surface(depth, kept, shape, fov)
            faces = manifold(faces, len(points)) if solid else faces
        points, faces = simpler
    used, faces = faces.unique(return_inverse=True)
    points = points[used]

    pixels = project(points, *depth.shape, fov)
    normals = _normals_at(pixels, depth.shape, *full, full_shape)
    if solid:
        points, faces, normals, source = close(points, faces, normals)
        pixels = pixels[source]
    if view is not None:
        view = view.detach().double().cpu()
        points, normals = apply_view(points[None], view[None])[0], normals @ rotation(view[None, :3])[0].T
    u, v = ((pixels + 0.5) / torch.tensor([depth.shape[1], depth.shape[0]])).unbind(-1)
    uv = torch.stack([u, 1 - v], -1)
    return Mesh(to_world(points).float(), faces, (normals * torch.tensor([1, -1, -1])).float(), uv.float())


def _surface(depth: Tensor, kept: Tensor, shape: tuple[int, int], fov: float) -> tuple[Tensor, Tensor]:
    """Vertices (rows·columns, 3), evenly over the trimmed picture, and the triangles (F, 3) between them that lie in
    a ``kept`` one of the depth's own grid; all in the camera frame."""
    rows, columns = (
        torch.linspace(TRIM, side - 1 - TRIM, count, dtype=depth.dtype)
        for side, count in zip(depth.shape, shape, strict=True)
    )
    v, u = torch.meshgrid(rows, columns, indexing="ij")
    known = torch.zeros(depth.numel(), dtype=torch.bool)
    known[grid_faces(*depth.shape)[kept]] = True
    inner = fill(depth, known.view(depth.shape))[TRIM:-TRIM, TRIM:-TRIM]
    down, across = spline_matrix(rows - TRIM, inner.shape[0]), spline_matrix(columns - TRIM, inner.shape[1])
    points = (down @ inner @ across.T)[..., None] * rays_at(u, v, *depth.shape, fov)
    return points.flatten(0, 1), faces_within(kept, depth.shape, u, v)


def _simplified(points: Tensor, faces: Tensor, triangles: int, solid: bool) -> tuple[Tensor, Tensor] | None:
    """The same surface with at most so many triangles, counting those that a ``solid`` will get; None where that fails.

    A bare rim costs nothing to move inwards, and corners would be lost. A skirt makes it a sharp edge, which does
    cost; the rim is never joined with the skirt's foot, the new rim, so what doesn't touch that is the surface.
    """
    target = triangles // 2 if solid else triangles
    while _final_count(faces, solid) > triangles:
        points, cloth = hang_skirt(points, faces)
        vertices, corners = fast_simplification.simplify(
            points.numpy() * SIMPLIFY_SCALE, cloth.numpy().astype(np.int32), target_count=target
        )
        stuck = len(corners) == len(cloth)
        points, cloth = torch.from_numpy(vertices / SIMPLIFY_SCALE), torch.from_numpy(corners).long()
        faces = cloth[~torch.isin(cloth, open_edges(cloth)).any(1)]
        if stuck or not len(faces):
            return None
        if solid:
            faces = manifold(faces, len(points))
        target = target * 7 // 8
    return points, faces


def _final_count(faces: Tensor, solid: bool) -> int:
    """How many triangles there will be: a solid has them all again on its back, and two for each edge of the rim."""
    return 2 * (len(faces) + len(open_edges(faces))) if solid else len(faces)


def _normals_at(pixels: Tensor, size: tuple[int, int], points: Tensor, faces: Tensor, shape: tuple[int, int]) -> Tensor:
    """Unit normals (V, 3) of the surface whose vertices are a grid of that shape over the trimmed picture."""
    normals = vertex_normals(points, faces)
    known = normals.any(-1).view(shape)
    field = fill(normals.T.reshape(3, *shape), known)
    where = (pixels - TRIM) / (torch.tensor([size[1], size[0]]) - 1 - 2 * TRIM) * 2 - 1
    sampled = grid_sample(field[None], where[None, None], align_corners=True, padding_mode="border")[0, :, 0].T
    return normalize(sampled, dim=-1)
