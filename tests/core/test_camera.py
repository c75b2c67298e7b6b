"""The camera in closed form."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.core.camera import (
    apply_view,
    back_project,
    intrinsics,
    pixel_rays,
    project,
    rotation,
    view_points,
    view_sources,
)

angles = st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3)
shifts = st.lists(st.floats(-0.1, 0.1), min_size=3, max_size=3)


def test_field_of_view_spans_the_outer_pixel_centres():
    rays = pixel_rays(64, 64, 10.0)
    half = math.degrees(math.atan2(rays[0, -1, 0].item(), 1.0))
    assert half == pytest.approx(5.0, abs=1e-5)
    torch.testing.assert_close(rays[31:33, 31:33, :2].mean((0, 1)), torch.zeros(2), atol=1e-7, rtol=0)


def test_intrinsics_for_any_height():
    k = intrinsics(32, 64, 30.0)
    assert k[0, 0] == pytest.approx(63 / (2 * math.tan(math.radians(15))))
    assert k[0, 0] == k[1, 1]
    assert k[1, 2] == 15.5


def test_back_projection_and_projection_are_inverse():
    depth = torch.rand(2, 9, 13, dtype=torch.float64) + 0.5
    pixels = project(back_project(depth, 20.0), 9, 13, 20.0)
    v, u = torch.meshgrid(torch.arange(9.0), torch.arange(13.0), indexing="ij")
    torch.testing.assert_close(pixels, torch.stack([u, v], -1).double().expand(2, 9, 13, 2), atol=1e-9, rtol=0)


def test_positive_yaw_about_y_by_hand():
    # β = 90° takes the point 0.1 to the right of the centre to 0.1 before it (nearer the camera).
    view = torch.tensor([[0.0, math.pi / 2, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    moved = apply_view(torch.tensor([[[0.1, 0.0, 1.0]]], dtype=torch.float64), view)
    torch.testing.assert_close(moved, torch.tensor([[[0.0, 0.0, 0.9]]], dtype=torch.float64), atol=1e-12, rtol=0)


def test_rotation_is_the_product_rz_ry_rx():
    a = torch.tensor([[0.3, -0.5, 0.7]], dtype=torch.float64)
    zero = torch.zeros_like(a)

    def only(axis):
        one = zero.clone()
        one[:, axis] = a[:, axis]
        return rotation(one)

    torch.testing.assert_close(rotation(a), only(2) @ only(1) @ only(0))


@given(angles, shifts)
def test_a_depth_map_seen_from_a_viewpoint(angle, shift):
    view = torch.tensor([angle + shift], dtype=torch.float64)
    depth = 0.9 + 0.2 * torch.rand(1, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(view_points(depth, view), apply_view(back_project(depth), view), atol=1e-12, rtol=0)
    r = rotation(view[:, :3])[0]
    torch.testing.assert_close(r @ r.T, torch.eye(3, dtype=torch.float64), atol=1e-12, rtol=0)


@given(angles, shifts)
def test_where_pixels_come_from_is_the_viewpoint_undone(angle, shift):
    view = torch.tensor([angle + shift], dtype=torch.float64)
    depth = 0.9 + 0.2 * torch.rand(1, 5, 4, dtype=torch.float64)
    centre = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    points = (back_project(depth, 30.0) - view[:, 3:] - centre) @ rotation(view[:, :3])[0] + centre
    torch.testing.assert_close(apply_view(points, view), back_project(depth, 30.0), atol=1e-12, rtol=0)
    expected = project(points, 5, 4, 30.0) / torch.tensor([3.0, 4.0]) * 2 - 1
    torch.testing.assert_close(view_sources(depth, view, 30.0), expected, atol=1e-9, rtol=1e-9)


def test_turned_depth_maps_have_the_right_gradients():
    depth = (1 + 0.1 * torch.rand(2, 3, 3, dtype=torch.float64)).requires_grad_()
    view = (0.2 * torch.randn(2, 6, dtype=torch.float64)).requires_grad_()
    for turned in (view_points, view_sources):
        assert torch.autograd.gradcheck(turned, (depth, view))
