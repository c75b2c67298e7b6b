"""Look at a finished mesh from anywhere: sheets, videos, relit pictures. Pictures, not gradients."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from stages.core import raster
from stages.core.camera import apply_view
from stages.core.mesh import Mesh, to_camera
from stages.core.paint import paint
from stages.core.raster.lattice import Lattice, make_lattice

__all__ = ["BACKGROUND", "FOV", "paint_reference", "render_mesh", "yaw_views"]

BACKGROUND = (0.92, 0.92, 0.92)

# The camera stands 1 m before the mesh's origin: 13° frames what the method's 10° saw, with room for corners to swing.
FOV = 13.0


def yaw_views(degrees: Sequence[float]) -> Tensor:
    """(B, 6) viewpoints that turn a canonical mesh by so many degrees, positive its front to the picture's right."""
    views = torch.zeros(len(degrees), 6)
    views[:, 1] = -torch.as_tensor(degrees, dtype=torch.float32).deg2rad()
    return views


@torch.no_grad()
def render_mesh(
    mesh: Mesh,
    textures: Tensor,
    views: Tensor,
    *,
    size: int = 192,
    fov: float = FOV,
    background: Sequence[float] = BACKGROUND,
    painter: Callable[..., Tensor] | None = None,
) -> Tensor:
    """Textured pictures of a canonical mesh, (B, 3, size, size) in [0, 1], antialiased 2×2.

    textures: (1 or B, 3, H, W) in [0, 1], shading included; views: (B, 6) as :func:`stages.core.camera.apply_view`
    takes them; fov: degrees between the outermost pixel centres. The result lies where the textures do; on CUDA the
    triangles are found there too. painter: ``paint`` on a CPU and ``paint_reference`` elsewhere, unless given.

    A pixel's ray r meets the triangle (v₀, v₁, v₂) at perspective-correct weights wᵢ ∝ r · (vⱼ × vₖ), so its texture
    coordinate is Σ wᵢ uvᵢ / Σ wᵢ. In float64, because triangles of a pixel's size are differences of nearly equal
    vectors.
    """
    device = textures.device
    points = apply_view(to_camera(mesh.vertices).expand(len(views), -1, 3).double(), views.cpu().double()).to(device)
    faces, uv = mesh.faces.to(device), mesh.uv.to(device, torch.float64)
    cover = raster.cover(points.float(), faces, size, size, fov, samples=2)
    colour = torch.tensor(background, dtype=torch.float64, device=device)
    painter = painter or (paint if device.type == "cpu" else paint_reference)
    return painter(points, faces, uv, textures, cover, make_lattice(size, size, fov, 2), colour)


def paint_reference(
    points: Tensor, faces: Tensor, uv: Tensor, textures: Tensor, cover: Tensor, lattice: Lattice, background: Tensor
) -> Tensor:
    """What :func:`stages.core.paint.paint` does, in plain torch on any device, all samples looked up alike."""
    corner_uv = torch.cat([uv, torch.ones_like(uv[:, :1])], 1)[faces]
    rays = lattice.rays(points.device)
    pictures = []
    for index in range(len(points)):  # a batch of large pictures would hold nine doubles a sample for each of them
        seen = cover[index] >= 0
        a, b, c = points[index][faces].unbind(1)
        edges = torch.stack([torch.linalg.cross(p, q) for p, q in ((b, c), (c, a), (a, b))], 1)
        maps = corner_uv.mT @ edges  # a projective map of the ray for each triangle
        across, up, scale = (maps[cover[index][seen].long()] @ rays[seen][:, :, None])[..., 0].unbind(-1)
        texture = textures[index % len(textures)]
        where = torch.stack([2 * across / scale - 1, 1 - 2 * up / scale], -1).to(texture)
        colour = grid_sample(texture[None], where[None, None], align_corners=False, padding_mode="border")[0, :, 0]
        fine = background.to(texture)[:, None, None].repeat(1, *seen.shape)
        fine[:, seen] = colour
        pictures.append(avg_pool2d(fine[None], 2)[0])
    return torch.stack(pictures)
