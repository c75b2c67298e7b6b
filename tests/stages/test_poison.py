"""Training on what spoils it: batches that give NaN, odd pictures, a full disk. It goes on, or stops in good order."""

import resource
import time

import numpy as np
import pytest
import torch
from torch import nn

import stages.checkpoint
import stages.keeping
import stages.steps
import stages.train
from stages.artifact import open_artifact
from stages.errors import DivergedError, OutputError
from stages.predict import predict
from stages.progress import Silent
from stages.recipe import parse_recipe
from stages.train import TrainRequest, run
from tests.stages.small import small_model
from tests.stages.test_train import assert_same_training, contents, recipe, write_images


class Told(Silent):
    def __init__(self):
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "faces.h5")


@pytest.fixture
def poison(monkeypatch):
    """``poison(when)``: the losses of a step are NaN where ``when(state)`` says so, of the state before it."""

    def start(when) -> None:
        objective, take_step, spoilt = stages.steps.objective, stages.train.take_step, [False]

        def step(state, *arguments):
            spoilt[0] = when(state)
            return take_step(state, *arguments)

        def spoil(*arguments, **settings):
            parts, *rest = objective(*arguments, **settings)
            return ({key: value * (float("nan") if spoilt[0] else 1) for key, value in parts.items()}, *rest)

        monkeypatch.setattr(stages.train, "take_step", step)
        monkeypatch.setattr(stages.steps, "objective", spoil)

    return start


def attributes(folder) -> dict:
    with open_artifact(folder / "checkpoint.h5") as artifact:
        return artifact.attrs


def test_a_step_that_is_not_finite_changes_nothing_and_is_reported(images, tmp_path, poison):
    """Nor does it matter in how many parts such a run was made."""
    poison(lambda state: state.step == 3)
    told, parts = Told(), []
    for steps in (3, 4, 6):
        run(TrainRequest(recipe(steps=steps), tmp_path / "parts", images), report=told)
        parts.append(contents(tmp_path / "parts"))
    learned = [name for name in parts[0] if name.startswith(("model/", "optim/"))]
    assert all(parts[0][name].tobytes() == parts[1][name].tobytes() for name in learned)
    assert not all(parts[1][name].tobytes() == parts[2][name].tobytes() for name in learned)
    (line,) = told.warnings
    assert line.startswith("step 4: total and ")
    assert "not finite on training images [" in line
    assert line.endswith("]; the step is skipped")
    run(TrainRequest(recipe(steps=6), tmp_path / "whole", images))
    assert_same_training(contents(tmp_path / "whole"), parts[2])
    assert attributes(tmp_path / "whole")["skipped"] == attributes(tmp_path / "parts")["skipped"] == [4]


def test_too_many_stop_the_training_and_the_last_good_step_stays(images, tmp_path, poison, monkeypatch):
    monkeypatch.setattr(stages.steps, "MOST_SKIPPED", 3)
    poison(lambda state: state.step >= 2)
    with pytest.raises(DivergedError, match=r"step 6: .*total.* not finite .*\[\d+, .*; the checkpoint keeps step 2"):
        run(TrainRequest(recipe(steps=9, save_every=1), tmp_path, images))
    assert attributes(tmp_path)["step"] == 2
    assert all(np.isfinite(values).all() for values in contents(tmp_path).values())


@pytest.mark.slow
def test_skipped_steps_are_forgotten_after_a_while(images, tmp_path, poison, monkeypatch):
    monkeypatch.setattr(stages.steps, "MOST_SKIPPED", 1)
    monkeypatch.setattr(stages.steps, "WINDOW", 3)
    poison(lambda state: state.step in (1, 4, 7))
    run(TrainRequest(recipe(steps=9), tmp_path, images))
    assert attributes(tmp_path)["skipped"] == [8]


def test_a_diverged_run_goes_on_from_its_checkpoint_at_half_the_rate(images, tmp_path, poison, monkeypatch):
    monkeypatch.setattr(stages.steps, "MOST_SKIPPED", 1)
    poison(lambda state: state.step >= 3 and state.rollbacks == 0)

    def patient(steps: int):
        return parse_recipe(recipe(steps=steps, save_every=2).text(), ["run.rollbacks=1"])

    told = Told()
    run(TrainRequest(patient(6), tmp_path / "whole", images), report=told)
    assert told.warnings[-1].startswith("step 5: total and ")
    assert told.warnings[-1].endswith("; back to step 2 with a learning rate of 0.0005")
    assert attributes(tmp_path / "whole") | {"seconds": 0} == {
        **{"step": 6, "steps": 6, "size": 64, "seconds": 0},
        "rollbacks": 1,
    }
    assert contents(tmp_path / "whole")["log/step"].tolist() == [2, 4, 6]
    for steps in (5, 6):
        run(TrainRequest(patient(steps), tmp_path / "parts", images))
    assert_same_training(contents(tmp_path / "whole"), contents(tmp_path / "parts"))


@pytest.mark.slow
def test_rollbacks_are_counted(images, tmp_path, poison, monkeypatch):
    monkeypatch.setattr(stages.steps, "MOST_SKIPPED", 0)
    poison(lambda state: state.step >= 2)
    patient = parse_recipe(recipe(steps=4, save_every=1).text(), ["run.rollbacks=2"])
    told = Told()
    with pytest.raises(DivergedError, match=r"step 3: .*; the checkpoint keeps step 2"):
        run(TrainRequest(patient, tmp_path, images), report=told)
    assert [line.rpartition(" ")[2] for line in told.warnings] == ["0.0005", "0.00025"]


def test_a_surface_that_is_not_finite_is_divergence_not_bad_input(images, tmp_path, monkeypatch):
    real = stages.train.build_model

    def broken(section):
        model = real(section)
        model.netD.network[0].weight.data.fill_(float("nan"))
        return model

    monkeypatch.setattr(stages.train, "build_model", broken)
    with pytest.raises(DivergedError, match=r"step 11: depth not finite.*nothing was saved yet; lower optim\.lr"):
        run(TrainRequest(recipe(steps=20, save_every=1), tmp_path, images))
    assert not (tmp_path / "checkpoint.h5").exists()


@pytest.mark.parametrize("lr", [1e-3, 0.5])
def test_asking_adam_to_look_changes_no_bit(lr):
    """``found_inf`` of 0 is as good as none, of 1 leaves parameters, moments and step count alone."""

    def after(*found: float | None) -> list[torch.Tensor]:
        torch.manual_seed(0)
        layer = nn.Linear(7, 5)
        adam = torch.optim.Adam(layer.parameters(), lr=lr, weight_decay=5e-4, fused=True)
        for step, flag in enumerate(found):
            if flag is not None:
                adam.found_inf = torch.tensor(flag)
            torch.manual_seed(step)
            layer(torch.randn(3, 7)).square().sum().backward()
            adam.step()
        return [*layer.parameters(), *(value for state in adam.state.values() for value in state.values())]

    for one, other in (((None, None, None), (0.0, 0.0, 0.0)), ((None, None), (0.0, 0.0, 1.0))):
        assert all(torch.equal(a, b) for a, b in zip(after(*one), after(*other), strict=True))


PICTURES = {
    "black": np.zeros((24, 64, 64, 3), np.uint8),
    "white": np.full((24, 64, 64, 3), 255, np.uint8),
    "one colour": np.full((24, 64, 64, 3), [200, 30, 90], np.uint8),
    "saturated": np.where(np.random.default_rng(0).random((24, 64, 64, 3)) < 0.5, 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize(
    "kind", ["black", *(pytest.param(kind, marks=pytest.mark.slow) for kind in PICTURES if kind != "black")]
)
def test_odd_pictures_are_learned_from_one_at_a_time(kind, tmp_path):
    data = write_images(tmp_path / "odd.h5", image=PICTURES[kind])
    told = Told()
    run(TrainRequest(recipe(steps=2, batch="batch = 1"), tmp_path / "run", data), report=told)
    assert told.warnings == []
    assert all(np.isfinite(values).all() for values in contents(tmp_path / "run").values())


@pytest.mark.parametrize("kind", PICTURES)
def test_odd_pictures_give_finite_predictions(kind):
    model, _ = small_model()
    found = predict(model.eval(), PICTURES[kind][:2])
    assert all(np.isfinite(values).all() for values in found.values())


SUPERVISED = ["loss.supervised=true", "model.max_rotation_degrees=0", "model.max_translation_xy=0", "model.border=0"]


def test_depth_that_is_not_finite_is_background_and_nothing_but_background_teaches_nothing(tmp_path):
    depth = np.full((24, 64, 64), np.nan, np.float32)
    depth[:12, 8:40] = 1.0
    depth[0, 8] = np.inf
    data = write_images(tmp_path / "holes.h5", depth=depth)
    told = Told()
    baseline = parse_recipe(recipe(steps=8, batch="batch = 1").text(), SUPERVISED)
    result = run(TrainRequest(baseline, tmp_path / "run", data), report=told)
    assert told.warnings == []
    found = contents(tmp_path / "run")
    assert all(np.isfinite(values).all() for name, values in found.items() if not name.startswith("log/"))
    assert np.isfinite(found["log/total"]).all()
    assert np.isnan(result.metrics["side"])  # no validation image has foreground


# Saving


def test_saving_is_tried_again_while_the_disk_is_full(images, tmp_path, monkeypatch):
    """No file may grow any more, until a wait."""
    limits, waits = resource.getrlimit(resource.RLIMIT_FSIZE), []
    save = stages.keeping.save

    def save_on_a_full_disk(path, state, *rest):
        if state.step == 2 and not waits:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        save(path, state, *rest)

    def sleep(seconds):
        with open_artifact(tmp_path / "checkpoint.h5") as artifact:
            artifact.verify()
            waits.append(artifact.attrs["step"])
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        ends[0] += 100

    ends = [0.0]
    monkeypatch.setattr(stages.keeping, "save", save_on_a_full_disk)
    monkeypatch.setattr(stages.checkpoint, "time", type(time)("time"))
    stages.checkpoint.time.sleep, stages.checkpoint.time.monotonic = sleep, lambda: ends[0]
    told = Told()
    try:
        run(TrainRequest(recipe(steps=3, save_every=1), tmp_path, images), report=told)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert waits == [1]
    assert ["trying again in 5 s" in line for line in told.warnings] == [True]
    assert attributes(tmp_path)["step"] == 3


@pytest.mark.parametrize("asked", [False, True])
def test_waiting_for_room_ends(asked, monkeypatch):
    monkeypatch.setattr(stages.checkpoint, "WAITS", (9, 9) if asked else (0, 0))
    tries = []

    def write():
        tries.append(1)
        raise OutputError("a.h5", "no room", "make some")

    told = Told()
    with pytest.raises(OutputError):
        stages.checkpoint.save_patiently(write, lambda: asked, told)
    assert (len(tries), len(told.warnings)) == (3, 2)


def test_a_sheet_that_cannot_be_written_costs_no_step(images, tmp_path):
    (tmp_path / "samples").write_text("in the way")
    told = Told()
    assert run(TrainRequest(recipe(steps=2), tmp_path, images), report=told).steps == 2
    assert len(told.warnings) == 1
