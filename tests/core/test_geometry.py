"""Normals, shading and smoothness in closed form, and their gradients."""

import math

import torch

from stages.core.camera import pixel_rays
from stages.core.geometry import depth_normals, smoothness, steepness
from stages.core.lighting import shade


def plane(normal, size=32, fov=10.0):
    """Depth of the plane through (0, 0, 1) with this normal: n·(z r) = n·c."""
    n = torch.tensor(normal, dtype=torch.float64)
    return (n[2] / (pixel_rays(size, size, fov, dtype=torch.float64) @ n))[None]


def test_normals_of_a_tilted_plane_are_exact():
    n = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64)
    found = depth_normals(plane(n.tolist()))
    torch.testing.assert_close(found[0, 1:-1, 1:-1], (n / n.norm()).expand(30, 30, 3), atol=1e-9, rtol=0)


def test_normals_of_a_flat_map_face_away_and_borders_are_fixed():
    found = depth_normals(torch.ones(1, 8, 8))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 1.0]).expand(1, 8, 8, 3), atol=1e-6, rtol=0)
    noisy = depth_normals(1 + 0.01 * torch.rand(1, 8, 8))
    assert (noisy[:, 0] == torch.tensor([0.0, 0.0, 1.0])).all()
    torch.testing.assert_close(noisy.norm(dim=-1), torch.ones(1, 8, 8))


def test_normals_have_the_right_gradient():
    depth = (1 + 0.01 * torch.rand(1, 5, 5, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: depth_normals(d, 30.0), (depth,), eps=1e-7)


def test_shading_by_hand():
    normal = torch.tensor([0.0, 0.0, 1.0]).expand(2, 1, 1, 3)
    tilted = math.sin(math.radians(60)), 0.0, math.cos(math.radians(60))
    away = (0.0, 0.0, -1.0)
    shading = shade(normal, torch.tensor([0.2, 0.2]), torch.tensor([0.6, 0.6]), torch.tensor([tilted, away]))
    torch.testing.assert_close(shading.flatten(), torch.tensor([0.2 + 0.6 * 0.5, 0.2]))


def test_smoothness_of_a_ramp_is_its_slope():
    ramp = 0.1 * torch.arange(6.0).expand(1, 6, 6)
    torch.testing.assert_close(smoothness(ramp), torch.tensor(0.1))
    torch.testing.assert_close(smoothness(ramp + ramp.mT), torch.tensor(0.2))


def test_steepness_is_the_squared_excess_over_a_slope_that_shrinks_with_the_pixels():
    along = torch.arange(64.0).expand(1, 64, 64)
    assert steepness(0.039 * along) == 0
    torch.testing.assert_close(steepness(0.06 * along), torch.tensor(0.02**2 / 0.04))
    torch.testing.assert_close(steepness(0.06 * along - 0.07 * along.mT), torch.tensor((0.02**2 + 0.03**2) / 0.04))
    finer = torch.arange(128.0).expand(1, 128, 128)
    torch.testing.assert_close(steepness(0.03 * finer), torch.tensor(0.01**2 / 0.02))


def test_one_blade_costs_more_than_the_ramp_of_its_height():
    blade = torch.zeros(1, 64, 64).index_fill_(2, torch.arange(32, 64), 1.0)
    ramp = torch.linspace(0, 1, 64).expand(1, 64, 64)
    torch.testing.assert_close(smoothness(blade), smoothness(ramp))
    assert steepness(blade) > 0 == steepness(ramp)
