"""A mesh's texture from the photograph itself: every texel looks for its own place in the picture.

A texel that the camera saw takes the photograph's pixel. One that it did not takes its mirror image's, relit: that is
what symmetry is good for. What neither side shows keeps the colour that the model made up. The light of the photograph
stays in the result.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from stages.core.camera import FOV, apply_view, project, rays_at, rotation
from stages.core.geometry import depth_normals
from stages.core.mesh import grid_mesh, to_camera
from stages.core.raster import cover, plane_depth

__all__ = ["feather", "photo_texture", "smoothstep", "texel_places"]

FINER = 4  # samples of the z-buffer per pixel of the depth map, each way
THICKNESS = 0.004  # metres behind the nearest surface that still count as visible: a pixel and a half of width
GRAZING, FACING = 0.2, 0.6  # cosine to the line of sight (78°, 53°) where a surface begins and ceases to be hard to see
EDGE = 1 / 24  # of the texture's side: half of that over which one source of colour gives way to the next
MOST_RELIT = 1.25  # factor either way by which a mirrored colour's light may change


@torch.no_grad()
def photo_texture(
    photo: Float[Tensor, "3 h w"],
    frame: tuple[float, float, float, float],
    depth: Float[Tensor, "s s"],
    view: Float[Tensor, " 6"],
    shading: Float[Tensor, "s s"],
    fallback: Float[Tensor, "3 s s"],
    confidence: Float[Tensor, "2 s s"] | None = None,
    *,
    fov: float = FOV,
    size: int,
) -> Float[Tensor, "3 size size"]:
    """The texture (3, size, size) in [0, 1] of the canonical surface; texel (i, j) covers [j, j+1) × [i, i+1) / size.

    photo: in [0, 1]. frame: where the model's input lies in it, x0, y0, x1, y1; pixel (u, v) covers [u, u+1) ×
    [v, v+1). depth: canonical, metres; view: of the input. shading: canonical; it relights what comes from the other
    side. fallback: canonical colours in [0, 1]. confidence: σ and σ' in the input view; where σ' exceeds σ the picture
    is not symmetric, and its mirror image counts for less.
    """
    places, visible = texel_places(depth, view, fov=fov, size=size)
    x0, y0, x1, y1 = frame
    height, width = photo.shape[1:]
    pixels = torch.stack([x0 + places[..., 0] * (x1 - x0), y0 + places[..., 1] * (y1 - y0)], -1)
    edge = pixels.new_tensor([width, height])
    own = _sample(photo, pixels / edge)
    visible = feather(visible * ((pixels >= 0) & (pixels <= edge)).all(-1), EDGE)

    relit = _grow(shading.clamp(min=1e-3) / shading.flip(-1).clamp(min=1e-3), size).clamp(1 / MOST_RELIT, MOST_RELIT)
    trust = visible
    if confidence is not None:
        trust = trust * _sample((confidence[0] / confidence[1]).clamp(max=1)[None], places)[0]
    base = F.interpolate(fallback[None], (size, size), mode="bilinear", align_corners=False)[0]
    behind = torch.lerp(base, own.flip(-1) * relit, trust.flip(-1))
    return torch.lerp(behind, own, visible).clamp(0, 1)


def texel_places(
    depth: Float[Tensor, "s s"], view: Float[Tensor, " 6"], *, fov: float = FOV, size: int
) -> tuple[Float[Tensor, "size size 2"], Float[Tensor, "size size"]]:
    """Where the input shows each texel of the canonical surface, (x, y) from (0, 0) to (1, 1) over its whole pixels,
    and how well, from 0 (turned away, behind something) to 1. A turned surface may reach out of the input."""
    side, view = len(depth), view[None]
    column = (torch.arange(size, dtype=depth.dtype) + 0.5) / size * side - 0.5
    v, u = torch.meshgrid(column, column, indexing="ij")
    points = apply_view((rays_at(u, v, side, side, fov) * _grow(depth, size)[..., None])[None], view)[0]
    at = project(points, side, side, fov)
    places = (at + 0.5) / side

    normal = depth_normals(depth[None], fov) @ rotation(view[:, :3]).mT[:, None]
    normal = F.interpolate(normal.movedim(-1, 1), (size, size), mode="bilinear", align_corners=False)[0].movedim(0, -1)
    facing = (F.normalize(normal, dim=-1) * F.normalize(points, dim=-1)).sum(-1)
    visible = smoothstep((facing - GRAZING) / (FACING - GRAZING))

    mesh, fine = grid_mesh(depth, view=view[0], fov=fov), FINER * side
    surface = to_camera(mesh.vertices)[None]
    nearest, covered = plane_depth(surface, mesh.faces, cover(surface, mesh.faces, fine, fine, fov), fine, fine, fov)
    nearest = torch.where(covered, nearest, torch.inf)[0]
    column, row = (at / (side - 1) * (fine - 1)).round().long().clamp(0, fine - 1).unbind(-1)
    behind = points[..., 2] - nearest[row, column]
    outside = ((places < 0) | (places > 1)).any(-1)
    return places, visible * smoothstep(2 - behind / THICKNESS).masked_fill(outside, 1.0)


def smoothstep(x: Tensor) -> Tensor:
    """0 below 0, 1 above 1, 3x² - 2x³ between: without a corner."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def _grow(values: Float[Tensor, "s s"], size: int) -> Float[Tensor, "size size"]:
    return F.interpolate(values[None, None], (size, size), mode="bilinear", align_corners=False)[0, 0]


def _sample(picture: Float[Tensor, "c h w"], places: Float[Tensor, "n m 2"]) -> Float[Tensor, "c n m"]:
    """The picture at places from (0, 0) to (1, 1), its outer edges."""
    return F.grid_sample(picture[None], 2 * places[None] - 1, align_corners=False, padding_mode="border")[0]


def feather(weight: Float[Tensor, "s s"], edge: float, *, at_border: bool = False) -> Float[Tensor, "s s"]:
    """Lowered to a soft ramp beside what is low, twice ``edge`` of the side wide, and never raised.

    ``at_border`` takes what is outside for 0."""
    reach = max(1, round(edge * len(weight)))
    ramp = F.pad(weight[None, None], (reach + 1,) * 4) if at_border else weight[None, None]
    rows, columns = ((2 * reach + 1, 1), (reach, 0)), ((1, 2 * reach + 1), (0, reach))
    for kernel, padding in (rows, columns):
        ramp = -F.max_pool2d(-ramp, kernel, 1, padding)
    for kernel, padding in (rows, columns):
        ramp = F.avg_pool2d(ramp, kernel, 1, padding, count_include_pad=False)
    return (ramp[..., reach + 1 : -reach - 1, reach + 1 : -reach - 1] if at_border else ramp)[0, 0]
