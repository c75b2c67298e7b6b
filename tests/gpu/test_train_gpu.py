"""A training step on a GPU: without waiting for it, and as on a CPU."""

import numpy as np
import pytest
import torch

import stages.steps
import stages.train
from stages.progress import Silent
from stages.ranks import Ranks
from stages.recipe import parse_recipe
from stages.recorded import Recorder, cuda_graph, eagerly
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
            take_step(state, losses, images, recipe, Ranks(), lambda: False)
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
        take_step(state, Losses(state.model, None), images, recipe, Ranks(), lambda: False)
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


@pytest.fixture
def recorders(monkeypatch):
    """Trainings record after four equal steps; a recording that is refused fails the test, with the reason."""
    made = []

    def ours(device, processes, warn):
        made.append(Recorder(cuda_graph, pytest.fail, patience=4))
        return made[-1]

    monkeypatch.setattr(stages.train, "performer", ours)
    return made


def recorded_recipe(*settings, steps=40):
    """After ten steps nothing changes: the search is over, the yaws' weight has faded, the average decays by 0.5."""
    text = RECIPE.format(steps=steps, save_every=1000).replace("log_every = 2", "log_every = 1")
    helped = ("optim.search_steps=3", "optim.ema=0.5", "loss.yaw_spread=20.0", "loss.yaw_spread_steps=10")
    return parse_recipe(text, (*helped, "optim.lr=1e-4", *settings), where="test")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_recorded_run_is_near_the_eager_one(precision, tmp_path, monkeypatch, recorders):
    images, recipe = write_images(tmp_path / "faces.h5"), recorded_recipe(f"optim.precision={precision}")
    run(TrainRequest(recipe, tmp_path / "recorded", images))
    assert recorders[0].recorded is not None
    monkeypatch.setattr(stages.train, "performer", lambda *_: eagerly)
    run(TrainRequest(recipe, tmp_path / "eager", images))
    recorded, eager = (contents(tmp_path / name) for name in ("recorded", "eager"))
    np.testing.assert_allclose(recorded["log/total"], eager["log/total"], rtol=0.05, atol=0.01)
    assert len(set(recorded["log/total"][-10:].tolist())) == 10  # other batches, other losses


def test_a_recorded_run_resumes_and_rolls_back(tmp_path, monkeypatch, recorders):
    images = write_images(tmp_path / "faces.h5")
    for steps in (25, 40):
        run(TrainRequest(recorded_recipe(steps=steps), tmp_path / "parts", images))
    run(TrainRequest(recorded_recipe(), tmp_path / "whole", images))
    assert all(recorder.recorded for recorder in recorders)
    parts, whole = (contents(tmp_path / name)["log/total"] for name in ("parts", "whole"))
    np.testing.assert_allclose(parts, whole, rtol=0.05, atol=0.01)

    class Told(Silent):
        def warn(self, text):
            warnings.append(text)

    # The thirty-first step is spoilt while it is replayed, and one such step is too many here.
    warnings, take = [], stages.train.take_step

    def spoil(state, *arguments):
        if state.step == 30 and not state.rollbacks:
            assert recorders[-1].recorded is not None
            with torch.no_grad():
                next(state.model.parameters()).fill_(float("nan"))
        return take(state, *arguments)

    monkeypatch.setattr(stages.train, "take_step", spoil)
    monkeypatch.setattr(stages.steps, "MOST_SKIPPED", 0)
    recipe = recorded_recipe("run.rollbacks=1", "run.save_every=20")
    run(TrainRequest(recipe, tmp_path / "rolled", images), report=Told())
    assert warnings[-1].endswith("back to step 20 with a learning rate of 5e-05")
    assert recorders[-1].recorded is not None
    assert np.isfinite(contents(tmp_path / "rolled")["log/total"]).all()


def test_the_host_never_waits_for_a_replay():
    recipe = recorded_recipe()
    state, perform = _fresh_state(recipe), Recorder(cuda_graph, pytest.fail, patience=4)
    images = TrainingImages(torch.randint(256, (24, 64, 64, 3), dtype=torch.uint8, device="cuda"))
    losses = Losses(state.model, None)
    for _ in range(20):
        torch.cuda.set_sync_debug_mode("default" if perform.recorded is None else "error")
        try:
            values = take_step(state, losses, images, recipe, Ranks(), lambda: False, perform)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert perform.recorded is not None
    assert all(value.isfinite() for value in values.values())


def test_a_graph_that_cannot_be_captured_leaves_training_as_it_was():
    """Reading a number is not allowed in a capture; what follows must work, on the stream that was there before."""
    recipe, told = recorded_recipe(), []
    state, stream = _fresh_state(recipe), torch.cuda.current_stream()
    images = TrainingImages(torch.randint(256, (24, 64, 64, 3), dtype=torch.uint8, device="cuda"))

    class Reading(Losses):
        def forward(self, image, *arguments, **settings):
            image.sum().item()
            return super().forward(image, *arguments, **settings)

    losses, perform = Reading(state.model, None), Recorder(cuda_graph, told.append, patience=4)
    for _ in range(20):
        values = take_step(state, losses, images, recipe, Ranks(), lambda: False, perform)
    assert len(told) == 1
    assert torch.cuda.current_stream() == stream
    assert all(value.isfinite() for value in values.values())
