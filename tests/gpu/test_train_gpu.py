"""A training step on a GPU: without waiting for it, and as on a CPU."""

import numpy as np
import pytest
import torch

import stages.steps
from stages.ranks import Ranks
from stages.recipe import parse_recipe
from stages.steps import Losses, TrainingImages, take_step
from stages.train import TrainRequest, _fresh_state, run
from tests.stages.test_train import RECIPE, contents, write_images

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
HELPED = "symmetric = true\n[loss]\nyaw_spread = 20\nsmoothness = 0.1\n"


@pytest.mark.parametrize("helped", ["[loss]\n", HELPED], ids=["paper", "helped"])
def test_the_host_never_waits_for_a_step(helped):
    text = RECIPE.format(steps=8, save_every=1000).replace("[loss]\n", helped)
    recipe = parse_recipe(text.replace("ema = 0.9", "ema = 0.9\nsearch_steps = 3"), where="test")
    state = _fresh_state(recipe)
    images = TrainingImages(torch.randint(256, (24, 64, 64, 3), dtype=torch.uint8, device="cuda"))
    losses = Losses(state.model, None)
    for step in range(8):  # the search is over after three; what follows has caches of its own to fill
        torch.cuda.set_sync_debug_mode("error" if step in (1, 2, 5, 6, 7) else "default")
        try:
            take_step(state, losses, images, recipe, Ranks(), lambda: False, 0)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_a_step_that_is_not_finite_changes_nothing(monkeypatch):
    recipe = parse_recipe(RECIPE.format(steps=8, save_every=1000), where="test")
    state, objective = _fresh_state(recipe), stages.steps.objective
    images = TrainingImages(torch.randint(256, (24, 64, 64, 3), dtype=torch.uint8, device="cuda"))

    def spoil(*arguments, **settings):
        parts, *rest = objective(*arguments, **settings)
        return ({key: value * float("nan") for key, value in parts.items()}, *rest)

    def learned() -> list[torch.Tensor]:
        moments = [value for values in state.optimizer.state.values() for value in values.values()]
        return [value.clone() for value in (*state.model.parameters(), *moments)]

    def step() -> list[torch.Tensor]:
        take_step(state, Losses(state.model, None), images, recipe, Ranks(), lambda: False, 0)
        return learned()

    before = step()
    monkeypatch.setattr(stages.steps, "objective", spoil)
    assert all(map(torch.equal, before, step()))
    monkeypatch.setattr(stages.steps, "objective", objective)
    assert not all(map(torch.equal, before, step()))


def test_a_run_in_bfloat16_stays_near_that_in_float32(tmp_path):
    images = write_images(tmp_path / "faces.h5")
    logs = {}
    for precision in ("float32", "bfloat16"):
        text = RECIPE.format(steps=20, save_every=1000).replace("batch = 4", f'batch = 4\nprecision = "{precision}"')
        run(TrainRequest(parse_recipe(text, where="test"), tmp_path / precision, images))
        logs[precision] = contents(tmp_path / precision)["log/total"]
    np.testing.assert_allclose(logs["bfloat16"], logs["float32"], rtol=0.05)


def test_five_steps_on_a_gpu_are_near_those_on_a_cpu(tmp_path, monkeypatch):
    """In float32, whose convolutions a GPU may round to ten bits (TF32)."""
    images = write_images(tmp_path / "faces.h5")
    text = RECIPE.format(steps=5, save_every=1000).replace("batch = 4", 'batch = 4\nprecision = "float32"')
    recipe = parse_recipe(text.replace("log_every = 2", "log_every = 1"), where="test")
    run(TrainRequest(recipe, tmp_path / "gpu", images))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run(TrainRequest(recipe, tmp_path / "cpu", images))
    gpu, cpu = (contents(tmp_path / name)["log/total"] for name in ("gpu", "cpu"))
    np.testing.assert_allclose(gpu, cpu, rtol=0.02)
