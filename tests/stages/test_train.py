"""Training: resumed runs equal uninterrupted ones bit by bit, and what goes wrong is said in one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import stages.keeping
import stages.train
from stages.artifact import make_provenance, open_artifact, write_artifact
from stages.checkpoint import save
from stages.data.batches import batch_flips, batch_rows
from stages.errors import InputError, OutputError, StaleError, UsageError
from stages.loading import load_model
from stages.progress import Silent
from stages.ranks import Ranks
from stages.recipe import parse_recipe
from stages.steps import Losses, TrainingImages, _yaw_share, _yaw_weight, take_step
from stages.train import TrainRequest, _fresh_state, run

RECIPE = """
name = "test"
[data]
images = "faces.h5"
make = "sym3d synth faces.h5 -n 24"
[model]
width = 0.0625
convex_prior = 1.2
[loss]
features = "none"
[optim]
lr = 1e-3
batch = 4
steps = {steps}
ema = 0.9
[run]
log_every = 2
validate_every = 1000
save_every = {save_every}
validate_images = 4
"""


def recipe(steps=6, save_every=1000, init=None, **replaced):
    text = RECIPE.format(steps=steps, save_every=save_every)
    for old, new in replaced.items():
        text = text.replace({"lr": "lr = 1e-3", "batch": "batch = 4"}[old], new)
    return parse_recipe(text, [f"optim.init={init}"] if init else [], where="test")


def write_images(path: Path, count=24, truth=True, size=64, seed=0, **replaced) -> Path:
    rng = np.random.default_rng(seed)
    arrays = {
        "image": rng.integers(0, 255, (count, size, size, 3), np.uint8),
        "split": np.array([0] * (count - 4) + [1] * 4, np.uint8),
        "name": [f"image {i}" for i in range(count)],
        "sha256": [f"{i:064x}" for i in range(count)],
    }
    if truth:
        arrays["depth"] = np.full((count, size, size), 1.0, np.float32)
        arrays["mask"] = np.ones((count, size, size), bool)
    write_artifact(path, "sym3d.images", arrays | replaced, provenance=make_provenance(seed=seed))
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "faces.h5")


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    """An uninterrupted run of six steps."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    result = run(TrainRequest(recipe(), folder, images))
    return folder, result, contents(folder)


def contents(folder: Path) -> dict[str, np.ndarray]:
    with open_artifact(folder / "checkpoint.h5", "sym3d.checkpoint") as artifact:
        return {name: artifact[name][...] for name in artifact.names}


def assert_same_training(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    """Weights, averages and optimizer bit by bit; the log has a row wherever a run was saved, and times."""
    assert a.keys() == b.keys()
    different = [name for name in a if not name.startswith("log/") and a[name].tobytes() != b[name].tobytes()]
    assert not different


def test_a_run_leaves_a_checkpoint_a_log_and_a_sheet(whole):
    folder, result, found = whole
    assert result.steps == 6
    assert result.checkpoint == folder / "checkpoint.h5"
    assert set(result.metrics) == {"side", "mad"}
    assert found["log/step"].tolist() == [2, 4, 6]
    assert np.isfinite(found["log/total"]).all()
    assert any(name.startswith("ema/netD") for name in found)
    assert [p.name for p in (folder / "samples").iterdir()] == ["step-0000006.png"]


def test_a_run_that_is_killed_right_after_a_save_lacks_no_picture(images, tmp_path, monkeypatch):
    def save_and_die(path, *rest):
        save(path, *rest)
        sys.exit(9)

    monkeypatch.setattr(stages.keeping, "save", save_and_die)
    with pytest.raises(SystemExit):
        run(TrainRequest(recipe(steps=1), tmp_path, images))
    assert (tmp_path / "checkpoint.h5").exists()
    assert (tmp_path / "samples" / "step-0000001.png").exists()


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(whole, images, tmp_path):
    run(TrainRequest(recipe(), tmp_path / "again", images))
    assert_same_training(whole[2], contents(tmp_path / "again"))


def test_a_longer_run_goes_on_where_the_shorter_ended_bit_by_bit(whole, images, tmp_path):
    short = recipe(steps=4)
    run(TrainRequest(short, tmp_path / "run", images))
    result = run(TrainRequest(recipe(), tmp_path / "run", images))
    assert result.steps == 6
    assert_same_training(whole[2], contents(tmp_path / "run"))


def test_a_finished_run_is_left_as_it_is(whole, images):
    before = (whole[0] / "checkpoint.h5").stat().st_mtime_ns
    assert run(TrainRequest(recipe(), whole[0], images)).steps == 6
    assert (whole[0] / "checkpoint.h5").stat().st_mtime_ns == before


TRAIN_IN_A_PROCESS = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from tests.stages.test_train import recipe
from stages.train import TrainRequest, _fresh_state, run
run(TrainRequest(recipe(save_every=1), Path({folder!r}), Path({images!r})))
"""


def start(folder, images):
    code = TRAIN_IN_A_PROCESS.format(path=[str(Path(__file__).parents[2])], folder=str(folder), images=str(images))
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
    )


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.exists(), process.stderr.read().decode()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_run_resumes_to_the_same_bits(number, whole, images, tmp_path):
    folder = tmp_path / "run"
    process = start(folder, images)
    wait_for(folder / "checkpoint.h5", process)
    process.send_signal(number)
    process.wait(60)
    with open_artifact(folder / "checkpoint.h5", "sym3d.checkpoint") as artifact:
        assert 1 <= artifact.attrs["step"] <= 6
    run(TrainRequest(recipe(save_every=1), folder, images))
    assert_same_training(whole[2], contents(folder))


def test_another_recipe_or_other_data_is_stale(whole, tmp_path):
    folder, result, before = whole
    images = write_images(tmp_path / "faces.h5")
    with pytest.raises(StaleError, match=r"optim\.lr was 0\.001, is 0\.002.*--name"):
        run(TrainRequest(recipe(lr="lr = 2e-3"), folder, images))
    known = recipe().model_copy(update={"data": recipe().data.model_copy(update={"crop": "cat:0.9"})})
    assert run(TrainRequest(known, folder, images)).steps == result.steps  # how photographs are cut is no method
    other = write_images(tmp_path / "other.h5", seed=1)
    with pytest.raises(StaleError, match="other data"):
        run(TrainRequest(recipe(), folder, other))
    with pytest.raises(StaleError, match=r"has taken 6 steps, and 4 are asked for; ask for more, .*--name"):
        run(TrainRequest(recipe(steps=4), folder, images))
    assert_same_training(before, contents(folder))


def test_overwrite_starts_again(images, tmp_path):
    run(TrainRequest(recipe(steps=2), tmp_path, images))
    run(TrainRequest(recipe(steps=1, lr="lr = 2e-3"), tmp_path, images, overwrite=True))
    assert contents(tmp_path)["log/step"].tolist() == [1]


def test_bad_data_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="images of 128 pixels and the recipe trains at 64"):
        run(TrainRequest(recipe(), tmp_path / "a", write_images(tmp_path / "big.h5", size=128)))
    with pytest.raises(InputError, match="20 training images for batches of 32"):
        run(TrainRequest(recipe(batch="batch = 32"), tmp_path / "b", write_images(tmp_path / "few.h5")))
    with pytest.raises(InputError, match="does not exist"):
        run(TrainRequest(recipe(), tmp_path / "c", tmp_path / "none.h5"))
    assert not any((tmp_path / name).exists() for name in "abc")


def test_an_unwritable_run_folder_is_said_before_training(images, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        run(TrainRequest(recipe(steps=1), tmp_path / "file" / "run", images))


def test_without_ground_truth_there_are_no_metrics(tmp_path):
    result = run(TrainRequest(recipe(steps=1), tmp_path / "run", write_images(tmp_path / "photos.h5", truth=False)))
    assert result.metrics == {}


def test_batches_visit_every_image_once_an_epoch_and_depend_on_nothing_else():
    rows = torch.cat([batch_rows(3, step, 20, 4) for step in range(5)])
    assert sorted(rows.tolist()) == list(range(20))
    later = torch.cat([batch_rows(3, step, 20, 4) for step in range(5, 10)])
    assert later.tolist() != rows.tolist()
    assert batch_rows(3, 7, 20, 4).tolist() == batch_rows(3, 7, 20, 4).tolist()
    assert batch_flips(3, 7, 64).tolist() == batch_flips(3, 7, 64).tolist()
    assert batch_flips(3, 7, 64).tolist() != batch_flips(3, 8, 64).tolist()
    assert 0.4 < torch.cat([batch_flips(0, step, 64) for step in range(50)]).float().mean() < 0.6


def test_a_run_may_start_from_another_models_weights(whole, images, tmp_path):
    from_whole = recipe(steps=1, init=whole[0])
    run(TrainRequest(from_whole, tmp_path / "run", images))
    with open_artifact(tmp_path / "run/checkpoint.h5") as artifact:
        names = [(parent["schema"], parent["name"]) for parent in artifact.provenance["parents"]]
        first = {name: artifact[f"ema/{name}"][...] for name in ("netD.network.0.weight", "netA.network.0.weight")}
    assert names == [("sym3d.images", "faces.h5"), ("sym3d.checkpoint", "checkpoint.h5")]
    lr = 1e-3  # the most that the first step of Adam changes a weight by
    for name, values in first.items():
        assert np.abs(values - whole[2][f"ema/{name}"]).max() <= 1.01 * lr, "not the averaged weights"

    result = run(TrainRequest(recipe(steps=3, init=whole[0]), tmp_path / "run", images))
    at_once = run(TrainRequest(recipe(steps=3, init=whole[0]), tmp_path / "at-once", images))
    assert result.steps == 3
    assert_same_training(contents(tmp_path / "run"), contents(at_once.run_dir))
    with pytest.raises(StaleError, match=r"optim\.init was given, is None"):
        run(TrainRequest(recipe(steps=3), tmp_path / "run", images))
    with pytest.raises(StaleError, match=r"was trained from other weights than checkpoint\.h5"):
        run(TrainRequest(recipe(steps=3, init=at_once.run_dir), tmp_path / "run", images))


def test_weights_that_do_not_fit_are_refused_and_missing_networks_said(whole, images, tmp_path):
    notes, report = [], Silent()
    report.note = notes.append
    sure = parse_recipe(recipe(steps=1).text(), ["model.confidence=false", "model.convex_prior=0.0"])
    run(TrainRequest(sure, tmp_path / "sure", images))
    run(TrainRequest(recipe(steps=1, init=tmp_path / "sure"), tmp_path / "run", images), report=report)
    path = tmp_path / "sure/checkpoint.h5"
    assert f"netC starts fresh: {path} has none" in notes
    assert f"{path} had model.convex_prior = 0.0, now 1.2" in notes
    uneven = parse_recipe(recipe(steps=1, init=whole[0]).text(), ["model.width=0.09375"])
    with pytest.raises(InputError, match=r"for 64 pixels at width 0\.0625, not 64 at 0\.09375; set .*imitate_steps"):
        run(TrainRequest(uneven, tmp_path / "wide", images))
    with pytest.raises(InputError, match="no such checkpoint"):
        run(TrainRequest(recipe(steps=1, init="nowhere"), tmp_path / "wide", images))


def test_a_larger_model_first_imitates_and_then_trains_as_usual(whole, tmp_path):
    data, notes, report = write_images(tmp_path / "large.h5", size=128), [], Silent()
    report.note = notes.append

    def large(steps):
        text = recipe(steps, init=whole[0]).text()
        return parse_recipe(text, ["model.size=128", "model.fov=12.0", "optim.imitate_steps=2", "run.log_every=1"])

    at_once = run(TrainRequest(large(4), tmp_path / "at-once", data), report=report)
    assert notes == [f"{whole[1].checkpoint} had model.fov = 10.0, now 12.0"]
    found = contents(at_once.run_dir)
    assert np.isfinite(found["log/view"]).tolist() == [True, True, False, False]
    assert np.isfinite(found["log/photo"]).tolist() == [False, False, True, True]
    with open_artifact(at_once.checkpoint) as artifact:
        digests = [parent["digest"] for parent in artifact.provenance["parents"]]
    with open_artifact(whole[1].checkpoint) as artifact:
        assert digests[1] == artifact.digest
    for steps in (1, 4):
        run(TrainRequest(large(steps), tmp_path / "in-parts", data))
    assert_same_training(contents(tmp_path / "in-parts"), found)


def test_a_wider_model_starts_with_the_narrow_ones_answers(whole, images, tmp_path):
    wide = parse_recipe(recipe(steps=1, init=whole[0]).text(), ["model.width=0.125", "optim.lr=1e-12"])
    run(TrainRequest(wide, tmp_path / "wide", images))
    picture = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        ours, theirs = (load_model(folder).model.predict(picture) for folder in (tmp_path / "wide", whole[0]))
    torch.testing.assert_close(ours.depth, theirs.depth)
    torch.testing.assert_close(ours.albedo, theirs.albedo, rtol=1e-4, atol=1e-5)


def test_learning_the_albedo_alone_leaves_the_rest_as_it_was(whole, images, tmp_path):
    settings = ["model.tint=true", "optim.learn=albedo", "optim.ema=0.5"]
    tinted = parse_recipe(recipe(steps=3, init=whole[0]).text(), settings)
    run(TrainRequest(tinted, tmp_path / "tinted", images))
    before, after = whole[2], contents(tmp_path / "tinted")
    weights = [name for name in before if name.startswith("ema/")]
    changed = {name.split("/")[1].split(".")[0] for name in weights if not np.array_equal(before[name], after[name])}
    assert changed == {"netA"}
    assert np.abs(after["ema/netA.tint.weight"]).max() > 0
    with pytest.raises(InputError, match=r"its albedo is tinted, this recipe's is not; set model\.tint=true"):
        run(TrainRequest(recipe(steps=1, init=tmp_path / "tinted"), tmp_path / "plain", images))
    with pytest.raises(UsageError, match=r"optim\.learn: there is nothing to keep; name a run or a model with --init"):
        run(TrainRequest(parse_recipe(recipe(steps=1).text(), ["optim.learn=albedo"]), tmp_path / "fresh", images))
    other = parse_recipe(tinted.text(), ["model.confidence=false", "model.ambient=[0.2,1.0]", "model.border_depth=1.0"])
    with pytest.raises(UsageError) as refused:
        run(TrainRequest(other, tmp_path / "fresh", images))
    needed = "-s model.border_depth= -s 'model.ambient=[0.0, 1.0]' -s model.confidence=true"
    assert str(refused.value).endswith(f"shapes would not stay those of {whole[1].checkpoint}; add {needed}")
    assert not (tmp_path / "fresh/checkpoint.h5").exists()


def test_a_tinted_run_resumes_bitwise(whole, images, tmp_path):
    def tinted(steps):
        return parse_recipe(recipe(steps, init=whole[0]).text(), ["model.tint=true", "optim.learn=albedo"])

    at_once = run(TrainRequest(tinted(4), tmp_path / "at-once", images))
    for steps in (2, 4):
        run(TrainRequest(tinted(steps), tmp_path / "in-parts", images))
    assert_same_training(contents(tmp_path / "in-parts"), contents(at_once.run_dir))


class _Watch(TorchDispatchMode):
    """Collects the operations, and those that make a GPU's host wait, or that a CUDA graph cannot hold."""

    def __init__(self):
        super().__init__()
        self.done, self.waits = [], []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        # Which elements are true decides the shape of what they choose.
        by_mask = name in ("index", "index_put", "index_put_") and any(
            at is not None and at.dtype == torch.bool for at in args[1]
        )
        self.done.append((name, [leaf.shape for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor)]))
        if by_mask or name in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique_dim"):
            self.waits.append(name)
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("helped", ["", "symmetric = true\n[loss]\nyaw_spread = 20\nsmoothness = 0.1\n"])
def test_no_operation_of_a_step_waits_for_its_numbers_or_depends_on_them(helped):
    text = RECIPE.format(steps=8, save_every=1000).replace("ema = 0.9", "ema = 0.9\nsearch_steps = 2")
    recipe = parse_recipe(text.replace("[loss]\n", helped) if helped else text, where="test")
    state = _fresh_state(recipe)
    images = TrainingImages(torch.randint(256, (24, 64, 64, 3), dtype=torch.uint8))
    steps = []
    for _ in range(5):  # two search; the third is the depth network's first
        with _Watch() as watch:
            take_step(state, Losses(state.model, None), images, recipe, Ranks(), lambda: False)
        assert len(watch.done) > 100
        assert not watch.waits
        steps.append(watch.done)
    assert steps[3] == steps[4]  # other images, the same operations on the same shapes


def test_gradients_lie_in_memory_as_their_weights_do():
    """PyTorch's fused Adam for CPUs pairs the two by where they lie, not by their indices."""
    settings = recipe()
    state = _fresh_state(settings)
    images = TrainingImages(torch.randint(256, (24, 64, 64, 3), dtype=torch.uint8))
    take_step(state, Losses(state.model, None), images, settings, Ranks(), lambda: False)
    pairs = [(part.grad, part) for part in state.model.parameters() if part.grad is not None]
    assert len(pairs) > 50
    for grad, part in pairs:
        assert grad.stride() == part.stride()


def test_the_spread_of_yaws_is_never_let_go():
    assert [_yaw_weight(step, 100) for step in (0, 50, 90, 100, 10**6)] == pytest.approx([3.0, 1.5, 0.3, 0.3, 0.3])
    assert _yaw_weight(10**6, 0) == 3.0
    assert [_yaw_share(step, 100) for step in (0, 50, 100, 10**6)] == pytest.approx([0.75, 0.875, 1.0, 1.0])
    assert _yaw_share(0, 0) == 1.0
