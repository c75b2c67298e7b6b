"""The rasteriser's kernels against its torch twin, the reference's numbers, and PyTorch3D where it is installed."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, thread_time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core import raster
from stages.core.camera import apply_view, back_project
from stages.core.raster import cpu, reference
from stages.core.raster.lattice import make_lattice

SHARED = Path(os.environ.get("SYM3D_SHARED", Path(__file__).parents[2] / "../shared"))


def soup(seed: int, count: int, coarse: bool, dtype=torch.float64):
    """Triangles of all sizes, some behind or across the camera plane, some degenerate, sharing vertices."""
    random = torch.Generator().manual_seed(seed)
    points = torch.randn(2, count, 3, generator=random, dtype=torch.float64) * torch.tensor([0.08, 0.08, 0.3])
    points[..., 2] += 0.9
    if coarse:  # vertices on a lattice: many samples fall exactly on edges, many triangles are edge-on
        points = (points * 20).round() / 20
    return points.to(dtype), torch.randint(count, (count, 3), generator=random)


def warped_grids(batch: int, size: int, dtype=torch.float32) -> torch.Tensor:
    """Noisy depth maps seen from all around: folds, overlaps, steep and nearly edge-on triangles."""
    random = torch.Generator().manual_seed(batch * size)
    depth = 0.95 + 0.1 * torch.rand(batch, size, size, generator=random, dtype=torch.float64)
    view = torch.randn(batch, 6, generator=random, dtype=torch.float64) * torch.tensor([0.3, 0.5, 0.3, 0.02, 0.02, 0.0])
    return apply_view(back_project(depth), view).to(dtype)


def depth_of(points, faces, lattice, backend):
    return backend.plane_depth(points, faces, backend.cover(points, faces, lattice), lattice)


def assert_same_picture(points, faces, lattice):
    """Same coverage; the same triangle, or one just as deep (rounding may order equals differently)."""
    ours, twin = cpu.cover(points, faces, lattice), reference.cover(points, faces, lattice)
    assert torch.equal(ours >= 0, twin >= 0)
    exact = points.double()
    torch.testing.assert_close(
        reference.plane_depth(exact, faces, ours, lattice),
        reference.plane_depth(exact, faces, twin, lattice),
        rtol=1e-9,
        atol=1e-9,
    )
    assert (ours != twin).float().mean() < 0.01


@settings(max_examples=60)
@given(
    st.integers(0, 10_000),
    st.integers(3, 40),
    st.booleans(),
    st.integers(2, 20),
    st.integers(1, 20),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from([1, 2]),
)
def test_the_kernel_and_its_twin_agree_on_triangle_soup(seed, count, coarse, width, height, dtype, samples):
    points, faces = soup(seed, count, coarse, dtype)
    assert_same_picture(points, faces, make_lattice(height, width, 10.0, samples))


def test_the_kernel_and_its_twin_agree_on_warped_grids():
    points = warped_grids(3, 20)
    assert_same_picture(points.flatten(1, 2), raster.grid_faces(20, 20), make_lattice(24, 20, 10.0, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(4))
def test_depth_and_gradient_agree_with_autograd_through_the_plain_formula(seed, dtype):
    points, faces = soup(seed, 40, False, dtype)
    lattice = make_lattice(16, 16, 10.0, 1)
    face = cpu.cover(points, faces, lattice)
    assert (face >= 0).float().mean() > 0.2
    weight = torch.randn(face.shape, dtype=dtype)
    results = []
    for backend in (cpu, reference):
        leaf = points.clone().requires_grad_()
        depth = backend.plane_depth(leaf, faces, face, lattice)
        results.append((depth.detach(), torch.autograd.grad((depth * weight).sum(), leaf)[0]))
    (depth, gradient), (plain_depth, plain_gradient) = results
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(depth, plain_depth, **tolerance)
    scale = plain_gradient.abs().max()
    torch.testing.assert_close(gradient / scale, plain_gradient / scale, **tolerance)


@pytest.mark.parametrize("backend", [cpu, reference])
def test_gradcheck(backend):
    points, faces = soup(3, 12, False)
    lattice = make_lattice(8, 8, 10.0, 1)
    face = cpu.cover(points, faces, lattice)
    assert (face >= 0).sum() > 10
    points.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p: backend.plane_depth(p, faces, face, lattice), points, atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("samples", [1, 2])
def test_gradcheck_of_a_rendered_grid(samples):
    points = warped_grids(2, 6, torch.float64).requires_grad_()
    assert raster.rasterise_depth(points)[1].sum() > 20
    assert torch.autograd.gradcheck(
        lambda p: raster.rasterise_depth(p, 7, 5, samples=samples)[0], points, eps=1e-8, atol=1e-4, rtol=1e-4
    )


def test_gradients_reach_strided_and_expanded_inputs():
    points = warped_grids(2, 8, torch.float64)
    plain = points.clone().requires_grad_()
    strided = points.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0).requires_grad_()
    gradients = [torch.autograd.grad(raster.rasterise_depth(p)[0].sum(), p)[0] for p in (plain, strided)]
    torch.testing.assert_close(*gradients)


def test_the_reference_numbers_are_met():
    path = SHARED / "data/parity/reference_seed11.npz"
    if not path.exists():
        pytest.skip("the parity file is not here")
    stored = np.load(path)
    for dtype, tolerance in ((torch.float32, 2e-6), (torch.float64, 1e-12)):
        depth, view = (torch.from_numpy(stored[key]).to(dtype) for key in ("canon_depth", "view"))
        rendered, valid = raster.rasterise_depth(apply_view(back_project(depth), view))
        exact = torch.from_numpy(stored["recon_depth_exact"])
        assert torch.equal(valid, ~exact.isnan())
        assert (rendered - exact)[valid].abs().max() < tolerance


def test_the_result_does_not_depend_on_threads_or_batch():
    points = warped_grids(9, 24).requires_grad_()
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            depth, valid = raster.rasterise_depth(points)
            results.append((depth.detach(), valid, torch.autograd.grad(depth.square().sum(), points)[0]))
    finally:
        torch.set_num_threads(before)
    alone = raster.rasterise_depth(points[4:5].detach())
    for depth, valid, gradient in results:
        assert torch.equal(depth, results[0][0])
        assert torch.equal(gradient, results[0][2])
        assert torch.equal(depth[4:5], alone[0])
        assert torch.equal(valid[4:5], alone[1])


def test_many_threads_may_render_at_once():
    points = warped_grids(6, 24)
    expected = raster.rasterise_depth(points)[0]
    with ThreadPoolExecutor(4) as pool:
        for depth, _ in pool.map(raster.rasterise_depth, [points] * 12):
            assert torch.equal(depth, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*")
def test_a_forked_child_can_render_after_its_parent_did():
    points = warped_grids(6, 24)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        face = cpu.cover(points.flatten(1, 2), raster.grid_faces(24, 24), make_lattice(24, 24, 10.0, 1))
        child = os.fork()
        if child == 0:
            again = cpu.cover(points.flatten(1, 2), raster.grid_faces(24, 24), make_lattice(24, 24, 10.0, 1))
            os._exit(0 if (again.numpy() == face.numpy()).all() else 1)
        deadline = perf_counter() + 30
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
            if perf_counter() > deadline:
                os.kill(child, 9)
                os.waitpid(child, 0)
                pytest.fail("the child hangs")
        assert os.waitstatus_to_exitcode(ended[1]) == 0
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_64_grids_take_less_than_32_ms_of_one_core():
    coarse = 0.95 + 0.05 * torch.rand(64, 1, 8, 8)
    depth = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic")[:, 0]
    points = apply_view(back_project(depth), torch.randn(64, 6) * torch.tensor([0.2, 0.4, 0.2, 0.02, 0.02, 0.0]))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = []
        for _ in range(20):
            start = thread_time()  # not the wall's: other processes may be busy
            raster.rasterise_depth(points)
            times.append(thread_time() - start)
    finally:
        torch.set_num_threads(before)
    assert min(times) < 0.032


@pytest.mark.skipif("pytorch3d" not in raster.available_backends(), reason="PyTorch3D is not installed")
@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 20), (20, 32)])
def test_pytorch3d_sees_the_same(height, width):
    points = warped_grids(4, 16)
    ours, valid = raster.rasterise_depth(points, height, width)
    theirs, theirs_valid = raster.rasterise_depth(points, height, width, backend="pytorch3d")
    assert valid.float().mean() > 0.3
    assert (valid != theirs_valid).float().mean() < 0.01  # single precision decides differently at silhouettes
    both = valid & theirs_valid
    assert ((ours - theirs)[both].abs() > 1e-4).float().mean() < 0.01


@pytest.mark.skipif("pytorch3d" not in raster.available_backends(), reason="PyTorch3D is not installed")
def test_pytorch3d_leaves_no_holes_at_the_identity_view():
    depth = torch.full((1, 64, 64), 1.0)
    assert raster.rasterise_depth(back_project(depth), backend="pytorch3d")[1].float().mean() > 0.95
