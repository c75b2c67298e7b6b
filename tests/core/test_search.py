"""Viewpoints found by trying: the right one among many, and never one that hides the object."""

import math
from dataclasses import replace

import pytest
import torch

from stages.core.model import Sym3D
from stages.core.objective import objective
from stages.core.search import search_view
from stages.data.batches import batch_trials


@pytest.fixture
def scene():
    """A convex model whose canonical picture is symmetric and full of features, with three images' factors."""
    torch.manual_seed(0)
    model = Sym3D(64, 1 / 16, confidence=False, convex_prior=2.0)
    half = torch.nn.functional.interpolate(torch.rand(1, 3, 12, 6) * 2 - 1, (64, 32), mode="bicubic")
    albedo = torch.cat([half, half.flip(-1)], -1).clamp(-1, 1).expand(3, -1, -1, -1)
    with torch.no_grad():
        factors = model.predict(torch.zeros(3, 3, 64, 64))
        depth = model.metric_depth(torch.zeros(3, 64, 64))
    lit = dict(ambient=torch.full((3,), 0.6), diffuse=torch.full((3,), 0.4))
    return model, replace(factors, depth=depth, albedo=albedo, view=torch.zeros(3, 6), **lit)


def test_finds_the_viewpoint_that_an_image_was_rendered_from(scene):
    model, factors = scene
    truth = torch.zeros(3, 6)
    truth[:, 1] = torch.tensor([-0.5, 0.1, 0.6])
    truth[:, 0] = torch.tensor([0.2, -0.1, 0.0])
    seen = model.render(factors, view=truth)
    image = torch.where(seen.valid[:, None], seen.image, 0.0)
    trials = batch_trials(0, 0, 3)
    trials[5] = truth  # from the predicted viewpoint, which is frontal here
    torch.testing.assert_close(search_view(model, factors, image, trials), truth)
    trials = batch_trials(0, 0, 3)
    trials[-1] = truth  # from the frontal one, wherever the prediction is
    lost = replace(factors, view=torch.tensor([[0.3, 0.9, 0.2, 0, 0, 0]]).expand(3, -1))
    torch.testing.assert_close(search_view(model, lost, image, trials), truth)


def test_keeps_what_nothing_beats_and_does_not_turn_away(scene):
    model, factors = scene
    seen = model.render(factors)
    trials = torch.zeros(3, 3, 6)
    trials[:, :, 1] = math.radians(58)  # most of the frame is empty then
    found = search_view(model, factors, torch.where(seen.valid[:, None], seen.image, 0.0), trials)
    assert (found == 0).all()


def test_the_viewpoint_network_learns_what_was_found():
    model = Sym3D(64, 1 / 16, symmetric=True, convex_prior=1.5)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    parts, factors, _ = objective(model, images, yaw_spread=25.0, trials=batch_trials(0, 0, 2))
    assert parts["search"] > 0
    parts["search"].backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.netV.parameters())
    assert all(p.grad is None for p in model.netD.parameters())
    prior = model.metric_depth(torch.zeros(2, 64, 64))
    torch.testing.assert_close(factors.free_depth, prior)  # one template for both
    assert (factors.albedo[0] == factors.albedo[1]).all()
    assert not (factors.view[0] == factors.view[1]).all()


def test_what_is_found_is_held_as_widely_spread_as_all_yaws():
    """Otherwise yaws shrink while the template blurs, and a search of 200 steps forgets what it knew after 100."""
    model = Sym3D(64, 1 / 16, symmetric=True, convex_prior=1.5)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    settings = {"yaw_spread": 25.0, "trials": batch_trials(0, 0, 2)}
    held, free = (objective(model, images, yaw_weight=weight, **settings)[0] for weight in (1.0, 0.0))
    assert held["viewpoints"] > free["viewpoints"]
    assert held["search"] == free["search"]


def test_trials_follow_from_seed_and_step():
    assert (batch_trials(1, 7, 4) == batch_trials(1, 7, 4)).all()
    assert not (batch_trials(1, 7, 4) == batch_trials(1, 8, 4)).any(0).all()
    spread = torch.cat([batch_trials(0, step, 8) for step in range(60)]).std((0, 1)).rad2deg()
    torch.testing.assert_close(spread, torch.tensor([8.0, 15.0, 5.0, 0.0, 0.0, 0.0]), rtol=0.1, atol=1e-6)


def test_trials_seen_from_above_roll_as_they_turn():
    level, above = batch_trials(0, 0, 4), batch_trials(0, 0, 4, elevation=30.0)
    torch.testing.assert_close(above[..., 2], level[..., 2] + level[..., 1] / math.sqrt(3))
    assert (above[..., :2] == level[..., :2]).all()


def test_the_depth_network_begins_when_the_template_ends():
    """Gradients of 0 would let Adam's second moment fade, and its first real steps grow tenfold."""
    model = Sym3D(64, 1 / 16, symmetric=True, convex_prior=1.5)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    objective(model, images, trials=batch_trials(0, 0, 2))[0]["total"].backward()
    assert all(p.grad is None for p in model.netD.parameters())
    objective(model, images)[0]["total"].backward()
    assert all(p.grad is not None for p in model.netD.parameters())
