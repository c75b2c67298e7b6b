"""Render any triangle mesh with colours at its vertices, with ground truth, in plain torch on any device."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.core import raster
from stages.core.camera import FOV, apply_view, project
from stages.data.appearance import EDGE_ON, sample_positions
from stages.data.surfaces import SAMPLES, Rendering

__all__ = ["Mesh", "render_mesh", "shade"]


@dataclass(frozen=True)
class Mesh:
    """points: (B, V, 3) metres, camera frame, canonical pose; albedo: (B, V, 3) in [0, 1]; faces: (F, 3) int64, seen
    from outside their corners run anticlockwise; corners: which faces make a vertex's normal, see `corner_lists`."""

    points: Tensor
    albedo: Tensor
    faces: Tensor
    corners: tuple[tuple[Tensor, Tensor], ...]

    def spread(self, knots: Tensor) -> Tensor:
        """A grid (B, 1, r, c), where the albedo is: (B, V, 1). Seen from the rotation centre, (0, 0, 1), its rows go
        from straight up to straight down, and its columns once around, starting behind."""
        x, y, z = self.points.unbind(-1)
        forward = 1 - z
        around = torch.atan2(x, forward) / math.pi
        down = torch.atan2(y, torch.hypot(x, forward)) / (math.pi / 2)
        at = torch.stack([around, down], -1)[:, None]
        return F.grid_sample(knots, at, align_corners=True, padding_mode="border")[:, :, 0].mT


def render_mesh(mesh: Mesh, view: Tensor, light: Tensor, background: Tensor) -> Rendering:
    """As `surfaces.render`: view (B, 6), light (B, 5), background (B, 3, size, size) in [0, 1]."""
    size = background.shape[-1]
    moved = apply_view(mesh.points, view)
    cover = raster.cover(moved, mesh.faces, size, size, FOV)
    depth, mask = raster.plane_depth(moved, mesh.faces, cover, size, size, FOV)
    fine = raster.cover(moved, mesh.faces, size, size, FOV, samples=SAMPLES)
    colour = mesh.albedo * shade(mesh, light)[..., None]
    image = _picture(project(moved, size, size), mesh.faces, fine, colour, background)
    return Rendering(image.clamp(0, 1), depth, mask)


def shade(mesh: Mesh, light: Tensor) -> Tensor:
    """k_s + k_d max(0, ⟨n, l⟩) at the vertices (B, V); a vertex without faces has the ambient light alone.

    Normals are means of the faces' weighted by area; they point inwards, like all of this method.
    """
    points = mesh.points.permute(1, 2, 0).contiguous()  # a vertex's numbers together: several times as fast
    a, b, c = (points[corner] for corner in mesh.faces.unbind(1))
    faces = torch.linalg.cross(c - a, b - a, dim=1)
    normal = torch.zeros_like(points)
    for vertices, face in mesh.corners:  # one by one, so in the same order on every device
        normal.index_add_(0, vertices, faces[face])
    length = (normal * normal).sum(1).clamp(min=1e-30).sqrt()
    cosine = ((normal * light[:, 2:].T).sum(1) / length).clamp(min=0)
    return (light[:, 0] + light[:, 1] * cosine).T


def _picture(pixels: Tensor, faces: Tensor, face: Tensor, colour: Tensor, background: Tensor) -> Tensor:
    """(B, 3, H, W): colours (B, V, 3) of the triangle that each sample (B, SAMPLES H, SAMPLES W) sees, mixed by where
    the vertices appear (B, V, 2), and averaged. Perspective within a triangle is neglected."""
    batch, vertices, _ = pixels.shape
    first = torch.arange(batch, device=face.device)[:, None, None, None] * vertices
    corner = faces[face.clamp(min=0).long()] + first  # (B, H', W', 3)
    (u0, v0), (u1, v1), (u2, v2) = (p.unbind(-1) for p in pixels.reshape(-1, 2)[corner].unbind(-2))
    u, v = sample_positions(face.shape[1] // SAMPLES, face.shape[2] // SAMPLES, SAMPLES, face.device)
    du, dv, u1, v1, u2, v2 = u - u0, v - v0, u1 - u0, v1 - v0, u2 - u0, v2 - v0
    area = u1 * v2 - v1 * u2
    share = torch.where(area.abs() > EDGE_ON, 1 / area, 0)
    s, t = ((du * v2 - dv * u2) * share).clamp(0, 1), ((u1 * dv - v1 * du) * share).clamp(0, 1)
    first, second, third = colour.reshape(-1, 3)[corner].unbind(-2)
    seen = (first + s[..., None] * (second - first) + t[..., None] * (third - first)).permute(0, 3, 1, 2)
    hit = (face >= 0)[:, None].to(seen)
    return F.avg_pool2d(seen * hit, SAMPLES) + (1 - F.avg_pool2d(hit, SAMPLES)) * background
