"""The CPU kernels: loops over triangles and pixels, compiled by numba, spread over threads by image.

All arithmetic is float64 whatever the input.
"""

import math

import numpy as np
import torch
from torch import Tensor

from stages.core.kernels import compiled
from stages.core.raster.lattice import Lattice
from stages.core.threads import over_images

__all__ = ["DEGENERATE", "LOOSE", "STRAY", "STRICT", "TIE", "cover", "plane_depth"]

STRICT = 1e-9  # samples; closer than this to an edge is on it, whichever way the rounding went
LOOSE = 2e-6  # of the image's longer side: what float32 vertices may be off; used only where nothing covers strictly
STRAY = 1e-3  # relative; how far in depth such a hit may leave its triangle (the plane of a sliver does so at once)
TIE = 1e-12  # relative difference of inverse depth below which two triangles are equally near
WIDE = 4  # samples; in wider boxes it pays to find the ends of every row first (slivers of noisy surfaces)
DEGENERATE = 1e-8  # samples²: twice the projected area below which a triangle is a line


@compiled()
def _line(a, b, c):
    """The line a u + b v + c = 0 as u = k v + o; a level one crosses no row."""
    if a == 0:
        return 0.0, 0.0
    return -b / a, -c / a


@compiled()
def _clip(low, high, a, crossing):
    """The part of low … high where a u + … ≥ 0, which is 0 at the crossing."""
    if a > 0:
        return max(low, crossing), high
    if a < 0:
        return low, min(high, crossing)
    return low, high


@compiled()
def _cover(start, stop, points, faces, focal, centre_u, centre_v, height, width, loose, face):
    """z-buffer over the triangles of images start … stop-1; see reference.py for the equations.

    Only the samples in a triangle's bounding box are tested; one that crosses the camera plane has no such box.
    """
    count = points.shape[1]
    q = np.empty((count, 3))  # vertices in homogeneous sample coordinates
    uv = np.empty((count, 2))
    best = np.empty((height, width))
    for b in range(start, stop):
        nearest = np.inf
        for i in range(count):
            x, y, z = float(points[b, i, 0]), float(points[b, i, 1]), float(points[b, i, 2])
            q[i, 0] = focal * x + centre_u * z
            q[i, 1] = focal * y + centre_v * z
            q[i, 2] = z
            nearest = min(nearest, z)
            if z > 0:
                uv[i, 0] = q[i, 0] / z
                uv[i, 1] = q[i, 1] / z
        face[b] = -1
        for f in range(faces.shape[0]):
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            first_u, last_u, first_v, last_v = 0, width - 1, 0, height - 1
            if nearest > 0 or (q[i, 2] > 0 and q[j, 2] > 0 and q[k, 2] > 0):
                low_u = max(min(uv[i, 0], uv[j, 0], uv[k, 0]) - loose, 0.0)
                high_u = min(max(uv[i, 0], uv[j, 0], uv[k, 0]) + loose, last_u)
                low_v = max(min(uv[i, 1], uv[j, 1], uv[k, 1]) - loose, 0.0)
                high_v = min(max(uv[i, 1], uv[j, 1], uv[k, 1]) + loose, last_v)
                if not (low_u <= high_u and low_v <= high_v):
                    continue
                first_u, last_u = math.ceil(low_u), int(high_u)
                first_v, last_v = math.ceil(low_v), int(high_v)
                if first_u > last_u or first_v > last_v:  # most small triangles fall between the samples
                    continue
            x0, y0, z0 = q[i, 0], q[i, 1], q[i, 2]
            x1, y1, z1 = q[j, 0], q[j, 1], q[j, 2]
            x2, y2, z2 = q[k, 0], q[k, 1], q[k, 2]
            near, far = min(z0, z1, z2), max(z0, z1, z2)
            if far <= 0:
                continue
            a0, b0, c0 = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
            a1, b1, c1 = y2 * z0 - z2 * y0, z2 * x0 - x2 * z0, x2 * y0 - y2 * x0
            a2, b2, c2 = y0 * z1 - z0 * y1, z0 * x1 - x0 * z1, x0 * y1 - y0 * x1
            det = x0 * a0 + y0 * b0 + z0 * c0
            if not abs(det) > DEGENERATE * far * far * far:
                continue
            if det < 0:  # seen from behind
                det = -det
                a0, b0, c0, a1, b1, c1, a2, b2, c2 = -a0, -b0, -c0, -a1, -b1, -c1, -a2, -b2, -c2
            scale = 1 / det
            s0, s1, s2 = abs(a0) + abs(b0), abs(a1) + abs(b1), abs(a2) + abs(b2)
            wide = last_u - first_u >= WIDE
            if wide:
                k0, o0 = _line(a0, b0, c0 + loose * s0)
                k1, o1 = _line(a1, b1, c1 + loose * s1)
                k2, o2 = _line(a2, b2, c2 + loose * s2)
            for v in range(first_v, last_v + 1):
                r0, r1, r2 = b0 * v + c0, b1 * v + c1, b2 * v + c2
                left, right = first_u, last_u
                if wide:
                    low, high = float(first_u), float(last_u)
                    low, high = _clip(low, high, a0, k0 * v + o0)
                    low, high = _clip(low, high, a1, k1 * v + o1)
                    low, high = _clip(low, high, a2, k2 * v + o2)
                    if low > high:
                        continue
                    left, right = math.ceil(low), int(high)
                for u in range(left, right + 1):
                    e0, e1, e2 = a0 * u + r0, a1 * u + r1, a2 * u + r2
                    if e0 < -loose * s0 or e1 < -loose * s1 or e2 < -loose * s2:
                        continue
                    key = (e0 + e1 + e2) * scale  # inverse depth
                    if not key > 0:
                        continue
                    if e0 < -STRICT * s0 or e1 < -STRICT * s1 or e2 < -STRICT * s2:
                        if key * near > 1 + STRAY or key * far < 1 - STRAY:
                            continue
                        key = -1 / key  # below every strict hit, nearer ones first
                    if face[b, v, u] < 0 or key > best[v, u] + TIE * abs(best[v, u]):
                        best[v, u] = key
                        face[b, v, u] = f


@compiled()
def _depth(start, stop, points, faces, face, focal, centre_u, centre_v, depth):
    for b in range(start, stop):
        for v in range(face.shape[1]):
            ry = (v - centre_v) / focal
            for u in range(face.shape[2]):
                f = face[b, v, u]
                if f < 0:
                    depth[b, v, u] = 0
                    continue
                p0, p1, p2 = points[b, faces[f, 0]], points[b, faces[f, 1]], points[b, faces[f, 2]]
                x0, y0, z0 = float(p0[0]), float(p0[1]), float(p0[2])
                ex, ey, ez = p1[0] - x0, p1[1] - y0, p1[2] - z0
                gx, gy, gz = p2[0] - x0, p2[1] - y0, p2[2] - z0
                nx, ny, nz = ey * gz - ez * gy, ez * gx - ex * gz, ex * gy - ey * gx
                depth[b, v, u] = (nx * x0 + ny * y0 + nz * z0) / (nx * ((u - centre_u) / focal) + ny * ry + nz)


@compiled()
def _depth_backward(start, stop, points, faces, face, focal, centre_u, centre_v, grad_depth, grad):
    """A vertex that moves by δ moves the depth by β (n·δ)/(n·r), β its perspective-correct barycentric weight."""
    for b in range(start, stop):
        grad[b] = 0
        for v in range(face.shape[1]):
            ry = (v - centre_v) / focal
            for u in range(face.shape[2]):
                f = face[b, v, u]
                g = float(grad_depth[b, v, u])
                if f < 0 or g == 0:
                    continue
                rx = (u - centre_u) / focal
                i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
                x0, y0, z0 = float(points[b, i, 0]), float(points[b, i, 1]), float(points[b, i, 2])
                x1, y1, z1 = float(points[b, j, 0]), float(points[b, j, 1]), float(points[b, j, 2])
                x2, y2, z2 = float(points[b, k, 0]), float(points[b, k, 1]), float(points[b, k, 2])
                ax, ay, az = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
                bx, by, bz = y2 * z0 - z2 * y0, z2 * x0 - x2 * z0, x2 * y0 - y2 * x0
                cx, cy, cz = y0 * z1 - z0 * y1, z0 * x1 - x0 * z1, x0 * y1 - y0 * x1
                e0, e1, e2 = ax * rx + ay * ry + az, bx * rx + by * ry + bz, cx * rx + cy * ry + cz
                nr = e0 + e1 + e2
                scale = g / (nr * nr)
                nx, ny, nz = (ax + bx + cx) * scale, (ay + by + cy) * scale, (az + bz + cz) * scale
                grad[b, i, 0] += e0 * nx
                grad[b, i, 1] += e0 * ny
                grad[b, i, 2] += e0 * nz
                grad[b, j, 0] += e1 * nx
                grad[b, j, 1] += e1 * ny
                grad[b, j, 2] += e1 * nz
                grad[b, k, 0] += e2 * nx
                grad[b, k, 1] += e2 * ny
                grad[b, k, 2] += e2 * nz


def cover(points: Tensor, faces: Tensor, lattice: Lattice) -> Tensor:
    """(B,V,3), (F,3) → (B, lattice.height, lattice.width) int32: nearest covering triangle or -1."""
    vertices = points.detach().cpu().contiguous().numpy()
    face = np.empty((len(vertices), lattice.height, lattice.width), np.int32)
    loose = LOOSE * max(lattice.height, lattice.width)
    over_images(_cover, len(vertices), vertices, faces.cpu().contiguous().numpy(), *lattice, loose, face)
    return torch.from_numpy(face).to(points.device)


class _PlaneDepth(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points: Tensor, faces: Tensor, face: Tensor, lattice: Lattice) -> Tensor:
        points, faces, face = points.contiguous(), faces.contiguous(), face.contiguous()
        ctx.save_for_backward(points, faces, face)
        ctx.lattice = lattice
        depth = points.new_empty(face.shape)
        arrays = (tensor.detach().numpy() for tensor in (points, faces, face))
        over_images(_depth, len(points), *arrays, *lattice[:3], depth.numpy())
        return depth

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_depth: Tensor):
        points, faces, face = ctx.saved_tensors
        grad = torch.empty_like(points)
        arrays = (tensor.detach().numpy() for tensor in (points, faces, face))
        over_images(
            _depth_backward, len(points), *arrays, *ctx.lattice[:3], grad_depth.contiguous().numpy(), grad.numpy()
        )
        return grad, None, None, None


def plane_depth(points: Tensor, faces: Tensor, face: Tensor, lattice: Lattice) -> Tensor:
    """(B,V,3), (F,3), (B,H,W) → depth (B,H,W), 0 where uncovered, differentiable (once) in the points."""
    return _PlaneDepth.apply(points, faces, face, lattice)
