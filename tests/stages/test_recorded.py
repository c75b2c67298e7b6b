"""Recorded steps: used when they do what the steps themselves do, and otherwise as if there were none.

A recorder that does the work again, on the places for its inputs, stands in for a CUDA graph.
"""

from functools import partial

import pytest
import torch

import stages.steps
import stages.train
from stages.recipe import parse_recipe
from stages.recorded import Recorder, eagerly, performer
from stages.train import TrainRequest, run
from tests.stages.test_train import RECIPE, assert_same_training, contents, write_images


class Descent:
    """Least squares by momentum: all that matters of a training, at no cost."""

    def __init__(self):
        self.weights, self.momentum = torch.ones(4, requires_grad=True), torch.zeros(4)
        self.recorded = 0

    def learned(self):
        return {"weights": [self.weights], "momentum": [self.momentum]}

    def work(self, rate, inputs):
        loss = (inputs["x"] @ self.weights - 2).square().mean()
        (gradient,) = torch.autograd.grad(loss, self.weights)
        self.momentum.mul_(0.9).add_(gradient)
        self.weights.detach().sub_(rate * self.momentum)
        return {"total": loss.detach()}

    def train(self, perform, rates):
        """The losses of a step at each rate."""
        for step, rate in enumerate(rates):
            x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
            yield perform(partial(self.work, rate), {"x": x}, rate, self.learned)["total"].item()


def again(call):
    return call


def twice(call):
    return lambda: [call() for _ in range(2)][1]


def idle(call):
    values = call()
    return lambda: values


def blind(call):
    """Reads what was in its places when it was recorded."""
    *others, places = call.args
    return partial(call.func, *others, {name: values.clone() for name, values in places.items()})


def silent(call):
    return lambda: {name: value * 0 for name, value in call().items()}


def broken(call):
    call()
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore about it")


def count(made, record):
    def counted(call):
        made.append(1)
        return record(call)

    return counted


def test_it_records_when_settings_rest_and_again_after_they_change():
    made, told, descent = [], [], Descent()
    perform = Recorder(count(made, again), told.append, patience=3)
    rates, seen = [0.03, 0.02, 0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.005, 0.005], []
    for _ in descent.train(perform, rates):
        seen.append((perform.recorded is not None, len(made)))
    assert [recorded for recorded, _ in seen] == [False] * 5 + [True] * 2 + [False] * 3 + [True]
    assert seen[-1][1] == 2
    assert told == []


@pytest.mark.parametrize("record", [again, twice, idle, blind, silent, broken])
def test_whatever_a_recorder_does_the_training_is_the_same_to_the_bit(record):
    told, plain, recorded = [], Descent(), Descent()
    made = []
    perform = Recorder(count(made, record), told.append, patience=2)
    rates = [0.01] * 8 + [0.005] * 8
    assert list(recorded.train(perform, rates)) == list(plain.train(eagerly, rates))
    assert torch.equal(recorded.weights, plain.weights)
    assert torch.equal(recorded.momentum, plain.momentum)
    assert (len(told), len(made)) == ((0, 2) if record is again else (1, 1))  # nor is it tried again


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (twice, "it learns other weights"),
        (idle, "it learns other weights"),
        (blind, "it learns other weights"),
        (silent, "its losses are"),
        (broken, "CUDA out of memory. Tried to allocate 2 GiB."),
    ],
)
def test_the_warning_says_why_in_one_line(record, reason):
    told = []
    list(Descent().train(Recorder(record, told.append, patience=2), [0.01] * 4))
    assert len(told) == 1
    assert told[0].startswith("training goes on without a CUDA graph")
    assert reason in told[0]
    assert "\n" not in told[0]


def test_what_is_learned_into_another_tensor_is_recorded_anew():
    made, descent = [], Descent()
    perform = Recorder(count(made, again), pytest.fail, patience=2)
    list(descent.train(perform, [0.01] * 4))
    descent.momentum = descent.momentum.clone()
    list(descent.train(perform, [0.01] * 2))
    assert (len(made), perform.recorded) == (1, None)
    list(descent.train(perform, [0.01]))
    assert len(made) == 2


def test_only_one_process_with_a_cuda_device_records():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert performer(cpu, 1, pytest.fail) is performer(cuda, 2, pytest.fail) is eagerly
    assert isinstance(performer(cuda, 1, pytest.fail), Recorder)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "faces.h5")


def recipe(*settings, steps=9):
    """After two steps of search nothing changes any more."""
    common = ("optim.ema=0.2", "optim.search_steps=2", "run.validate_images=1")
    return parse_recipe(RECIPE.format(steps=steps, save_every=1000), (*common, *settings), where="test")


@pytest.fixture
def recorders(monkeypatch):
    """Trainings record as soon as they can; those that did are in the list."""
    made = []

    def ours(device, processes, warn):
        made.append(Recorder(again, pytest.fail, patience=2))
        return made[-1]

    monkeypatch.setattr(stages.train, "performer", ours)
    return made


def test_a_recorded_training_resumes_and_is_the_eager_one(images, tmp_path, monkeypatch, recorders):
    for steps in (6, 9):
        run(TrainRequest(recipe(steps=steps), tmp_path / "recorded", images))
    assert all(recorder.recorded for recorder in recorders)
    monkeypatch.setattr(stages.train, "performer", performer)
    run(TrainRequest(recipe(), tmp_path / "eager", images))
    assert_same_training(contents(tmp_path / "recorded"), contents(tmp_path / "eager"))


def test_a_training_that_rolls_back_is_recorded_anew(images, tmp_path, monkeypatch, recorders):
    """The eighth step comes to nothing, and one such is too many here."""
    objective, take, spoilt = stages.steps.objective, stages.train.take_step, [False]
    recorded = []

    def step(state, *arguments):
        spoilt[0] = state.step == 7 and state.rollbacks == 0
        values = take(state, *arguments)
        recorded.append(bool(recorders and recorders[-1].recorded))
        return values

    def spoil(*arguments, **settings):
        parts, *rest = objective(*arguments, **settings)
        return ({key: value * (float("nan") if spoilt[0] else 1) for key, value in parts.items()}, *rest)

    monkeypatch.setattr(stages.steps, "MOST_SKIPPED", 0)
    monkeypatch.setattr(stages.train, "take_step", step)
    monkeypatch.setattr(stages.steps, "objective", spoil)
    patient = recipe("run.rollbacks=1", "run.save_every=6")
    run(TrainRequest(patient, tmp_path / "recorded", images))
    # The depth network's moments come with the third step; a rate of its own and other moments with the ninth.
    assert recorded == [False] * 5 + [True] * 3 + [False] * 2 + [True]
    recorders.clear()
    monkeypatch.setattr(stages.train, "performer", performer)
    run(TrainRequest(patient, tmp_path / "eager", images))
    assert_same_training(contents(tmp_path / "recorded"), contents(tmp_path / "eager"))


def test_a_step_that_comes_to_nothing_says_nothing_of_a_recording():
    told, descent = [], Descent()
    perform = Recorder(again, told.append, patience=1)
    work = descent.work

    def spoilt(rate, inputs):
        return {"total": work(0.0, inputs)["total"] * float("nan")}

    list(descent.train(perform, [0.01]))
    descent.work = spoilt
    list(descent.train(perform, [0.01]))
    assert (perform.recorded, told) == (None, [])
    descent.work = work
    list(descent.train(perform, [0.01]))
    assert perform.recorded is not None
