"""The rasteriser against closed forms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core import raster
from stages.core.camera import FOV, apply_view, back_project, pixel_rays
from stages.errors import InputError, MissingPartError, UsageError


def sphere(rows: int = 48, columns: int = 64, radius: float = 0.06, dtype=torch.float64):
    """A closed surface around (0, 0, 1): points (1,V,3) and faces, with needles at the poles and a seam."""
    theta = torch.linspace(0, math.pi, rows, dtype=dtype)[:, None]
    phi = torch.linspace(0, 2 * math.pi, columns, dtype=dtype)[None]
    unit = torch.stack([theta.sin() * phi.cos(), theta.cos().expand(rows, columns), theta.sin() * phi.sin()], -1)
    return unit.reshape(1, -1, 3) * radius + torch.tensor([0, 0, 1.0], dtype=dtype), raster.grid_faces(rows, columns)


def test_grid_faces_are_the_two_triangles_of_every_cell():
    assert raster.grid_faces(2, 3).tolist() == [[0, 3, 1], [1, 3, 4], [1, 4, 2], [2, 4, 5]]
    assert raster.grid_faces(1, 5).shape == (0, 3)


@settings(max_examples=25)
@given(st.integers(2, 70), st.integers(2, 70), st.sampled_from([torch.float32, torch.float64]), st.integers(0, 99))
def test_the_identity_view_has_no_holes_and_gives_the_depth_back(height, width, dtype, seed):
    depth = 0.9 + 0.2 * torch.rand(2, height, width, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    rendered, valid = raster.rasterise_depth(back_project(depth))
    assert valid.all()
    assert rendered.dtype == dtype
    torch.testing.assert_close(rendered, depth, atol=5e-6 if dtype == torch.float32 else 1e-12, rtol=0)


@pytest.mark.parametrize("size", [64, 256])
def test_no_holes_at_the_identity_view_of_a_flat_depth(size):
    depth = torch.full((1, size, size), 1.04)
    rendered, valid = raster.rasterise_depth(back_project(depth))
    assert valid.all()
    torch.testing.assert_close(rendered, depth, atol=1e-6, rtol=0)


@settings(max_examples=20)
@given(
    st.floats(-0.9, 0.9), st.floats(-0.6, 0.6), st.floats(-0.6, 0.6), st.sampled_from([torch.float32, torch.float64])
)
def test_a_turned_plane_has_its_analytic_depth(pitch, yaw, roll, dtype):
    view = torch.tensor([[pitch, yaw, roll, 0.01, -0.02, 0.03]], dtype=dtype)
    points = apply_view(back_project(torch.ones(1, 24, 24, dtype=dtype)), view)
    rendered, valid = raster.rasterise_depth(points, 40, 32)
    first, right, below = points[0, 0, 0], points[0, 0, -1], points[0, -1, 0]
    normal = torch.linalg.cross(right - first, below - first).double()
    expected = (normal @ first.double()) / (pixel_rays(40, 32, dtype=torch.float64) @ normal)
    assert valid.float().mean() > 0.3
    torch.testing.assert_close(rendered[valid].double(), expected[valid[0]], atol=2e-6, rtol=0)
    assert (rendered[~valid] == 0).all()


@pytest.mark.parametrize("size", [32, 64])
def test_a_closed_surface_is_watertight_and_shows_its_near_side(size):
    points, faces = sphere()
    depth, valid = raster.plane_depth(points, faces, raster.cover(points, faces, size, size), size, size)
    rays = pixel_rays(size, size, dtype=torch.float64)
    # |t r - c|² = radius² with c = (0, 0, 1): t² r² - 2 t + 1 - radius² = 0
    squared = (rays**2).sum(-1)
    root = 1 - squared * (1 - 0.06**2)
    inside = squared * (1 - (0.06 * 0.99) ** 2) < 1
    assert valid[0][inside].all()
    assert not valid[0][root < 0].any()
    near = (1 - root.clamp(min=0).sqrt()) / squared
    core = squared * (1 - (0.06 * 0.7) ** 2) < 1
    torch.testing.assert_close(depth[0][core], near[core], atol=4e-4, rtol=0)


def test_both_sides_are_visible():
    points, faces = sphere(12, 16)
    torch.testing.assert_close(raster.cover(points, faces, 20, 20), raster.cover(points, faces.flip(1), 20, 20))


def square(z: float, half: float = 1.0) -> torch.Tensor:
    return torch.tensor([[-half, -half, z], [half, -half, z], [-half, half, z], [half, half, z]])


TWO = torch.tensor([[0, 1, 2], [1, 3, 2]])


def test_the_nearest_wins_and_among_equals_the_lowest_index():
    points = torch.cat([square(1.2), square(0.9), square(0.9), square(1.0)])[None]
    faces = torch.cat([TWO, TWO + 4, TWO + 8, TWO + 12])
    face = raster.cover(points, faces, 9, 9)
    assert set(face.unique().tolist()) == {2, 3}
    assert (face[0].diagonal() == 2).all() or (face[0].flip(1).diagonal() == 2).all()  # the shared edge


INVISIBLE = [
    [[0, 0, 1], [0, 0, 1], [0, 0, 1]],  # a point
    [[-1, 0, 1], [0, 0, 1], [1, 0, 1]],  # a line through pixel centres
    [[0, 0, 0.5], [0, 0, 1], [0, 0, 2]],  # along the middle ray
    [[0, -1, 1], [0, 1, 1], [0, 0, 3]],  # edge-on, through the camera
    [[-1, -1, -1], [1, -1, -1], [0, 1, -1]],  # behind
    [[-1, -1, 0], [1, -1, 0], [0, 1, 0]],  # in the camera plane
    [[5, 0, 1], [6, 0, 1], [5, 1, 1]],  # off the screen
    [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
    [[1e30, 0, 1], [0, 1e30, 1], [0, 0, -1e30]],
]


@pytest.mark.parametrize("triangle", INVISIBLE)
@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_triangles_that_have_no_inside_in_view_cover_nothing(triangle, backend):
    points = torch.tensor([triangle], dtype=torch.float64).requires_grad_()
    faces = torch.tensor([[0, 1, 2]])
    face = raster.cover(points, faces, 9, 9, backend=backend)
    assert (face == -1).all()
    depth, valid = raster.plane_depth(points, faces, face, 9, 9)
    assert not valid.any()
    (gradient,) = torch.autograd.grad(depth.sum(), points)
    assert (gradient == 0).all()


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_a_floor_that_passes_under_the_camera_is_cut_at_the_camera(backend):
    points = torch.tensor([[[-50, 0.02, -5], [50, 0.02, -5], [0, 0.02, 90]]], dtype=torch.float64)  # y = 0.02, y down
    faces = torch.tensor([[0, 1, 2]])
    depth, valid = raster.plane_depth(points, faces, raster.cover(points, faces, 16, 16, backend=backend), 16, 16)
    slope = pixel_rays(16, 16, dtype=torch.float64)[..., 1]
    assert not valid[0, :8].any()
    assert valid[0, 8:].all()
    torch.testing.assert_close(depth[0, 8:], 0.02 / slope[8:], atol=1e-12, rtol=0)


def test_nothing_to_draw_draws_nothing():
    points, faces = sphere(4, 4)
    assert (raster.cover(points, faces[:0], 5, 5) == -1).all()
    assert raster.cover(points[:0], faces, 5, 5).shape == (0, 5, 5)
    assert raster.rasterise_depth(torch.zeros(2, 1, 4, 3), 5, 5)[1].sum() == 0


def test_moving_a_surface_back_moves_its_depth_back():
    points = apply_view(back_project(torch.ones(2, 16, 16)), torch.full((2, 6), 0.1)).requires_grad_()
    depth, valid = raster.rasterise_depth(points)
    (gradient,) = torch.autograd.grad(depth.sum(), points)
    normal = torch.linalg.cross(points[0, 0, 1] - points[0, 0, 0], points[0, 1, 0] - points[0, 0, 0]).detach()
    expected = (normal / (pixel_rays(16, 16) @ normal)[..., None])[valid[0]].sum(0)  # of a plane: n / (n·r)
    torch.testing.assert_close(gradient[0].sum((0, 1)), expected, atol=1e-3, rtol=1e-5)


def test_two_samples_lie_a_quarter_pixel_from_the_centre():
    points, faces = sphere(16, 20)
    size = 12
    wider = 2 * math.degrees(math.atan((2 * size - 1) / (2 * size - 2) * math.tan(math.radians(FOV / 2))))
    fine = raster.cover(points, faces, size, size, samples=2)
    assert fine.shape == (1, 24, 24)
    torch.testing.assert_close(fine, raster.cover(points, faces, 2 * size, 2 * size, wider))


def test_supersampling_averages_what_is_covered():
    depth = torch.linspace(0.95, 1.05, 20, dtype=torch.float64).expand(1, 20, 20)
    single, _ = raster.rasterise_depth(back_project(depth))
    double, valid = raster.rasterise_depth(back_project(depth), samples=2)
    assert valid.all()  # the outermost pixels are half covered
    torch.testing.assert_close(double[:, 1:-1, 1:-1], single[:, 1:-1, 1:-1], atol=1e-5, rtol=0)
    points = apply_view(back_project(depth), torch.tensor([[0.1, 0.4, 0.2, 0, 0, 0]], dtype=torch.float64))
    (one, seen), (two, seen_twice) = raster.rasterise_depth(points), raster.rasterise_depth(points, samples=2)
    assert (seen & ~seen_twice).sum() <= 2
    assert (two[seen_twice] > 0.9).all()  # no background mixed in
    assert (one - two)[seen & seen_twice].abs().max() < 5e-3


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_a_vertex_that_is_no_number_is_an_error_that_names_the_item(value, backend):
    points = back_project(torch.ones(3, 4, 4))
    points[1, 2, 3, 0] = value
    with pytest.raises(InputError, match="item 1 of the batch"):
        raster.rasterise_depth(points, backend=backend)


def test_numbers_whose_sum_overflows_are_numbers():
    assert not raster.rasterise_depth(torch.full((2, 64, 64, 3), 1e38))[1].any()


def test_faces_must_name_vertices():
    for wrong in (-1, 4):
        with pytest.raises(InputError, match="number the vertices from 0"):
            raster.cover(square(1.0)[None], torch.tensor([[0, 1, wrong]]), 4, 4)


def test_calls_that_mean_nothing_are_usage_errors():
    points = square(1.0)[None]
    for arguments in [
        (points[0], TWO, 4, 4),
        (points.half(), TWO, 4, 4),
        (points, TWO.float(), 4, 4),
        (points, TWO[:, :2], 4, 4),
        (points, TWO, 0, 4),
        (points, TWO, 4, 1),
        (points, TWO, 4, 4, 0.0),
    ]:
        with pytest.raises(UsageError):
            raster.cover(*arguments)
    with pytest.raises(UsageError, match="1 or more"):
        raster.cover(points, TWO, 4, 4, samples=0)
    with pytest.raises(UsageError, match="B×H×W×3"):
        raster.rasterise_depth(points)
    with pytest.raises(UsageError, match="result of cover"):
        raster.plane_depth(points, TWO, raster.cover(points, TWO, 4, 4), 8, 8)
    with pytest.raises(UsageError, match="result of cover"):
        raster.plane_depth(points, TWO[:1], torch.ones(1, 4, 4, dtype=torch.int32), 4, 4)
    with pytest.raises(UsageError, match="use one of numba"):
        raster.cover(points, TWO, 4, 4, backend="opengl")


def test_a_backend_that_is_not_installed_names_its_extra():
    assert raster.available_backends()[:2] == ["numba", "reference"]
    if "pytorch3d" not in raster.available_backends():
        with pytest.raises(MissingPartError, match=r"sym3d\[pytorch3d\]"):
            raster.cover(square(1.0)[None], TWO, 4, 4, backend="pytorch3d")
