"""The camera in closed form."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.core.camera import apply_view, back_project, intrinsics, pixel_rays, project, rotation, undo_view

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
def test_undoing_a_view_gives_the_points_back(angle, shift):
    view = torch.tensor([angle + shift], dtype=torch.float64)
    points = torch.rand(1, 3, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(undo_view(apply_view(points, view), view), points, atol=1e-10, rtol=0)
    r = rotation(view[:, :3])[0]
    torch.testing.assert_close(r @ r.T, torch.eye(3, dtype=torch.float64), atol=1e-12, rtol=0)
