"""The triton kernels against the torch twin: on a CUDA device where there is one, else on triton's interpreter.

The interpreter takes as long for an operation on one lane as on thousands: meshes here are tiny, or drawn by one
program of many lanes.
"""

import math
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.core import raster
from stages.core.camera import apply_view, back_project
from stages.core.raster import cpu, cuda, reference
from stages.core.raster.lattice import make_lattice
from stages.errors import MissingPartError, UsageError
from tests.core.test_raster import INVISIBLE
from tests.core.test_raster_backends import SHARED, soup, warped_grids

triton = pytest.importorskip("triton")
tl = triton.language
kernels = import_module("stages.core.raster.cuda_zbuffer")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def one_program(monkeypatch):
    """All triangles of an image in one program, none of them alone, unless they are drawn by a real device."""
    if DEVICE == "cpu":
        monkeypatch.setattr(cuda, "SMALL", 10**6)
        monkeypatch.setattr(cuda, "TRIANGLES", 8192)
        monkeypatch.setattr(cuda, "SAMPLES", 4096)


def cover(points, faces, lattice):
    return cuda.cover(points.to(DEVICE), faces, lattice).cpu()


def assert_twin(points, faces, lattice, differ=0.0):
    """Same coverage; the same triangle or, at no more than a share of the samples, one as near to NEAR_BITS."""
    ours, twin = cover(points, faces, lattice), reference.cover(points, faces, lattice)
    assert torch.equal(ours >= 0, twin >= 0)
    other = ours != twin
    assert other.float().mean() <= differ
    shown, nearest = (reference.plane_depth(points.double(), faces, face, lattice)[other] for face in (ours, twin))
    assert ((shown / nearest - 1).abs() <= 2**-cuda.NEAR_BITS + 1e-11).all()
    return ours


@triton.jit
def _pack(strict, near, f, key, back, ID_BITS: tl.constexpr, SHIFT: tl.constexpr, COUNT: tl.constexpr):
    at = tl.arange(0, COUNT)
    packed = kernels.pack(tl.load(strict + at) > 0, tl.load(near + at), tl.load(f + at), ID_BITS, SHIFT)
    tl.store(key + at, packed)
    tl.store(back + at, kernels.unpack(packed, ID_BITS))


def pack(rows, id_bits, shift):
    """Keys of (strictly?, inverse depth, triangle), and the triangles that come back out of them."""
    count = 1 << (len(rows) - 1).bit_length()
    strict, near, f = zip(*(rows + rows[:1] * (count - len(rows))), strict=True)
    f = torch.tensor(f, dtype=torch.int32, device=DEVICE)
    near = torch.tensor(near, dtype=torch.float64, device=DEVICE)
    key, back = torch.empty(count, dtype=torch.int64, device=DEVICE), torch.empty_like(f)
    _pack[(1,)](torch.tensor(strict, device=DEVICE), near, f, key, back, id_bits, shift, count)
    return key[: len(rows)].tolist(), back[: len(rows)].tolist()


@pytest.mark.parametrize(("id_bits", "shift"), [(1, 20), (19, 20), (31, 32)])
def test_keys_sort_by_strictness_then_nearness_then_lowest_index(id_bits, shift):
    step = 2.0 ** (shift - 52)
    values = [5e-324, 1e-300, 1e-30, 0.5, 0.9, 1.0, 1 + step, 1 + 2 * step, 1.1, 3.0, 1e30, 1e300, 1.7e308, math.inf]
    last = 2**id_bits - 1
    rows = [(strict, near, f) for strict in (0, 1) for near in values for f in sorted({last, last // 2, 0})[::-1]]
    keys, back = pack(rows, id_bits, shift)
    assert keys == sorted(set(keys))
    assert keys[0] >= 0
    assert back == [f for _, _, f in rows]
    equal = [(1, near, f) for f in (1, 0) for near in (1.0, 1 - step / 8, 1 + step / 4)]
    keys, _ = pack(equal, id_bits, shift)
    assert len(set(keys)) == 2
    assert max(keys[:3]) < min(keys[3:])


@pytest.mark.parametrize(
    ("seed", "coarse", "dtype", "size", "samples"),
    [
        (0, False, torch.float64, (9, 7), 1),
        (1, True, torch.float64, (6, 11), 1),
        (2, False, torch.float32, (1, 40), 1),
        (3, True, torch.float32, (4, 3), 2),
    ],
)
def test_triangle_soup(seed, coarse, dtype, size, samples):
    points, faces = soup(seed, 8, coarse, dtype)
    faces = torch.cat([faces, faces.flip(0)])  # every triangle twice
    face = assert_twin(points, faces, make_lattice(*size, 10.0, samples))
    assert (face >= 0).float().mean() > 0.1


@pytest.mark.parametrize("small", [0, 10**6])
def test_large_and_small_triangles_are_drawn_alike(small, monkeypatch):
    monkeypatch.setattr(cuda, "SMALL", small)
    points = warped_grids(1, 5)
    assert_twin(points.flatten(1, 2), raster.grid_faces(5, 5), make_lattice(7, 6, 10.0, 1))


def test_warped_grids(one_program):
    points = warped_grids(2, 12)
    assert_twin(points.flatten(1, 2), raster.grid_faces(12, 12), make_lattice(16, 12, 10.0, 1))


def test_many_programs():
    depth = 0.9 + 0.1 * torch.rand(2, 5, 9, generator=torch.Generator().manual_seed(0))
    points = apply_view(back_project(depth), torch.tensor([[0.2, 0.4, 0.1, 0, 0, 0], [0.1, -0.6, 0, 0, 0, 0.01]]))
    faces = raster.grid_faces(5, 9)  # 64 triangles: two programs of 32
    assert_twin(points.flatten(1, 2), faces[:-3].int(), make_lattice(5, 9, 10.0, 1))


def test_triangles_that_have_no_inside_in_view_cover_nothing():
    points = torch.tensor(INVISIBLE, dtype=torch.float64)
    assert (cover(points, torch.tensor([[0, 1, 2], [2, 1, 0]]), make_lattice(9, 9, 10.0, 1)) == -1).all()
    across = torch.tensor([[[-50, 0.02, -5], [50, 0.02, -5], [0, 0.02, 90]]], dtype=torch.float64)
    face = assert_twin(across, torch.tensor([[0, 1, 2]]), make_lattice(16, 16, 10.0, 1))
    assert (face[0, 8:] == 0).all()


def test_no_holes_at_the_identity_view_where_every_sample_is_a_vertex(one_program):
    for size, depth in ((9, 1.0), (9, 1.04), (64, 1.04)):
        points = back_project(torch.full((1, size, size), depth))
        if size < 64:
            assert_twin(points.flatten(1, 2), raster.grid_faces(size, size), make_lattice(size, size, 10.0, 1))
        rendered, valid = raster.rasterise_depth(points.to(DEVICE), backend="triton")
        assert valid.all()
        torch.testing.assert_close(rendered.cpu(), points[..., 2], atol=1e-6, rtol=0)


def test_the_nearest_wins_and_among_equals_the_lowest_index():
    layers = [torch.tensor([[-1, -1, z], [1, -1, z], [0, 2, z]], dtype=torch.float64) for z in (1.2, 0.9, 0.9, 1.0)]
    faces = torch.arange(12).view(4, 3)
    for order, first in (([0, 1, 2, 3], 1), ([3, 2, 1, 0], 1), ([1, 3, 0, 2], 0), ([0, 3, 3, 0], 1)):
        points = torch.cat([layers[i] for i in order])[None]
        assert (cover(points, faces, make_lattice(3, 3, 10.0, 1)) == first).all()


def test_triangles_without_all_their_vertices_cover_nothing_and_spoil_nothing():
    points = apply_view(back_project(torch.ones(1, 6, 6)), torch.tensor([[0.1, 0.3, 0.1, 0, 0, 0]])).flatten(1, 2)
    faces, lattice = raster.grid_faces(6, 6), make_lattice(6, 6, 10.0, 1)
    broken = points.clone()
    for vertex, axis, value in ((7, 0, math.nan), (16, 2, math.inf), (33, 1, -math.inf)):
        broken[0, vertex, axis] = value
    absent = faces.clone()
    absent[20, 1], absent[41, 2] = -1, 36
    gone = torch.isin(faces, torch.tensor([7, 16, 33])).any(1) | (absent != faces).any(1)
    numbers = torch.cat([(~gone).nonzero()[:, 0], torch.tensor([-1])])
    expected = numbers[reference.cover(points, faces[~gone], lattice).long()].int()
    face = cover(broken, absent, lattice)
    assert torch.equal(face, expected)
    some = face.max()
    leaf = broken.to(DEVICE).requires_grad_()
    depth, valid = cuda.plane_depth(leaf, absent, torch.where(face == some, 999, face).to(DEVICE), lattice)
    assert torch.equal(valid.cpu(), (face >= 0) & (face != some))
    assert torch.equal(depth > 0, valid)
    assert torch.autograd.grad(depth.sum(), leaf)[0].isfinite().all()


def test_nothing_to_draw_draws_nothing():
    points, faces = soup(0, 4, False)
    lattice = make_lattice(3, 5, 10.0, 1)
    assert (cover(points, faces[:0], lattice) == -1).all()
    leaf = points[:0].to(DEVICE).requires_grad_()
    depth, valid = cuda.rasterise(leaf, faces, lattice)
    assert depth.shape == valid.shape == (0, 3, 5)
    assert torch.autograd.grad(depth.sum(), leaf)[0].shape == leaf.shape


def test_the_reference_numbers_are_met(one_program):
    path = SHARED / "data/parity/reference_seed11.npz"
    if not path.exists():
        pytest.skip("the parity file is not here")
    stored = np.load(path)
    depth, view, exact = (torch.from_numpy(stored[key][:2]) for key in ("canon_depth", "view", "recon_depth_exact"))
    points = apply_view(back_project(depth.float()), view.float()).to(DEVICE)
    rendered, valid = (part.cpu() for part in raster.rasterise_depth(points, backend="triton"))
    assert torch.equal(valid, ~exact.isnan())
    assert (rendered - exact)[valid].abs().max() < 2e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_depth_and_gradient_agree_with_autograd_through_the_plain_formula(dtype):
    points, faces = soup(0, 40, False, dtype)
    lattice = make_lattice(16, 16, 10.0, 1)
    face = cpu.cover(points, faces, lattice)
    assert (face >= 0).float().mean() > 0.2
    weight = torch.randn(face.shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    plain, ours = points.clone().requires_grad_(), points.to(DEVICE).requires_grad_()
    expected = reference.plane_depth(plain, faces, face, lattice)
    depth, valid = cuda.plane_depth(ours, faces, face.to(DEVICE), lattice)
    assert torch.equal(valid.cpu(), face >= 0)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(depth.cpu(), expected, **tolerance)
    (gradient,) = torch.autograd.grad((depth * weight.to(DEVICE)).sum(), ours)
    (plain_gradient,) = torch.autograd.grad((expected * weight).sum(), plain)
    scale = plain_gradient.abs().max()
    torch.testing.assert_close(gradient.cpu() / scale, plain_gradient / scale, **tolerance)


def two_triangles():
    """Left and right half of 8×8 pixels, six vertices."""
    x = math.tan(math.radians(5))
    left = torch.tensor([[-x, -3 * x, 1.0], [-x, 3 * x, 1.0], [-0.01 * x, 0, 1.1]], dtype=torch.float64)
    points = torch.cat([left, left * torch.tensor([-1.0, 1, 1], dtype=torch.float64)])[None].to(DEVICE)
    lattice = make_lattice(8, 8, 10.0, 1)
    return points.requires_grad_(), torch.arange(6).view(2, 3), lattice


def test_a_large_gradient_takes_no_digits_from_the_vertices_that_it_does_not_reach():
    points, faces, lattice = two_triangles()
    gradients = []
    for right in (1.0, 1e200):
        depth, valid = cuda.rasterise(points, faces, lattice)
        assert valid[0, 4, 1]
        assert valid[0, 4, 6]
        weight = torch.full_like(depth, 1 / 3)
        weight[..., 4:] *= right
        gradients.append(torch.autograd.grad((depth * weight).sum(), points)[0][0])
    assert torch.equal(gradients[0][:3], gradients[1][:3])
    torch.testing.assert_close(gradients[0][3:] * 1e200, gradients[1][3:], rtol=1e-12, atol=0)
    mirrored = gradients[0][3:] * torch.tensor([-1, 1, 1], device=DEVICE)
    torch.testing.assert_close(gradients[0][:3], mirrored, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_stays_visible_at_its_vertices(value):
    points, faces, lattice = two_triangles()
    depth, _ = cuda.rasterise(points, faces, lattice)
    weight = torch.ones_like(depth)
    weight[0, 4, 1] = value
    (gradient,) = torch.autograd.grad(depth, points, weight)
    assert gradient[0, :3].isnan().all()
    assert gradient[0, 3:].isfinite().all()


def test_sums_do_not_depend_on_how_the_work_is_cut(monkeypatch):
    points = warped_grids(1, 12).to(DEVICE).requires_grad_()
    results = []
    for samples, triangles in ((16, 32), (256, 64)):
        monkeypatch.setattr(cuda, "SAMPLES", samples)
        monkeypatch.setattr(cuda, "TRIANGLES", triangles)
        depth, valid = raster.rasterise_depth(points, backend="triton")
        results.append((depth.detach(), valid, torch.autograd.grad(depth.square().sum(), points)[0]))
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


def test_the_backend_is_one_of_the_rasteriser(one_program):
    points = warped_grids(2, 12, torch.float64)
    ours, theirs = points.to(DEVICE).requires_grad_(), points.clone().requires_grad_()
    depth, valid = raster.rasterise_depth(ours, 10, 14, samples=2, backend="triton")
    expected, expected_valid = raster.rasterise_depth(theirs, 10, 14, samples=2, backend="numba")
    assert torch.equal(valid.cpu(), expected_valid)
    torch.testing.assert_close(depth.cpu(), expected, rtol=0, atol=1e-9)
    gradient, plain = (torch.autograd.grad(d.sum(), p)[0].cpu() for d, p in ((depth, ours), (expected, theirs)))
    torch.testing.assert_close(gradient / plain.abs().max(), plain / plain.abs().max(), rtol=1e-9, atol=1e-9)
    face = raster.cover(ours.flatten(1, 2), raster.grid_faces(12, 12), 10, 14, samples=2, backend="triton")
    assert face.dtype == torch.int32
    assert "triton" in raster.available_backends()
    with pytest.raises(UsageError, match="B×V×3"):
        raster.rasterise_depth(points.half(), backend="triton")


def test_it_is_not_there_without_a_device(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    points = warped_grids(1, 4)
    error = UsageError if DEVICE == "cuda" else MissingPartError
    with pytest.raises(error, match="triton"):
        raster.rasterise_depth(points, backend="triton")


def test_the_host_never_looks_at_the_data(monkeypatch):
    """Everything but the kernels runs on tensors that hold nothing: no copy, no shape and no launch depends on data."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    launches = []
    monkeypatch.setattr(cuda, "_launch", lambda kernel, count, *_, **__: launches.append((kernel.__name__, count)))
    points = torch.empty(3, 8, 8, 3, device="meta", requires_grad=True)
    depth, valid = raster.rasterise_depth(points, samples=2, backend="triton")
    torch.autograd.grad(depth.sum(), points)
    assert depth.device == valid.device == points.device
    assert launches == [("scatter", 12), ("resolve", 6), ("spread", 6), ("spread", 6), ("gather", 2)]
    faces = raster.grid_faces(8, 8, points.device)
    face = raster.cover(points.flatten(1, 2), faces, 8, 8, backend="triton")
    cuda.plane_depth(points.flatten(1, 2), faces, face, make_lattice(8, 8, 10.0, 1))
    assert launches[-3:] == [("scatter", 12), ("resolve", 2), ("plane", 2)]


COMPILE = """
import re, torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from stages.core import raster
from stages.core.raster import cuda
from stages.core.raster.lattice import make_lattice

TYPES = {torch.float32: "*fp32", torch.int64: "*i64", torch.int32: "*i32", torch.bool: "*i1"}

def compile_only(kernel, programs, *arguments, warps=4, **constants):
    runtime = [TYPES[a.dtype] if isinstance(a, torch.Tensor) else "i32" for a in arguments]
    signature = dict(zip(kernel.arg_names, runtime)) | {name: "constexpr" for name in constants}
    source = ASTSource(kernel, signature, constants)
    ptx = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps}).asm["ptx"]
    assert not re.search(r"(add|sub|mul|fma|div|rcp|min|max|ex2)[.a-z0-9]*[.]f32", ptx), kernel.__name__
    print(kernel.__name__, *sorted(set(re.findall(r"atom[.]global[.]gpu[.]relaxed[.](\\S+)", ptx))))

cuda._launch = compile_only
points = torch.zeros(2, 64, 64, 3, requires_grad=True)
lattice = make_lattice(64, 64, 10.0, 1)
depth, _ = cuda.rasterise(points.flatten(1, 2), raster.grid_faces(64, 64), lattice)
depth.sum().backward()
cuda.plane_depth(points.flatten(1, 2), raster.grid_faces(64, 64), torch.zeros(2, 64, 64, dtype=torch.int32), lattice)
"""


def test_every_kernel_compiles_for_a_gpu_and_computes_in_float64():
    """The interpreter takes more of Python than the compiler does; nor does it tell float32 scalars from float64."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    run = subprocess.run([sys.executable, "-c", COMPILE], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    kernels = ["scatter max.s64", "resolve", "spread max.s64", "spread add.u64", "gather", "plane"]
    assert run.stdout.split("\n")[:-1] == kernels
