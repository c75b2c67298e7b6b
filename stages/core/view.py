"""Look at a finished mesh from anywhere: the novel views of the sheets and turntables. Pictures, not gradients."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from stages.core import raster
from stages.core.camera import pixel_rays, rotation
from stages.core.mesh import Mesh, to_camera

__all__ = ["render_mesh"]

BACKGROUND = 0.92

# The camera stands 1 m before the mesh's origin: 13° frames what the method's 10° saw, with room for corners to swing.
FOV = 13.0


@torch.no_grad()
def render_mesh(mesh: Mesh, texture: Tensor, yaw: Tensor, *, size: int = 192) -> Tensor:
    """Textured pictures of a mesh, (B, 3, size, size) in [0, 1], antialiased 2×2, on a light grey background.

    texture: (3, H, W) in [0, 1], shading included; yaw: (B,) degrees, positive turns the front to the picture's right.

    A pixel's ray r meets the triangle (v₀, v₁, v₂) at perspective-correct weights wᵢ ∝ r · (vⱼ × vₖ), so its texture
    coordinate is Σ wᵢ uvᵢ / Σ wᵢ: a projective map of r, one 3×3 matrix per triangle. In float64, because
    triangles of a pixel's size are differences of nearly equal vectors.
    """
    fine = 2 * size
    vertices, uv = mesh.vertices.double(), mesh.uv.double()
    corner_uv = torch.cat([uv, torch.ones_like(uv[:, :1])], 1)[mesh.faces]
    rays = pixel_rays(fine, fine, FOV, device=vertices.device, dtype=vertices.dtype)
    pictures = []
    for angle in yaw.tolist():
        # One at a time: a batch of large pictures would hold nine floats a pixel for each of them.
        turn = rotation(torch.tensor([[0.0, angle, 0.0]]).deg2rad())[0].to(vertices)
        points = to_camera(vertices @ turn.T)
        cover = raster.cover(points[None].to(mesh.vertices), mesh.faces, fine, fine, FOV)[0]
        seen = cover >= 0
        a, b, c = points[mesh.faces].unbind(1)
        edges = torch.stack([torch.linalg.cross(p, q) for p, q in ((b, c), (c, a), (a, b))], 1)
        maps = corner_uv.mT @ edges
        across, up, scale = (maps[cover[seen].long()] @ rays[seen][:, :, None])[..., 0].unbind(-1)
        where = torch.stack([2 * across / scale - 1, 1 - 2 * up / scale], -1).to(texture)
        colour = grid_sample(texture[None], where[None, None], align_corners=False, padding_mode="border")[0, :, 0]
        picture = torch.full((3, fine, fine), BACKGROUND, dtype=texture.dtype, device=texture.device)
        picture[:, seen] = colour
        pictures.append(avg_pool2d(picture[None], 2)[0])
    return torch.stack(pictures)
