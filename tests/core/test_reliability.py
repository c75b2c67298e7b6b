"""Reliability and its judgement in closed form."""

import math

import pytest
import torch

from stages.core.reliability import COVERAGES, judge, reliability, spearman

ALL = torch.ones(1, 16, 16, dtype=torch.bool)


@pytest.fixture
def picture():
    return torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_perfect_reconstruction_has_every_edge_and_a_negative_none(picture):
    assert reliability(picture, picture, ALL).item() == pytest.approx(1, abs=1e-6)
    assert reliability(picture, -picture, ALL).item() == 0


def test_brightness_and_contrast_do_not_matter(picture):
    darker = (picture + 1) * 0.09 - 1
    assert reliability(picture, darker, ALL).item() == pytest.approx(1, abs=1e-5)


def test_both_directions_count_alike(picture):
    rows = picture.mean(3, keepdim=True).expand_as(picture)
    grid = ((rows + 1).sqrt() + (rows.mT + 1).sqrt()).square() / 4 - 1  # square roots add up
    assert reliability(grid, rows, ALL).item() == pytest.approx(0.5, abs=1e-6)


def test_only_what_is_valid_counts(picture):
    valid = ALL.clone()
    valid[:, :, 10:] = False
    spoilt = torch.where(valid[:, None], picture, torch.nan)
    assert reliability(picture, spoilt, valid).item() == pytest.approx(1, abs=1e-6)
    assert reliability(picture, picture, torch.zeros_like(ALL)).item() == 0
    assert reliability(torch.zeros_like(picture), picture, ALL).item() == 0


def test_the_more_noise_the_less_reliable(picture):
    noise = torch.rand(picture.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found = [reliability(picture, (1 - share) * picture + share * noise, ALL).item() for share in (0, 0.3, 0.6, 1)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.2


def test_rank_correlation():
    a = torch.tensor([3.0, 1.0, 2.0, 5.0])
    assert spearman(a, a.exp()) == pytest.approx(1)
    assert spearman(a, -a) == pytest.approx(-1)
    assert spearman(a, torch.ones(4)) == 0
    # Ranks 1.5 1.5 3 4 and 1 2 3 4, by hand.
    assert spearman(torch.tensor([0.0, 0.0, 1.0, 2.0]), torch.arange(4.0)) == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_risk_by_coverage():
    error = torch.arange(1.0, 41.0)
    knowing, wrong = judge(-error, error), judge(error, error)
    assert knowing.spearman == pytest.approx(-1)
    assert knowing.risk == pytest.approx([(2 * share + 1) / 2 for share in range(1, COVERAGES + 1)])
    assert knowing.aurc == pytest.approx(sum((k + 1) / 2 for k in range(1, 41)) / 40)
    assert wrong.risk[0] == 39.5
    assert wrong.risk[-1] == knowing.risk[-1] == 20.5


def test_images_that_cannot_be_judged_are_left_out():
    error, trust = torch.tensor([1.0, torch.nan, 3.0]), torch.tensor([0.9, 0.8, 0.1])
    assert judge(trust, error).risk[-1] == 2
    assert judge(trust, error).spearman == pytest.approx(-1)
    with pytest.raises(ValueError, match="no image"):
        judge(trust, torch.full((3,), torch.nan))
