"""Which triangle covers a pixel, and how deep it is there.

**Convention:** camera frame x right, y down, z forward; pixel centres at integers; the field of view spans the
outermost pixel centres. A triangle covers the samples inside it *and on its border*, from either side; the nearest
wins, among equally near ones the lowest index. Depth is metric z, in the units of the points.

**Backends:** numba for points on a CPU; triton for points on a CUDA device, where it never waits for the device and so
reports nothing: there a triangle with a vertex that is NaN, infinite or absent covers nothing. Whoever computes on with
such points has to notice by a result that is not finite, as training does by its loss.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.core.camera import FOV
from stages.core.raster import cpu, cuda, pytorch3d, reference
from stages.core.raster.lattice import make_lattice
from stages.errors import InputError, MissingPartError, UsageError

__all__ = ["available_backends", "cover", "grid_faces", "plane_depth", "rasterise_depth"]

BACKENDS = {"numba": cpu, "reference": reference, "triton": cuda, "pytorch3d": pytorch3d}
OPTIONAL = {
    "triton": ("there is no triton or no CUDA device", "use numba, or a CUDA build of torch, which brings triton"),
    "pytorch3d": ("PyTorch3D is not installed", "pip install 'sym3d[pytorch3d]'"),
}


def available_backends() -> list[str]:
    """Names that ``backend=`` accepts on this machine, that of the CPU first."""
    return [name for name, module in BACKENDS.items() if name not in OPTIONAL or module.is_available()]


@lru_cache(maxsize=16)
def grid_faces(height: int, width: int, device: torch.device | None = None) -> Int[Tensor, "f 3"]:
    """The triangles of a grid of vertices v·width + u, int64: {(v,u), (v+1,u), (v,u+1)}, {(v,u+1), (v+1,u), (v+1,u+1)}.

    Row-major by cell, 2 (height-1) (width-1) rows. Cached: do not write to it.
    """
    with torch.inference_mode(False):
        corner = torch.arange(height * width, device=device).view(height, width)
        here, right = corner[:-1, :-1], corner[:-1, 1:]
        below, across = corner[1:, :-1], corner[1:, 1:]
        return torch.stack([here, below, right, right, below, across], -1).view(-1, 3)


def cover(
    points: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    height: int,
    width: int,
    fov: float = FOV,
    *,
    samples: int = 1,
    backend: str | None = None,
) -> Int[Tensor, "b h w"]:
    """Index of the nearest triangle that covers each sample, -1 where none does: int32, no gradient.

    ``samples`` = s gives B × sH × sW, s × s samples spread evenly over each pixel (s = 2: u ± 1/4, v ± 1/4). The
    default backend is triton for points on a CUDA device, where triton is installed, and otherwise numba (which copies
    points from other devices to the host and the result back).

    Raises UsageError for shapes, types, sizes and places that mean nothing, MissingPartError for a backend that is not
    installed; and, but not with triton, InputError for NaN or infinite points and for faces that name absent vertices.
    """
    _check_types(points, faces)
    lattice = make_lattice(height, width, fov, samples)
    module = _backend(backend, points)
    if module is not cuda:
        _check_indices(points, faces)
        _check_finite(points)
    return module.cover(points, faces, lattice)


def plane_depth(
    points: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    cover: Int[Tensor, "b h w"],
    height: int,
    width: int,
    fov: float = FOV,
    *,
    samples: int = 1,
) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
    """Depth of the covering triangle's plane at each sample, (n·v₀)/(n·r), and where there is one.

    Differentiable (once) in x, y and z of the points; 0 where uncovered. There is no silhouette term: what covers a
    pixel is taken as given. Arguments as for :func:`cover`, whose result goes in as ``cover``. With triton, a number in
    it that names no face is as good as -1.
    """
    _check_types(points, faces)
    lattice = make_lattice(height, width, fov, samples)
    module = _backend(None, points)
    _check_cover(cover, points, (lattice.height, lattice.width), len(faces), read=module is not cuda)
    if module is cuda:
        return cuda.plane_depth(points, faces, cover, lattice)
    _check_indices(points, faces)
    module = cpu if points.device.type == "cpu" else reference
    return module.plane_depth(points, faces.to(points.device), cover, lattice), torch.as_tensor(_array(cover) >= 0)


def rasterise_depth(
    points: Float[Tensor, "b h w 3"],
    height: int | None = None,
    width: int | None = None,
    fov: float = FOV,
    *,
    samples: int = 1,
    backend: str | None = None,
) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
    """Render a grid of camera-frame points as a triangle mesh: depth (0 where nothing is hit) and where it is valid.

    The image is as large as the grid unless told otherwise. With ``samples`` > 1 the depth is the mean over the covered
    samples of a pixel, which is valid when there is at least one. Gradients and errors as above.
    """
    if points.ndim != 4:
        raise UsageError("rasterise_depth", f"points are {tuple(points.shape)}", "pass a grid, B×H×W×3")
    height, width = height or points.shape[1], width or points.shape[2]
    faces = grid_faces(points.shape[1], points.shape[2], points.device)
    flat = points.flatten(1, 2)
    if _backend(backend, points) is cuda:  # in one go
        _check_types(flat, faces)
        depth, valid = cuda.rasterise(flat, faces, make_lattice(height, width, fov, samples))
    else:
        face = cover(flat, faces, height, width, fov, samples=samples, backend=backend)
        depth, valid = plane_depth(flat, faces, face, height, width, fov, samples=samples)
    if samples == 1:
        return depth, valid
    depth, count = (
        part.view(-1, height, samples, width, samples).sum((2, 4)) for part in (depth, valid.to(depth.dtype))
    )
    return depth / count.clamp(min=1), count > 0


def _backend(name: str | None, points: Tensor):
    """The module of that name, or the best there is for the points."""
    if name is None:
        return cuda if points.is_cuda and cuda.accepts(points) else cpu
    if name not in BACKENDS:
        raise UsageError(f"rasteriser backend {name!r}", "no such backend", f"use one of {', '.join(BACKENDS)}")
    if name in OPTIONAL and not BACKENDS[name].is_available():
        raise MissingPartError(f"rasteriser backend {name!r}", *OPTIONAL[name])
    if name == "triton" and not cuda.accepts(points):
        raise UsageError(f"rasteriser backend {name!r}", f"the points are on {points.device}", "move them to cuda")
    return BACKENDS[name]


def _array(tensor: Tensor) -> np.ndarray | Tensor:
    """A CPU tensor as numpy sees it: torch would wake its threads, and they spin on beside the kernel's for a while."""
    return tensor.detach().numpy() if tensor.device.type == "cpu" else tensor.detach()


def _check_types(points: Tensor, faces: Tensor) -> None:
    if points.ndim != 3 or points.shape[-1] != 3 or points.dtype not in (torch.float32, torch.float64):
        raise UsageError(
            "rasteriser", f"points are {tuple(points.shape)} {points.dtype}", "pass B×V×3 of float32 or float64"
        )
    if faces.ndim != 2 or faces.shape[-1] != 3 or faces.dtype not in (torch.int32, torch.int64):
        raise UsageError("rasteriser", f"faces are {tuple(faces.shape)} {faces.dtype}", "pass F×3 of int32 or int64")


def _check_cover(cover: Tensor, points: Tensor, size: tuple[int, int], faces: int, *, read: bool) -> None:
    shape = (len(points), *size)
    if (
        tuple(cover.shape) != shape
        or cover.dtype != torch.int32
        or cover.device != points.device
        or (read and cover.numel() and _array(cover).max() >= faces)
    ):
        raise UsageError(
            "plane_depth",
            f"cover is {tuple(cover.shape)} {cover.dtype} on {cover.device}, "
            f"which is not one of {faces} faces for each of {shape} on {points.device}",
            "pass the result of cover() for the same mesh, image size and samples",
        )


# The checks below read the data, and so on a device would wait for it.


def _check_indices(points: Tensor, faces: Tensor) -> None:
    if not len(faces):
        return
    low, high = int(_array(faces).min()), int(_array(faces).max())
    if low < 0 or high >= points.shape[1]:
        raise InputError(
            "rasteriser", f"faces name vertices {low} to {high} of {points.shape[1]}", "number the vertices from 0"
        )


def _check_finite(points: Tensor) -> None:
    with np.errstate(all="ignore"):
        total = float(_array(points).sum())  # one quick pass, spoilt only by a NaN, an infinity or an overflow
    if math.isfinite(total) or (finite := points.isfinite().flatten(1).all(1)).all():
        return
    raise InputError(
        "rasteriser",
        f"vertices of item {int((~finite).nonzero()[0])} of the batch are NaN or infinite",
        "look for a diverged network or a broken mesh upstream",
    )
