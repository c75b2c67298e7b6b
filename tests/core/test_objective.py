"""The training loss in bfloat16: the networks and features only, and near enough to float32."""

import copy

import pytest
import torch
from torch.nn.functional import cosine_similarity

import stages.core.objective
from stages.core.model import Factors, Sym3D
from stages.core.objective import objective, supervised_objective
from stages.data.batches import batch_trials


@pytest.fixture(scope="module")
def scene():
    """A model that has begun to learn, features, and images with something in them."""
    torch.manual_seed(0)
    model = Sym3D(64, 0.125, convex_prior=1.0)
    features = torch.nn.Conv2d(3, 32, 4, stride=4).requires_grad_(False)
    coarse = torch.rand(4, 3, 8, 8)
    smooth = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic", align_corners=False)
    image = smooth.clamp(0, 1) * 2 - 1
    optimizer = torch.optim.Adam(model.parameters(), 3e-4)
    for _ in range(5):
        optimizer.zero_grad()
        objective(model, image)[0]["total"].backward()
        optimizer.step()
    return model, features, image


def losses_and_gradients(model, precision, **settings):
    model = copy.deepcopy(model)
    model.zero_grad()
    parts = objective(model, precision=precision, **settings)[0]
    parts["total"].backward()
    gradients = {
        name: torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        for name, network in model.named_children()
    }
    return {key: value.item() for key, value in parts.items()}, gradients


def test_losses_and_gradients_in_bfloat16_are_those_in_float32(scene):
    model, features, image = scene
    settings = {"image": image, "features": features, "smooth": 0.1, "yaw_spread": 20.0, "yaw_weight": 1.0}
    exact, exact_gradients = losses_and_gradients(model, torch.float32, **settings)
    rough, rough_gradients = losses_and_gradients(model, torch.bfloat16, **settings)
    assert rough != exact, "nothing was computed in bfloat16"
    assert rough == pytest.approx(exact, rel=0.02, abs=0.002)
    for name, gradient in exact_gradients.items():
        assert cosine_similarity(gradient, rough_gradients[name], dim=0) > 0.97, name
        assert rough_gradients[name].norm().item() == pytest.approx(gradient.norm().item(), rel=0.1), name


def _inside(value):
    return vars(value).values() if isinstance(value, Factors) else [value]


@pytest.mark.parametrize("trials", [None, batch_trials(0, 0, 4)], ids=["shapes", "template"])
def test_geometry_and_losses_see_float32_only(trials, scene, monkeypatch):
    model, features, image = copy.deepcopy(scene[0]), *scene[1:]
    seen = []

    def watched(function):
        def call(*args, **kwargs):
            seen.append(function.__name__)
            assert not torch.is_autocast_enabled("cpu")
            values = [v for value in (*args, *kwargs.values()) for v in _inside(value)]
            assert {v.dtype for v in values if isinstance(v, torch.Tensor)} <= {torch.float32, torch.bool}
            return function(*args, **kwargs)

        return call

    for name in ("photometric", "perceptual", "viewpoints"):
        monkeypatch.setattr(stages.core.objective.losses, name, watched(getattr(stages.core.objective.losses, name)))
    for name in ("smoothness", "steepness"):
        monkeypatch.setattr(stages.core.objective, name, watched(getattr(stages.core.objective, name)))
    monkeypatch.setattr(model, "render", watched(model.render))
    settings = {"features": features, "smooth": 0.1, "steep": 0.1, "yaw_spread": 20.0, "trials": trials}
    objective(model, image, precision=torch.bfloat16, **settings)
    assert set(seen) == {"photometric", "perceptual", "viewpoints", "smoothness", "steepness", "render"}


def test_supervised_is_the_mean_error_of_depth_over_the_mask():
    torch.manual_seed(0)
    model = Sym3D(64, 1 / 16, border=0, max_rotation_degrees=0.0, max_translation_xy=0.0)
    image, mask = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 64, 64) < 0.3
    found = model.predict(image).depth
    truth = found.detach() + torch.where(mask, 0.02, torch.nan)  # background has no depth
    parts = supervised_objective(model, image, truth, mask)
    torch.testing.assert_close(parts["depth"], torch.tensor(0.02), rtol=1e-4, atol=0)
    torch.testing.assert_close(parts["total"], parts["depth"] / 0.2)
    parts["total"].backward()
    assert all(p.grad.isfinite().all() for p in model.netD.parameters())
    seen = model.render(model.predict(image)).depth
    torch.testing.assert_close(seen, found, atol=1e-5, rtol=0)  # nothing turns it
