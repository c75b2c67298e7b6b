"""A model that imitates another comes to say what that one says, at its own size."""

from types import SimpleNamespace

import pytest
import torch

from stages.core.imitation import imitation
from stages.core.model import Factors, Sym3D

OPTIONS = {"width": 0.0625, "confidence": False, "symmetric": True}


def images(count=2, size=64, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_who_says_the_same_has_nothing_to_learn():
    torch.manual_seed(0)
    model, other = Sym3D(64, **OPTIONS), Sym3D(64, **OPTIONS)
    other.load_state_dict(model.state_dict())
    parts = imitation(model, other, images())
    assert set(parts) == {"total", "depth", "albedo", "view", "light"}
    assert all(value.item() == 0 for value in parts.values())


def ramp(size, **replaced):
    """A stand-in for a model: maps that rise along x, by where a pixel's area lies in the picture."""
    across = ((torch.arange(size) + 0.5) / size).expand(1, size, size)
    factors = {
        "free_depth": 0.9 + 0.2 * across,
        "albedo": (2 * across - 1).expand(1, 3, -1, -1),
        "view": torch.tensor([[0, 0, 0, 0, 0, 0.01]]),  # towards the viewer, which ``reach`` does not allow
        "ambient": torch.zeros(1),
        "diffuse": torch.zeros(1),
        "light_direction": torch.tensor([[0.0, 0.0, 1.0]]),
    } | replaced
    reach = torch.tensor([1.0, 1.0, 1.0, 0.1, 0.1, 0.0])
    factors |= {"depth": factors["free_depth"], "confidence": None, "perceptual_confidence": None}
    predict = lambda image: Factors(**factors)  # noqa: E731
    return SimpleNamespace(size=size, depth_min=0.9, depth_max=1.1, view_reach=reach, predict=predict)


@pytest.mark.parametrize(("size", "theirs"), [(128, 64), (64, 128)])
def test_pixels_of_either_size_lie_in_the_same_place(size, theirs):
    parts = imitation(ramp(size), ramp(theirs), images(1, size))
    # Only the outermost columns differ: by half a fine pixel where the picture grows, 2 of 128 × 1/256.
    assert parts["depth"].item() < 7e-5
    assert parts["albedo"].item() < 7e-5


def test_differences_are_shares_of_what_the_model_can_say():
    said = {
        "free_depth": torch.full((1, 64, 64), 1.0),
        "albedo": torch.full((1, 3, 64, 64), 0.5),
        "view": torch.tensor([[0.5, 0, 0, 0.05, 0, 0.05]]),
        "ambient": torch.tensor([0.5]),
    }
    silent = {"free_depth": torch.full((1, 64, 64), 0.9), "albedo": torch.zeros(1, 3, 64, 64)}
    parts = imitation(ramp(64, **said), ramp(64, **silent), images(1))
    expected = {"depth": 0.5, "albedo": 0.25, "view": (0.25 + 0.25) / 6, "light": 0.25 / 5}
    assert {key: parts[key].item() for key in expected} == pytest.approx(expected, rel=1e-5)
    assert parts["total"].item() == pytest.approx(sum(expected.values()), rel=1e-5)


def test_a_larger_model_learns_to_say_what_a_smaller_one_says():
    torch.manual_seed(1)
    teacher = Sym3D(64, **OPTIONS)
    with torch.no_grad():
        for parameter in teacher.netV.parameters():
            parameter *= 3  # fresh networks see everything from the front
    model = Sym3D(128, **OPTIONS, he_init=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    image, losses = images(size=128), []
    for _ in range(40):
        parts = imitation(model, teacher, image)
        optimizer.zero_grad()
        parts["total"].backward()
        optimizer.step()
        losses.append({key: value.item() for key, value in parts.items()})
    assert losses[-1]["total"] < losses[0]["total"] / 4
    assert losses[-1]["depth"] < losses[0]["depth"] / 2
    assert all(parameter.grad is None for parameter in teacher.parameters())
