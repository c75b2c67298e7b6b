"""How much of a result to lay over a photograph: light as a factor, a turned surface as a picture with its coverage."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from stages.core import view as looking
from stages.core.camera import FOV, focal_length, rotation, view_sources
from stages.core.geometry import depth_normals
from stages.core.lighting import shade
from stages.core.mesh import Mesh
from stages.core.texture import feather

__all__ = ["picture_scale", "relit_factor", "turned_picture"]

DARKEST = 0.1  # shading below which the photograph holds no colour that more light could bring out
MOST = 3.0  # by which light may grow or fall
RELIT_EDGE = 1 / 10  # of the side: what fades out twice over at the edge of a relit surface
TURNED_EDGE = 1 / 40


@torch.no_grad()
def relit_factor(
    canonical_depth: Float[Tensor, "s s"],
    depth: Float[Tensor, "s s"],
    valid: Tensor,
    view: Float[Tensor, " 6"],
    old: Float[Tensor, " 5"],
    new: Float[Tensor, " 5"],
    fov: float = FOV,
) -> Float[Tensor, "s s"]:
    """What the input's pixels are multiplied by when the light changes: new shading by old, 1 at and beyond the edge of
    the surface.

    depth, valid (bool): of the input view. Lights: ambient, diffuse and the unit direction that it shines in, in the
    canonical frame.
    """
    normal = depth_normals(canonical_depth[None], fov)
    before, after = (shade(normal, light[:1], light[1:2], light[None, 2:]).clamp(min=DARKEST) for light in (old, new))
    factor = (after / before).clamp(1 / MOST, MOST)
    factor = F.grid_sample(factor[None], view_sources(depth[None], view[None], fov), align_corners=True)[0, 0]
    weight = feather(valid.to(factor), RELIT_EDGE, at_border=True)
    return 1 + weight * (factor - 1)


@torch.no_grad()
def turned_picture(
    mesh: Mesh, texture: Float[Tensor, "3 h w"], view: Float[Tensor, " 6"], yaw: float, *, size: int
) -> tuple[Float[Tensor, "3 size size"], Float[Tensor, "size size"]]:
    """A posed mesh turned by ``yaw`` degrees more about its own upright axis (positive: its front to the picture's
    right), as the input's camera sees it; and how opaque it is, fading towards its edge.

    The picture shows more than the input: ``picture_scale`` times its side.
    """
    pivot = mesh.vertices.new_tensor([view[3], -view[4], -view[5]])
    turn = rotation(mesh.vertices.new_tensor([[0.0, yaw, 0.0]]).deg2rad())[0]
    turned = replace(mesh, vertices=(mesh.vertices - pivot) @ turn.T + pivot)
    ahead = torch.zeros(1, 6)
    # Whatever lies behind it, white less black is the share of a pixel that it covers.
    black, white = (
        looking.render_mesh(turned, torch.full((1, 3, 2, 2), shade), ahead, size=size)[0] for shade in (0.0, 1.0)
    )
    covered = (white - black)[0].clamp(0, 1)
    colour = (looking.render_mesh(turned, texture[None], ahead, size=size)[0] - black) / covered.clamp(min=1e-3)
    return colour.clamp(0, 1), feather(covered, TURNED_EDGE, at_border=True)


def picture_scale(side: int, fov: float, size: int) -> float:
    """How many times as wide as an input of ``side`` pixels a picture of ``size`` pixels by ``turned_picture`` is."""
    return size * focal_length(side, fov) / focal_length(size, looking.FOV) / side
