"""The rasteriser in plain torch: every triangle against every sample. Slow, short, and what the kernels are tested by.

With vertices q₀, q₁, q₂ in homogeneous sample coordinates (K v) and a sample p = (u, v, 1):

    eᵢ = p · (qⱼ × qₖ) / det(q₀, q₁, q₂)      edge functions: all ≥ 0 exactly where the ray meets the triangle in front
    1/z = e₀ + e₁ + e₂                         inverse depth of the triangle's plane at the sample

which needs no clipping: vertices behind the camera have a negative third coordinate and the signs come out right.
eᵢ / (|∂eᵢ/∂u| + |∂eᵢ/∂v|) is a distance to the edge in samples; the tolerances are stated in it.
"""

import torch
from torch import Tensor

from stages.core.raster.cpu import DEGENERATE, LOOSE, STRAY, STRICT, TIE
from stages.core.raster.lattice import Lattice

__all__ = ["cover", "plane_depth"]

CHUNK = 512  # triangles tested at once


def cover(points: Tensor, faces: Tensor, lattice: Lattice) -> Tensor:
    """(B,V,3), (F,3) → (B, lattice.height, lattice.width) int32: nearest covering triangle or -1."""
    to_samples = points.new_tensor(
        [[lattice.focal, 0, lattice.centre_u], [0, lattice.focal, lattice.centre_v], [0, 0, 1]], dtype=torch.float64
    )
    vertices = points.detach().double() @ to_samples.T
    shape = (len(points), lattice.height, lattice.width)
    best = vertices.new_full(shape, -torch.inf)
    face = torch.full(shape, -1, dtype=torch.int32, device=points.device)
    for corners, key, index in zip(vertices, best, face, strict=True):
        for start in range(0, len(faces), CHUNK):
            _draw(corners[faces[start : start + CHUNK]], start, key, index)
    return face


def _draw(triangles: Tensor, start: int, best: Tensor, face: Tensor) -> None:
    """Draw (F,3,3) triangles numbered from ``start`` into the z-buffer ``best`` and ``face`` (H,W), in place."""
    q0, q1, q2 = triangles.unbind(1)
    edges = torch.stack([torch.linalg.cross(q1, q2), torch.linalg.cross(q2, q0), torch.linalg.cross(q0, q1)], 1)
    det = (q0 * edges[:, 0]).sum(-1)
    near, far = triangles[..., 2].amin(1)[:, None, None], triangles[..., 2].amax(1)[:, None, None]
    edges = edges / det[:, None, None]
    v, u = torch.meshgrid(torch.arange(face.shape[0]), torch.arange(face.shape[1]), indexing="ij")
    samples = torch.stack([u, v, torch.ones_like(u)]).to(edges)
    value = torch.einsum("fkc,chw->fkhw", edges, samples)
    distance = value / edges[..., :2].abs().sum(-1)[..., None, None]
    inverse_depth = value.sum(1)

    solid = (det.abs() > DEGENERATE * far.flatten().clamp(min=0) ** 3)[:, None, None] & (far > 0) & (inverse_depth > 0)
    strict = solid & (distance >= -STRICT).all(1)
    loose = solid & (distance >= -LOOSE * max(face.shape)).all(1) & _in_box(triangles, samples, max(face.shape))
    loose &= (inverse_depth * near <= 1 + STRAY) & (inverse_depth * far >= 1 - STRAY)
    key = torch.where(strict, inverse_depth, torch.where(loose, -1 / inverse_depth, -torch.inf))

    top = key.amax(0)
    first = (key >= top - TIE * top.abs()).to(torch.uint8).argmax(0).int() + start
    won = (strict | loose).any(0) & ((face < 0) | (top > best + TIE * best.abs()))
    best[won], face[won] = top[won], first[won]


def _in_box(triangles: Tensor, samples: Tensor, size: int) -> Tensor:
    """(F,H,W): is the sample in the triangle's bounding box? It has none when it crosses the camera plane."""
    corner = (triangles[..., :2] / triangles[..., 2:])[..., None, None]  # F,3,2,1,1
    low, high = corner.amin(1) - LOOSE * size, corner.amax(1) + LOOSE * size
    crosses = (triangles[..., 2] <= 0).any(1)[:, None, None]
    return crosses | ((samples[:2] >= low) & (samples[:2] <= high)).all(1)


def plane_depth(points: Tensor, faces: Tensor, face: Tensor, lattice: Lattice) -> Tensor:
    """depth = (n·v₀)/(n·r), n the covering triangle's normal, r the sample's ray; 0 where uncovered.

    (B,V,3), (F,3), (B,H,W) → (B,H,W). Autograd does the rest.
    """
    image, row, column = torch.where(face >= 0)
    corners = points.double()[image[:, None], faces[face[image, row, column].long()]]  # N,3,3
    v0, v1, v2 = corners.unbind(1)
    normal = torch.linalg.cross(v1 - v0, v2 - v0)
    ray = lattice.rays(points.device)[row, column]
    depth = (normal * v0).sum(-1) / (normal * ray).sum(-1)
    return points.new_zeros(face.shape).index_put((image, row, column), depth.to(points.dtype))
