"""PyTorch3D as a backend, where it is installed: slower on the CPU, an independent check of ours everywhere.

Its frame is x left, y up, with the image's shorter side spanning [-1, 1] between outer pixel *borders*.
It computes in float32, so at folds and silhouettes a few pixels see a neighbouring triangle, and it does not clip
triangles that cross the camera plane.
"""

import torch
from torch import Tensor

from stages.core.raster.lattice import Lattice

__all__ = ["cover", "is_available"]

BLUR_RADIUS = 1e-10  # its inside test is strict; this squared distance makes it inclusive


def is_available() -> bool:
    try:
        from pytorch3d import _C  # noqa: F401
    except ImportError:
        return False
    return True


def cover(points: Tensor, faces: Tensor, lattice: Lattice) -> Tensor:
    """(B,V,3), (F,3) → (B, lattice.height, lattice.width) int32: nearest covering triangle or -1."""
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.structures import Meshes

    x, y, z = points.detach().float().unbind(-1)
    u, v = lattice.focal * x / z + lattice.centre_u, lattice.focal * y / z + lattice.centre_v
    shorter = min(lattice.height, lattice.width)
    screen = torch.stack([(lattice.width - 1 - 2 * u) / shorter, (lattice.height - 1 - 2 * v) / shorter, z], -1)
    meshes = Meshes(screen, faces.to(points.device).expand(len(points), -1, -1))
    face = rasterize_meshes(
        meshes,
        image_size=(lattice.height, lattice.width),
        blur_radius=BLUR_RADIUS,
        faces_per_pixel=1,
        perspective_correct=True,
        cull_backfaces=False,
    )[0][..., 0]
    first = torch.arange(len(points), device=points.device).view(-1, 1, 1) * len(faces)  # faces are numbered per batch
    return torch.where(face < 0, face, face - first).int()
