"""A mesh as the method's camera sees it: maps of depth and normals."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from stages.core import raster
from stages.core.camera import FOV, pixel_rays
from stages.core.mesh import Mesh, to_camera

__all__ = ["mesh_maps"]


@torch.no_grad()
def mesh_maps(mesh: Mesh, size: int, fov: float = FOV) -> tuple[Tensor, Tensor]:
    """Depth (size, size) in metres along the optical axis, 0 where no surface is seen; and unit normals (size, size,
    3), x right, y up, z towards the viewer, (0, 0, 1) there.

    The camera is that of docs/conventions.md at this size: a map as large as the prediction's has the prediction's
    depth at its pixels. A pixel's ray r meets (v₀, v₁, v₂) at weights wᵢ ∝ r · (vⱼ × vₖ), and there the vertices'
    normals are mixed.
    """
    points = to_camera(mesh.vertices.double())
    cover = raster.cover(points[None].float(), mesh.faces, size, size, fov)[0]
    seen = cover >= 0
    corners = mesh.faces[cover[seen].long()]
    a, b, c = points[corners].unbind(1)
    rays = pixel_rays(size, size, fov, dtype=points.dtype)[seen]
    edges = torch.stack([torch.linalg.cross(p, q) for p, q in ((b, c), (c, a), (a, b))], 1)
    weights = (edges @ rays[:, :, None])[..., 0]
    weights = weights / weights.sum(1, keepdim=True)
    depth, normals = torch.zeros(size, size), torch.tensor([0.0, 0.0, 1.0]).repeat(size, size, 1)
    # The point is Σ wᵢ vᵢ, and lies on the ray, whose z is 1.
    depth[seen] = (weights * torch.stack([a, b, c], 1)[..., 2]).sum(1).float()
    normals[seen] = normalize((weights[..., None] * mesh.normals[corners]).sum(1), dim=-1).float()
    return depth, normals
