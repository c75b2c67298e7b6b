"""The metrics in closed form."""

import pytest
import torch

from stages.core.metrics import depth_correlation, evaluation_mask, mad, relief, side

from .test_geometry import plane


def test_mask_loses_one_pixel_on_every_side_also_at_the_image_border():
    gt = torch.ones(1, 6, 6, dtype=torch.bool)
    predicted = gt.clone()
    predicted[0, 2, 2] = False
    mask = evaluation_mask(gt, predicted)
    assert not mask[0, 0].any()
    assert not mask[0, :, -1].any()
    assert mask[0].sum() == 16 - 9
    assert mask[0, 4, 4]


def test_side_ignores_scale_and_measures_spread():
    truth = 0.9 + 0.2 * torch.rand(2, 8, 8)
    mask = torch.ones(2, 8, 8, dtype=torch.bool)
    torch.testing.assert_close(side(1.7 * truth, truth, mask), torch.zeros(2), atol=1e-6, rtol=0)
    half = torch.ones(2, 8, 8)
    half[:, :4] = torch.e
    torch.testing.assert_close(side(half * truth, truth, mask), torch.full((2,), 0.5), atol=1e-6, rtol=0)


def test_outside_the_mask_anything_goes():
    truth = torch.ones(1, 6, 6)
    predicted = truth.clone()
    predicted[0, 0, 0], truth[0, 5, 5] = float("nan"), 0
    mask = torch.zeros(1, 6, 6, dtype=torch.bool)
    mask[0, 2:4, 2:4] = True
    assert side(predicted, truth, mask).item() == 0


def test_an_empty_mask_is_nan_not_a_perfect_score():
    nothing = torch.zeros(1, 6, 6, dtype=torch.bool)
    ones = torch.ones(1, 6, 6)
    assert side(ones, ones, nothing).isnan().all()
    assert mad(ones, ones, nothing).isnan().all()


def test_mad_is_the_angle_between_planes():
    a, b = plane([0.0, 0.0, 1.0]), plane([0.0, 0.5, 0.75**0.5])
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[0, 4:-4, 4:-4] = True
    assert mad(a, b, mask).item() == pytest.approx(30.0, abs=1e-4)
    assert mad(b, b, mask).item() < 1e-9


def test_depth_correlation_is_perfect_up_to_sign_and_scale_per_key_point():
    truth = torch.randn(50, 66)
    assert depth_correlation(truth, truth).item() == pytest.approx(66, abs=1e-3)
    assert depth_correlation(-3 * truth + 1, truth).item() == pytest.approx(66, abs=1e-3)
    assert depth_correlation(torch.randn(50, 66), truth).item() < 20
    assert depth_correlation(torch.zeros(50, 66), truth).item() == 0


def test_relief_tells_a_surface_from_its_mould():
    truth = 1 + 0.1 * torch.rand(2, 8, 8)
    mask = torch.rand(2, 8, 8) < 0.7
    torch.testing.assert_close(relief(2 * truth + 1, truth, mask), torch.ones(2))
    torch.testing.assert_close(relief(3 - truth, truth, mask), -torch.ones(2))
    spoilt = torch.where(mask, truth, 7.0)
    torch.testing.assert_close(relief(spoilt, truth, mask), torch.ones(2))
    assert relief(truth, truth, torch.zeros_like(mask)).isnan().all()
    assert relief(torch.ones_like(truth), truth, mask).abs().max() < 1e-6  # a plane has none
