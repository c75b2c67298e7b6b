"""The pinhole camera and the rigid viewpoint: from pixels and depth to points, and back.

**Convention:** camera frame x right, y down, z forward. Pixel centres lie at integer (u, v) in [0, W-1]×[0, H-1], and
the field of view spans the *outermost pixel centres* (align_corners=True), so f = (W-1) / (2 tan(fov/2)). Depth is
metric z.
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "FOV",
    "apply_view",
    "back_project",
    "focal_length",
    "intrinsics",
    "pixel_rays",
    "project",
    "rays_at",
    "rotation",
    "view_points",
    "view_sources",
]

FOV = 10.0  # degrees, horizontal
ROTATION_CENTRE = (0.0, 0.0, 1.0)


def focal_length(width: int, fov: float = FOV) -> float:
    """f = (W-1) / (2 tan(fov/2)) in pixels, for a horizontal field of view in degrees."""
    return (width - 1) / (2 * math.tan(math.radians(fov) / 2))


def intrinsics(height: int, width: int, fov: float = FOV) -> Float[Tensor, "3 3"]:
    """K in pixels (float64) for a horizontal field of view in degrees."""
    focal, centre_u, centre_v = focal_length(width, fov), (width - 1) / 2, (height - 1) / 2
    return torch.tensor([[focal, 0, centre_u], [0, focal, centre_v], [0, 0, 1]], dtype=torch.float64)


def rays_at(
    u: Float[Tensor, "*n"], v: Float[Tensor, "*n"], height: int, width: int, fov: float = FOV
) -> Float[Tensor, "*n 3"]:
    """K⁻¹ (u, v, 1)ᵀ: the points at depth 1 that appear at pixel coordinates (u, v)."""
    return torch.stack([u, v, torch.ones_like(u)], -1) @ intrinsics(height, width, fov).inverse().T.to(u)


@lru_cache(maxsize=64)
def pixel_rays(
    height: int, width: int, fov: float = FOV, *, device=None, dtype=torch.float32
) -> Float[Tensor, "h w 3"]:
    """:func:`rays_at` for every pixel. Cached: do not write to it."""
    with torch.inference_mode(False):  # a cached inference tensor could not serve training later
        v, u = torch.meshgrid(
            torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64), indexing="ij"
        )
        return rays_at(u, v, height, width, fov).to(device=device, dtype=dtype)


def back_project(depth: Float[Tensor, "b h w"], fov: float = FOV) -> Float[Tensor, "b h w 3"]:
    """P(u, v) = d(u, v) · K⁻¹ (u, v, 1)ᵀ, in the units of the depth."""
    return depth[..., None] * pixel_rays(*depth.shape[-2:], fov, device=depth.device, dtype=depth.dtype)


def project(points: Float[Tensor, "*b 3"], height: int, width: int, fov: float = FOV) -> Float[Tensor, "*b 2"]:
    """Pixel coordinates (u, v) of camera-frame points."""
    u, v = (points[..., :2] / points[..., 2:] * focal_length(width, fov)).unbind(-1)
    return torch.stack([u + (width - 1) / 2, v + (height - 1) / 2], -1)  # no constant that a GPU would wait for


def rotation(angles: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3 3"]:
    """R = R_z(γ) R_y(β) R_x(α) for angles (α, β, γ) in radians."""
    (sa, sb, sg), (ca, cb, cg) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    rows = [
        [cg * cb, cg * sb * sa - sg * ca, cg * sb * ca + sg * sa],
        [sg * cb, sg * sb * sa + cg * ca, sg * sb * ca - cg * sa],
        [-sb, cb * sa, cb * ca],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def apply_view(points: Float[Tensor, "b *n 3"], view: Float[Tensor, "b 6"]) -> Float[Tensor, "b *n 3"]:
    """Canonical to input view: P' = R (P - c) + c + t, with view = (α, β, γ, t_x, t_y, t_z) and c = (0, 0, 1)."""
    centre = _rotation_centre(points.device, points.dtype)
    flat = (points - centre).flatten(1, -2)
    moved = flat @ rotation(view[:, :3]).mT + (centre + view[:, None, 3:])
    return moved.reshape(points.shape)


def view_points(
    depth: Float[Tensor, "b h w"], view: Float[Tensor, "b 6"], fov: float = FOV
) -> Float[Tensor, "b h w 3"]:
    """A canonical depth map as the viewpoint sees it: ``apply_view(back_project(depth, fov), view)``, quicker."""
    shift = _rotation_centre(view.device, view.dtype) + view[:, 3:]
    return torch.stack(_turned(depth, rotation(view[:, :3]), shift, fov), -1)


def view_sources(
    depth: Float[Tensor, "b h w"], view: Float[Tensor, "b 6"], fov: float = FOV
) -> Float[Tensor, "b h w 2"]:
    """Where in the canonical image the pixels of an input-view depth map come from: P = Rᵀ (P' - t - c) + c, projected.

    Normalised coordinates, (-1, -1) and (1, 1) the outermost pixel centres, as grid_sample has them with align_corners.
    """
    height, width = depth.shape[-2:]
    back = rotation(view[:, :3]).mT
    shift = _rotation_centre(view.device, view.dtype) - (back @ view[:, 3:, None])[..., 0]
    x, y, z = _turned(depth, back, shift, fov)
    across = 1 / math.tan(math.radians(fov) / 2)
    down = across * (width - 1) / (height - 1)
    return torch.stack([x / z * across, y / z * down], -1)


def _turned(depth: Tensor, turn: Float[Tensor, "b 3 3"], shift: Float[Tensor, "b 3"], fov: float) -> tuple[Tensor, ...]:
    """x, y and z of R (P - c) + s for the points P = d·(x, y, 1) of a depth map, each (B, H, W).

    R (P - c) = (d - 1)·R (x, y, 1) + R (x, y, 0): the rays are turned, in one matrix product for the whole batch, and
    not each image's points. Planes rather than triples, because loops over three numbers are slow.
    """
    height, width = depth.shape[-2:]
    plane = _ray_plane(height, width, fov, device=depth.device, dtype=depth.dtype)
    flat = (turn[:, :, :2].flatten(0, 1) @ plane).view(-1, 3, height, width)
    shift, ahead = shift[..., None, None], turn[:, :, 2, None, None]
    return torch.addcmul(flat + shift, (depth - 1)[:, None], flat + ahead).unbind(1)


@lru_cache(maxsize=16)
def _rotation_centre(device, dtype) -> Float[Tensor, " 3"]:
    """Cached, because a constant that is copied to a GPU at every step makes the host wait for it."""
    with torch.inference_mode(False):
        return torch.tensor(ROTATION_CENTRE, device=device, dtype=dtype)


@lru_cache(maxsize=64)
def _ray_plane(height: int, width: int, fov: float, *, device, dtype) -> Float[Tensor, "2 n"]:
    """x and y of every pixel's ray. Cached: do not write to it."""
    with torch.inference_mode(False):
        return pixel_rays(height, width, fov, device=device, dtype=dtype)[..., :2].flatten(0, 1).T.contiguous()
