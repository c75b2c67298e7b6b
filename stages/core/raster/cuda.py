"""The CUDA backend: triton kernels (cuda_zbuffer.py, cuda_depth.py), launched one after the other and never waited for.

Forward: fill the z-buffer, ``scatter`` the triangles into it, ``resolve`` it to triangle, depth and valid. Of the
triangles at a sample an atomic maximum keeps the one with the greatest key, whichever order they come in: covers it
strictly, then nearest, then lowest index. "Equally near" is the same inverse depth rounded to NEAR_BITS, where the CPU
compares with a tolerance; so the two may show different triangles at samples where two are equally near to a few parts
in 10¹⁰, on a common edge, say, or where surfaces touch. The depth there differs by as little.

Backward: every sample adds to the three vertices that it sees. Floats would make the sums depend on the order, so
they are integers, in units of 2⁻ᴮᴵᵀˢ of the greatest contribution *to that vertex* (found in a first pass: an atomic
maximum again): exact and the same every time, with less rounding than sums of float64 have. Sorting the samples by
vertex, or gathering by vertex, would need an adjacency for general meshes and more memory; this takes 32 bytes each.

Nothing depends on what the tensors hold, neither shapes nor launches, and nothing is copied to or from the host: all of
it can be captured in a CUDA graph (after a first call, which compiles). So nothing is checked here either: a triangle
with a vertex that is NaN, infinite or absent covers nothing.

With TRITON_INTERPRET=1 in the environment when triton is first imported, the same kernels run on CPU tensors.
"""

import os
from importlib.util import find_spec

import torch
from torch import Tensor

from stages.core.raster.cpu import LOOSE
from stages.core.raster.lattice import Lattice

__all__ = ["NEAR_BITS", "accepts", "cover", "is_available", "plane_depth", "rasterise"]

NEAR_BITS = 32  # binary digits of inverse depth that count; fewer when there are more than 2¹⁹ triangles
SMALL = 256  # samples in the box of a triangle that one lane draws; a larger one is drawn by a warp, after the others
TRIANGLES = 32  # of one program, which is one warp, so that a large one keeps few others waiting
SAMPLES = 128  # of one program


def is_available() -> bool:
    return find_spec("triton") is not None and (torch.cuda.is_available() or _interpreted())


def accepts(points: Tensor) -> bool:
    """Are the kernels there, and the tensor where they run?"""
    return find_spec("triton") is not None and (points.is_cuda or _interpreted())


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def _launch(kernel, programs: int, *arguments, warps: int = 4, **constants) -> None:
    """Run so many programs of a kernel where its first argument is."""
    with torch.cuda.device_of(arguments[0]):
        kernel[(programs,)](*arguments, **constants, num_warps=warps)


def _camera(lattice: Lattice) -> dict:
    return dict(zip(("FOCAL", "CENTRE_U", "CENTRE_V", "HEIGHT", "WIDTH"), lattice, strict=True))


def _blocks(count: int, size: int) -> int:
    return -(-count // size)


def _scatter(points: Tensor, faces: Tensor, lattice: Lattice) -> tuple[Tensor, int]:
    """The z-buffer (B, H, W) int64 with all triangles in it, and how many bits of its keys count the triangles."""
    from stages.core.raster.cuda_zbuffer import scatter  # late: triton is not everywhere, and takes its time to import

    keys = torch.full((len(points), lattice.height, lattice.width), -1, dtype=torch.int64, device=points.device)
    id_bits = max(len(faces) - 1, 1).bit_length()
    _launch(
        scatter,
        len(points) * _blocks(len(faces), TRIANGLES),
        *(points, faces, keys, points.shape[1], len(faces)),
        **_camera(lattice),
        LOOSE=LOOSE * max(lattice.height, lattice.width),
        ID_BITS=id_bits,
        SHIFT=max(52 - NEAR_BITS, id_bits + 1),
        SMALL=SMALL,
        BLOCK=TRIANGLES,
        warps=1,
    )
    return keys, id_bits


def _render(
    points: Tensor, faces: Tensor, lattice: Lattice, face: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """face, depth and valid, each (B, H, W): rasterised, or of the triangles given."""
    from stages.core.raster.cuda_depth import plane, resolve

    shape = (len(points), lattice.height, lattice.width)
    depth, valid = points.new_empty(shape), points.new_empty(shape, dtype=torch.bool)
    sizes = (depth.numel(), points.shape[1], len(faces))
    programs, constants = _blocks(depth.numel(), SAMPLES), _camera(lattice) | {"BLOCK": SAMPLES}
    if face is None:
        face = points.new_empty(shape, dtype=torch.int32)
        keys, id_bits = _scatter(points, faces, lattice)
        maps = (face, depth, valid)
        _launch(resolve, programs, keys, points, faces, *maps, *sizes, **constants, ID_BITS=id_bits)
    else:
        _launch(plane, programs, face, points, faces, depth, valid, *sizes, **constants)
    return face, depth, valid


def _backward(points: Tensor, faces: Tensor, face: Tensor, grad_depth: Tensor, lattice: Lattice) -> Tensor:
    from stages.core.raster.cuda_depth import gather, spread

    vertices = points.shape[0] * points.shape[1]
    sums = torch.zeros((4, vertices), dtype=torch.int64, device=points.device)
    # Three corners of every sample are the most that a vertex can get, and have to fit beside the sign.
    bits = 62 - (3 * lattice.height * lattice.width).bit_length()
    arguments = (face, grad_depth, points, faces, sums, face.numel(), points.shape[1], len(faces), vertices)
    for measure in (True, False):
        _launch(
            spread,
            _blocks(face.numel(), SAMPLES),
            *arguments,
            **_camera(lattice),
            BITS=bits,
            MEASURE=measure,
            BLOCK=SAMPLES,
        )
    grad = torch.empty_like(points)
    _launch(gather, _blocks(vertices, SAMPLES), sums, grad, vertices, BITS=bits, BLOCK=SAMPLES)
    return grad


class _PlaneDepth(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points: Tensor, faces: Tensor, face: Tensor | None, lattice: Lattice):
        points, faces = points.contiguous(), faces.to(points.device).contiguous()
        face, depth, valid = _render(points, faces, lattice, None if face is None else face.contiguous())
        ctx.save_for_backward(points, faces, face)
        ctx.lattice = lattice
        ctx.mark_non_differentiable(valid)
        return depth, valid

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_depth: Tensor, _):
        return _backward(*ctx.saved_tensors, grad_depth.contiguous(), ctx.lattice), None, None, None


def cover(points: Tensor, faces: Tensor, lattice: Lattice) -> Tensor:
    """(B,V,3), (F,3) → (B, lattice.height, lattice.width) int32: nearest covering triangle or -1."""
    return _render(points.detach().contiguous(), faces.to(points.device).contiguous(), lattice)[0]


def plane_depth(points: Tensor, faces: Tensor, face: Tensor, lattice: Lattice) -> tuple[Tensor, Tensor]:
    """(B,V,3), (F,3), (B,H,W) → depth (B,H,W), 0 where uncovered, differentiable (once) in the points; and valid."""
    return _PlaneDepth.apply(points, faces, face, lattice)


def rasterise(points: Tensor, faces: Tensor, lattice: Lattice) -> tuple[Tensor, Tensor]:
    """(B,V,3), (F,3) → depth and valid, as plane_depth of cover gives them, in one pass less."""
    return _PlaneDepth.apply(points, faces, None, lattice)
