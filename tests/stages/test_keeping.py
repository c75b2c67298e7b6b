"""Which checkpoints of a run stay, and that they are whole."""

import shutil
from contextlib import ExitStack

import pytest

import stages.train
from stages.artifact import open_artifact
from stages.errors import OutputError, StaleError
from stages.io.files import hold_folder
from stages.keeping import keep_previous, numbered
from stages.loading import load_model
from stages.recipe import parse_recipe
from stages.train import TrainRequest, run
from stages.validation import validate
from tests.stages.small import write_checkpoint
from tests.stages.test_train import RECIPE, assert_same_training, contents, write_images

POLICY = "keep_last = 2\nkeep_best = true\nvalidate_every = 1"


def recipe(steps=5, policy=POLICY):
    text = RECIPE.format(steps=steps, save_every=1).replace("validate_every = 1000", policy)
    return parse_recipe(text.replace("log_every = 2", "log_every = 1"), where="test")


SCORES = (3.0, 1.0, 1.0, 0.5, 1.0)  # the SIDE of each validation, in order


@pytest.fixture(autouse=True)
def _judged(monkeypatch):
    given = iter(SCORES)
    monkeypatch.setattr(stages.train, "write_sample_sheet", lambda *_: None)
    monkeypatch.setattr(stages.train, "validate", lambda *_: ({"side": next(given), "mad": 10.0}, []))


def kept(folder):
    return sorted(path.name for path in folder.glob("checkpoint*"))


def step_of(path):
    with open_artifact(path, "sym3d.checkpoint") as artifact:
        artifact.verify()
        return artifact.attrs["step"]


def test_the_last_few_and_the_best_stay(tmp_path):
    images, folder = write_images(tmp_path / "faces.h5"), tmp_path / "run"
    run(TrainRequest(recipe(steps=3), folder, images))
    assert kept(folder) == ["checkpoint.0000002.h5", "checkpoint.best.h5", "checkpoint.h5"]
    assert [step_of(folder / name) for name in kept(folder)] == [2, 2, 3]  # the first of two equally good ones
    assert load_model(folder / "checkpoint.best.h5").step == 2
    whole = contents(folder)

    shutil.copy(folder / "checkpoint.0000002.h5", folder / "checkpoint.h5")  # one that was kept resumes
    run(TrainRequest(recipe(steps=3), folder, images))
    assert_same_training(contents(folder), whole)
    assert step_of(folder / "checkpoint.best.h5") == 3  # judged once more, at 0.5

    run(TrainRequest(recipe(steps=1, policy=""), folder, images, overwrite=True))  # another run forgets them
    assert kept(folder) == ["checkpoint.h5"]


def test_without_truth_the_best_has_the_smallest_misfit(tmp_path, monkeypatch):
    monkeypatch.setattr(stages.train, "validate", validate)
    images = write_images(tmp_path / "photos.h5", truth=False)
    run(TrainRequest(recipe(steps=2), tmp_path / "run", images))
    found = contents(tmp_path / "run")["log/misfit"]
    assert ((found > 0) & (found < 100)).all()
    assert step_of(tmp_path / "run/checkpoint.best.h5") == 1 + found.argmin()


def test_a_lost_checkpoint_does_not_cost_the_ones_that_were_kept(tmp_path):
    images, folder = write_images(tmp_path / "faces.h5"), tmp_path / "run"
    run(TrainRequest(recipe(steps=2), folder, images))
    (folder / "checkpoint.h5").unlink()
    with pytest.raises(StaleError, match=r"0000001\.h5.*was kept, but there is no checkpoint\.h5; copy it over"):
        run(TrainRequest(recipe(steps=2), folder, images))
    assert kept(folder) == ["checkpoint.0000001.h5", "checkpoint.best.h5"]


@pytest.mark.parametrize("lost", ["checkpoint", "folder"])
def test_what_vanishes_meanwhile_costs_nothing_that_is_still_to_come(lost, tmp_path, monkeypatch):
    images, folder = write_images(tmp_path / "faces.h5"), tmp_path / "run"
    step = stages.train.take_step

    def lose(state, *rest):
        if state.step == 1:
            (folder / "checkpoint.h5").unlink() if lost == "checkpoint" else shutil.rmtree(folder)
        return step(state, *rest)

    monkeypatch.setattr(stages.train, "take_step", lose)
    run(TrainRequest(recipe(steps=3), folder, images))
    assert step_of(folder / "checkpoint.h5") == 3
    assert step_of(folder / "checkpoint.0000002.h5") == 2


def test_a_run_that_was_moved_away_stops_where_another_began_in_its_place(tmp_path, monkeypatch):
    images, folder, first = write_images(tmp_path / "faces.h5"), tmp_path / "run", tmp_path / "first"
    step = stages.train.take_step
    with ExitStack() as another:

        def move(state, *rest):
            if state.step == 1:
                folder.rename(first)
                another.enter_context(hold_folder(folder))
                write_checkpoint(folder / "checkpoint.h5")
            return step(state, *rest)

        monkeypatch.setattr(stages.train, "take_step", move)
        with pytest.raises(OutputError, match=r"was taken away, and another process began there \(\.lock is its\)"):
            run(TrainRequest(recipe(steps=2), folder, images))
        assert sorted(path.name for path in folder.iterdir()) == [".lock", "checkpoint.h5"]
        assert step_of(folder / "checkpoint.h5") == 10  # as it was
        with pytest.raises(OutputError, match="another process is writing it"), hold_folder(folder):
            pass
    assert not (folder / ".lock").exists()
    assert step_of(first / "checkpoint.h5") == 1


def test_a_folder_that_was_moved_away_is_held_anew(tmp_path):
    with hold_folder(tmp_path / "run") as check:
        check()
        (tmp_path / "run").rename(tmp_path / "away")
        check()
        with pytest.raises(OutputError, match="another process is writing it"), hold_folder(tmp_path / "run"):
            pass
        (tmp_path / "run").rename(tmp_path / "away-too")
        (tmp_path / "run").touch()
        with pytest.raises(OutputError):
            check()
    assert (tmp_path / "run").is_file()


def test_going_back_keeps_what_is_earlier_and_leaves_what_is_later(tmp_path):
    images, folder = write_images(tmp_path / "faces.h5"), tmp_path / "run"
    run(TrainRequest(recipe(steps=1), folder, images))
    for step in (10, 11):
        shutil.copy(folder / "checkpoint.h5", folder / f"checkpoint.{step:07d}.h5")
    for step in (4, 5):
        keep_previous(folder / "checkpoint.h5", step, keep_last=2)
    assert [path.name for path in numbered(folder / "checkpoint.h5")] == [
        f"checkpoint.{step:07d}.h5" for step in (5, 10, 11)
    ]
