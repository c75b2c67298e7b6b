"""Look at a finished mesh from anywhere: the novel views of the sheets and turntables. Pictures, not gradients."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from stages.core import raster
from stages.core.camera import pixel_rays, rotation
from stages.core.mesh import Mesh, to_camera

__all__ = ["render_mesh"]

BACKGROUND = 0.92

# The camera stands 1 m before the mesh's origin: 12° frames what the method's 10° saw, with room for corners to swing.
FOV = 12.0


@torch.no_grad()
def render_mesh(mesh: Mesh, texture: Tensor, yaw: Tensor, *, size: int = 192) -> Tensor:
    """Textured pictures of a mesh, (B, 3, size, size) in [0, 1], antialiased 2×2, on a light grey background.

    texture: (3, H, W) in [0, 1], shading included; yaw: (B,) degrees, positive turns the front to the picture's right.

    A pixel's ray r meets the triangle (v₀, v₁, v₂) at perspective-correct weights wᵢ ∝ r · (vⱼ × vₖ).
    """
    fine = 2 * size
    rays = pixel_rays(fine, fine, FOV, device=mesh.vertices.device, dtype=mesh.vertices.dtype)
    pictures = []
    for angle in yaw.tolist():
        # One at a time: a batch of large pictures would hold nine floats a pixel for each of them.
        turn = rotation(torch.tensor([[0.0, angle, 0.0]]).deg2rad())[0].to(mesh.vertices)
        points = to_camera(mesh.vertices @ turn.T)
        cover = raster.cover(points[None], mesh.faces, fine, fine, FOV)[0]
        seen = cover >= 0
        triangles = mesh.faces[cover[seen].long()]
        a, b, c = points[triangles].unbind(1)
        weights = torch.stack([torch.linalg.cross(p, q) for p, q in ((b, c), (c, a), (a, b))], 1)
        weights = (weights * rays[seen][:, None]).sum(-1)
        weights = weights / weights.sum(-1, keepdim=True)
        uv = (weights[..., None] * mesh.uv[triangles]).sum(1)
        where = torch.stack([2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1]], -1)
        colour = grid_sample(texture[None], where[None, None], align_corners=False, padding_mode="border")[0, :, 0]
        picture = torch.full((3, fine, fine), BACKGROUND, dtype=texture.dtype, device=texture.device)
        picture[:, seen] = colour
        pictures.append(avg_pool2d(picture[None], 2)[0])
    return torch.stack(pictures)
