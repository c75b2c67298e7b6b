"""Depth at key points, and DepthNet's closed form: both against truths that are known exactly."""

import math

import pytest
import torch

from stages.core.depthnet import DepthNet, affine_residual, centred
from stages.core.keypoints import keypoint_depth
from stages.core.metrics import correlation, depth_correlation


def test_key_points_on_a_plane_have_its_depth():
    v, u = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    depth = (1 + 0.002 * u - 0.001 * v)[None]
    points = torch.tensor([[[0, 0], [63, 47], [10.25, 20.75], [62.9, 0.1]]])
    found = keypoint_depth(depth, torch.ones_like(depth, dtype=torch.bool), points)
    torch.testing.assert_close(found, 1 + 0.002 * points[..., 0] - 0.001 * points[..., 1])


def test_what_is_not_covered_takes_the_nearest_depth_that_is():
    depth = torch.arange(64.0).expand(2, 64, 64)
    valid = torch.zeros(2, 64, 64, dtype=torch.bool)
    valid[0, 10:20, 30:40] = True
    points = torch.tensor([[0.0, 0.0], [35.5, 15.5], [39.6, 15.0], [80.0, 15.0]]).expand(2, -1, -1)
    found = keypoint_depth(depth, valid, points)
    assert found[0].tolist() == [30.0, 35.5, 39.0, 39.0]
    assert found[1].isnan().all()


def test_correlation_of_constants_is_zero_and_of_nothing_nan():
    truth = torch.randn(20, 3, generator=torch.manual_seed(0))
    predicted = torch.stack([-3 * truth[:, 0] + 1, torch.full((20,), 0.7), truth[:, 2] * torch.nan], 1)
    found = correlation(predicted, truth)
    assert found[:2].tolist() == [pytest.approx(-1), 0]
    assert found[2].isnan()
    assert depth_correlation(predicted[:, :2], truth[:, :2]).item() == pytest.approx(1)


def turned(count: int, seed: int) -> torch.Tensor:
    """One rigid set of 66 points seen from ``count`` sides: (count, 66, 3)."""
    torch.manual_seed(seed)
    body = torch.randn(66, 3) * 0.2
    pitch, yaw = torch.randn(2, count) * math.radians(20)
    zero, one = torch.zeros(count), torch.ones(count)
    about_y = torch.stack([yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos()], 1)
    about_x = torch.stack([one, zero, zero, zero, pitch.cos(), -pitch.sin(), zero, pitch.sin(), pitch.cos()], 1)
    return body @ (about_x.view(-1, 3, 3) @ about_y.view(-1, 3, 3)).mT


def test_the_true_depth_explains_another_view_and_no_other_does():
    a, b = turned(2, 0).chunk(2)
    right = affine_residual(a[..., :2], -5 * a[..., 2] + a[..., 0], b[..., :2])  # up to scale, sign and shear
    wrong = affine_residual(a[..., :2], torch.randn(1, 66), b[..., :2])
    assert right < 1e-4 < 0.02 * wrong


def test_centred_points_are_fractions_about_the_middle():
    points = torch.tensor([[[10.0, 20.0], [30.0, 60.0]]])
    torch.testing.assert_close(centred(points, 100), torch.tensor([[[-0.1, -0.2], [0.1, 0.2]]]))


def test_depthnet_gives_every_point_a_depth():
    faces = turned(4, 0)[..., :2]
    assert DepthNet(66, 8)(faces, faces.flip(0)).shape == (4, 66)
