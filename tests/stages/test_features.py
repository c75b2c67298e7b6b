"""Features from unlabelled images: they learn, resume, and are what the perceptual loss then compares."""

import os

import numpy as np
import pytest
import torch

import stages.features
from stages.artifact import make_provenance, open_artifact, write_artifact
from stages.core.perceptual import VGG16_LAYERS, VGG16Features
from stages.data.augment import other_light, random_crops
from stages.errors import DivergedError, InputError, MissingPartError, StaleError, UsageError
from stages.features import FeaturesRequest, run
from stages.loading import build_features
from stages.recipe import parse_recipe
from stages.train import TrainRequest
from stages.train import run as train
from tests.stages.test_train import RECIPE, contents, write_images

SMALL = {"width": 0.0625, "batch": 16}


def mosaics(path, size=16, count=96):
    """Pictures of coloured tiles: no place is like another."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (count, size // 4, size // 4, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    split = np.array([0] * (count - 32) + [1] * 32, np.uint8)
    return write_images(path, count, False, size, **{"image": image, "split": split})


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return mosaics(tmp_path_factory.mktemp("data") / "mosaics.h5")


@pytest.fixture(scope="module")
def made(images):
    """Six steps' features of the mosaics."""
    out = images.with_name("features.h5")
    run(FeaturesRequest(images, out, steps=6, **SMALL))
    return out


def weights(path):
    with open_artifact(path, "sym3d.features") as artifact:
        return {name: artifact[name][...] for name in artifact.names}, artifact.digest


# The task


def test_crops_are_upright_square_parts_of_their_images():
    u = torch.linspace(-0.9, 0.9, 32).expand(64, 1, 32, 32)
    crops = random_crops(torch.cat([u, u.mT, u * 0], 1), np.random.default_rng(0))
    across, down = crops[:, 0, 0, -1] - crops[:, 0, 0, 0], crops[:, 1, -1, 0] - crops[:, 1, 0, 0]
    torch.testing.assert_close(across.abs(), down, atol=0.03, rtol=0)
    assert 16 < (across < 0).sum() < 48  # mirrored
    assert 0.4 * 1.8 * 0.95 < down.min() < 0.9
    assert 1.5 < down.max() < 1.8 + 1e-5
    assert not torch.equal(random_crops(crops, np.random.default_rng(0)), random_crops(crops, np.random.default_rng(1)))


def test_another_light_moves_nothing():
    edge = torch.cat([torch.full((8, 3, 16, 8), -0.3), torch.full((8, 3, 16, 8), 0.3)], 3)
    seen = other_light(edge, np.random.default_rng(0))
    assert seen.abs().max() <= 1
    assert (seen[..., 8] > seen[..., 7]).all(), "the edge stays where it is"
    assert seen.mean((2, 3)).std(0).min() > 0.05, "some are brighter"
    assert (seen.mean((2, 3)).std(1) > 0.005).all(), "and none is grey"
    across, down = (seen - seen.flip(dim) for dim in (3, 2))
    assert down.abs().amax((1, 2, 3)).min() > 0.005, "lit from above or below"
    assert across.std(0).max() > 0.05


def test_a_place_is_most_like_itself_when_the_light_stays(monkeypatch):
    monkeypatch.setattr(stages.features, "other_light", lambda images, rng: images)
    torch.manual_seed(0)
    finder = stages.features._Finder(VGG16Features(0.25), 32)
    logits, same = finder(torch.rand(3, 3, 32, 32) * 2 - 1, np.random.default_rng(0))
    assert logits.shape == (3 * 40, 3 * 40)
    torch.testing.assert_close(logits.diagonal(), torch.full((120,), 1 / 0.15), rtol=1e-3, atol=0)
    assert (logits.argmax(1) == same).all()


# The encoder


def test_vgg16_is_the_network_of_width_1_and_others_have_other_channels():
    assert VGG16Features().channels == 256
    narrow = VGG16Features(0.25, (0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
    assert {key: tuple(value.shape) for key, value in narrow.state_dict().items() if "weight" in key} == {
        f"features.{i}.weight": (cout // 4, cin if cin == 3 else cin // 4, 3, 3)
        for i, (cin, cout) in VGG16_LAYERS.items()
    }
    mean = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1).expand(1, 3, 8, 8) * 2 - 1
    torch.testing.assert_close(narrow(mean), narrow.features(torch.zeros(1, 3, 8, 8)), atol=1e-5, rtol=1e-5)
    assert narrow(mean).shape == (1, 64, 2, 2)


# The stage


def test_a_learnable_task_is_learned(images, tmp_path):
    result = run(FeaturesRequest(images, tmp_path / "f.h5", steps=60, width=0.125, batch=16))
    assert result.trained == 60
    assert result.chance == 1 / (16 * 16)
    assert result.accuracy > 0.5
    assert os.listdir(tmp_path) == ["f.h5"]
    with open_artifact(result.out, "sym3d.features") as artifact:
        assert artifact.attrs == {"width": 0.125, "size": 16, "accuracy": result.accuracy}
        assert [parent["name"] for parent in artifact.provenance["parents"]] == ["mosaics.h5"]


def test_the_file_gives_the_network_back_with_features_of_unit_spread(images, made):
    features, origin = build_features(_at(16, made))
    assert [parent["schema"] for parent in origin] == ["sym3d.features"]
    assert not any(parameter.requires_grad for parameter in features.parameters())
    with open_artifact(images) as data:
        rows = data["image"][:][data["split"][:] == 1]
    image = torch.from_numpy(rows).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(features(image).var((0, 2, 3)).mean(), torch.tensor(1.0), rtol=1e-3, atol=0)
    assert (image / 2 + 0.5).mean((0, 2, 3)).sub(torch.tensor(weights(made)[0]["mean"])).abs().max() < 0.1


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(images, made, tmp_path):
    run(FeaturesRequest(images, tmp_path / "a.h5", steps=6, **SMALL))
    run(FeaturesRequest(images, tmp_path / "b.h5", steps=6, seed=1, **SMALL))
    assert weights(tmp_path / "a.h5")[1] == weights(made)[1]
    assert weights(tmp_path / "b.h5")[1] != weights(made)[1]


class _StopAfter:
    """A stand-in for `stop_requested`, asked to stop at the n-th step."""

    def __init__(self, steps):
        self.left = 2 * steps - 1  # the stage asks twice a step

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __call__(self):
        self.left -= 1
        return self.left <= 0


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_interrupted_run_resumes_to_the_same_bits(images, made, tmp_path, monkeypatch, overwrite):
    out = tmp_path / "f.h5"
    if overwrite:
        run(FeaturesRequest(images, out, steps=1, **SMALL))
    before = out.read_bytes() if overwrite else None
    monkeypatch.setattr(stages.features, "stop_requested", lambda: _StopAfter(3))
    with pytest.raises(KeyboardInterrupt):
        run(FeaturesRequest(images, out, steps=6, overwrite=overwrite, **SMALL))
    assert (out.read_bytes() if out.exists() else None) == before, "half of it is never seen under its name"
    monkeypatch.undo()
    assert run(FeaturesRequest(images, out, steps=6, **SMALL)).trained == 3
    assert weights(out)[1] == weights(made)[1]
    assert os.listdir(tmp_path) == ["f.h5"]
    assert run(FeaturesRequest(images, out, steps=6, **SMALL)).trained == 0


def test_what_was_made_otherwise_is_stale(images, made, tmp_path):
    before = made.read_bytes()
    other = write_images(tmp_path / "other.h5", 96, False, 16)
    for request, change in (
        (FeaturesRequest(images, made, steps=7, **SMALL), "now 'places in other light.*7 steps"),
        (FeaturesRequest(images, made, steps=6, seed=1, **SMALL), "seed 0, now 1"),
        (FeaturesRequest(other, made, steps=6, **SMALL), r"its input has changed \(other\.h5\)"),
    ):
        with pytest.raises(StaleError, match=f"{change}.*--overwrite"):
            run(request)
    assert made.read_bytes() == before


def test_what_cannot_be_learned_from(images, tmp_path):
    out = tmp_path / "f.h5"
    for width in (0, -1, 5, float("nan")):
        with pytest.raises(UsageError, match="--width"):
            run(FeaturesRequest(images, out, width=width))
    for steps in (0, 10**9 + 1):
        with pytest.raises(UsageError, match="--steps"):
            run(FeaturesRequest(images, out, steps=steps))
    with pytest.raises(InputError, match="64 training images for batches of 65"):
        run(FeaturesRequest(images, out, batch=65))
    untried = write_images(tmp_path / "train.h5", 24, False, 16, split=np.zeros(24, np.uint8))
    with pytest.raises(InputError, match="no validation images"):
        run(FeaturesRequest(untried, out, batch=4))
    content = images.read_bytes()
    with pytest.raises(UsageError, match="is what is to be read"):
        run(FeaturesRequest(images, images, overwrite=True))
    assert images.read_bytes() == content
    assert not out.exists()


def test_weights_that_are_not_finite_are_not_written(images, tmp_path, monkeypatch):
    monkeypatch.setattr(stages.features, "RATE", float("inf"))
    with pytest.raises(DivergedError, match="step 2: the weights are not finite"):
        run(FeaturesRequest(images, tmp_path / "f.h5", steps=2, **SMALL))
    assert os.listdir(tmp_path) == []


# In a training


def _at(size, path):
    """A recipe that trains at some size with these features."""
    text = RECIPE.format(steps=2, save_every=1000).replace('"none"', f'"self"\nfeatures_path = "{path}"')
    made = parse_recipe(text, where="test")
    return made.model_copy(update={"model": made.model.model_copy(update={"size": size})})


def test_missing_and_foreign_features_say_how_to_make_them(images, made, tmp_path):
    with pytest.raises(
        MissingPartError, match=r"nowhere.h5: .* not there; make them: sym3d features faces.h5 .*nowhere"
    ):
        build_features(_at(64, tmp_path / "nowhere.h5"))
    with pytest.raises(InputError, match=r"16 pixels, not 64; make others: sym3d features faces.h5 OUT"):
        build_features(_at(64, made))
    with pytest.raises(InputError, match=r"is a sym3d.images file .*; make others: sym3d features"):
        build_features(_at(16, images))
    (tmp_path / "bad.h5").write_bytes(b"no artifact")
    with pytest.raises(InputError, match=r"not an HDF5 file; make others: sym3d features"):
        build_features(_at(16, tmp_path / "bad.h5"))


@pytest.mark.parametrize(
    ("attrs", "arrays", "message"),
    [
        ({}, {"std": np.zeros(3, np.float32)}, "makes no sense"),
        ({}, {"mean": np.full(3, np.nan, np.float32)}, "makes no sense"),
        ({"width": 0.125}, {}, "do not fit"),
        ({}, {"encoder/features.0.bias": np.full(4, np.inf, np.float32)}, "not finite"),
        ({}, {"encoder/more": np.zeros(3, np.float32)}, "unknown more"),
    ],
)
def test_hostile_features(made, tmp_path, attrs, arrays, message):
    with open_artifact(made) as artifact:
        attrs = artifact.attrs | attrs
    path = tmp_path / "f.h5"
    write_artifact(path, "sym3d.features", weights(made)[0] | arrays, provenance=make_provenance(), attrs=attrs)
    with pytest.raises(InputError, match=message) as caught:
        build_features(_at(16, path))
    assert "\n" not in str(caught.value)


def test_training_compares_them_and_holds_on_to_them(tmp_path):
    faces = write_images(tmp_path / "faces.h5")
    for seed in (0, 1):
        run(FeaturesRequest(faces, tmp_path / f"{seed}.h5", steps=1, width=1 / 64, batch=4, seed=seed))
    recipe = _at(64, tmp_path / "0.h5")
    train(TrainRequest(recipe, tmp_path / "run", faces))
    found = contents(tmp_path / "run")
    assert (found["log/perceptual"] != 0).all()
    with open_artifact(tmp_path / "run" / "checkpoint.h5") as checkpoint:
        assert [parent["name"] for parent in checkpoint.provenance["parents"]] == ["faces.h5", "0.h5"]
    (tmp_path / "0.h5").rename(tmp_path / "moved.h5")
    longer = recipe.model_copy(update={"optim": recipe.optim.model_copy(update={"steps": 3})})
    moved = longer.model_copy(
        update={"loss": longer.loss.model_copy(update={"features_path": str(tmp_path / "moved.h5")})}
    )
    assert train(TrainRequest(moved, tmp_path / "run", faces)).steps == 3
    os.replace(tmp_path / "1.h5", tmp_path / "0.h5")
    with pytest.raises(StaleError, match=r"trained with other features than 0\.h5"):
        train(TrainRequest(recipe, tmp_path / "run", faces))
