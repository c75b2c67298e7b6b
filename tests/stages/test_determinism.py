"""The same numbers whatever computes them: any number of threads, and within a tolerance a GPU.

What the same command gives twice on one machine is the same to the bit: docs/reliability.md says where that is tested.
"""

import numpy as np
import pytest
import torch

import stages.features
from stages.artifact import open_artifact
from stages.evaluate import EvaluateRequest
from stages.evaluate import run as evaluate
from stages.features import FeaturesRequest
from stages.loading import load_model
from stages.predict import predict
from stages.prep import PrepRequest
from stages.prep import run as prepare
from stages.recipe import parse_recipe
from stages.synth import SynthRequest, draw
from stages.train import TrainRequest
from stages.train import run as train
from tests.stages.small import write_data
from tests.stages.test_features import SMALL, mosaics
from tests.stages.test_prep import fill
from tests.stages.test_train import RECIPE, contents, write_images

DEPTH, COLOUR = 1e-4, 1e-3  # of a range of 0.2 m, and of 1
EDGE = 0.01  # share of pixels that may fall on the other side of an outline
COUNTS = [2, pytest.param(4, marks=pytest.mark.slow)]


@pytest.fixture
def threads():
    """Set the number of threads; put back afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def faces(device="cpu"):
    return next(draw(SynthRequest(None, 4, seed=2, device=device), np.arange(4)))[1]


def shapes(device="cpu"):
    model = load_model("synfaces").model.to(device)
    return predict(model, faces()["image"])


def numbers(path):
    """The floating-point columns of an artifact."""
    with open_artifact(path) as artifact:
        return {name: artifact[name][...] for name in artifact.names if artifact[name].dtype.kind == "f"}


def assert_close(one, other):
    assert np.abs(one["canonical_depth"] - other["canonical_depth"]).max() < DEPTH
    assert np.abs(one["albedo"] - other["albedo"]).max() < COLOUR
    assert np.abs(one["view"] - other["view"]).max() < DEPTH
    assert (one["valid"] != other["valid"]).mean() < EDGE


def test_predictions_do_not_depend_on_the_number_of_threads(threads):
    threads(1)
    one = shapes()
    threads(2)
    assert_close(one, shapes())


def test_drawn_faces_are_the_same_with_any_number_of_threads(threads):
    threads(1)
    one = faces()
    threads(2)
    two = faces()
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)


def test_photographs_are_prepared_the_same_by_any_number_of_threads(threads, tmp_path):
    photos, digests = fill(tmp_path / "photos", 70), set()
    for count in (1, 3):
        threads(count)
        prepare(PrepRequest(photos, tmp_path / f"{count}.h5", crop="0.8", workers=count))
        with open_artifact(tmp_path / f"{count}.h5") as artifact:
            digests.add(artifact.digest)
    assert len(digests) == 1


@pytest.mark.parametrize("count", COUNTS)
def test_five_steps_are_near_each_other_with_any_number_of_threads(count, threads, tmp_path):
    """Not longer: every step takes what the one before left, and enlarges it."""
    images, text = write_images(tmp_path / "faces.h5"), RECIPE.format(steps=5, save_every=1000)
    text = text.replace("batch = 4", 'batch = 4\nprecision = "float32"').replace("log_every = 2", "log_every = 1")
    losses = []
    for folder, number in (("one", 1), ("several", count)):
        threads(number)
        train(TrainRequest(parse_recipe(text, where="test"), tmp_path / folder, images))
        losses.append(contents(tmp_path / folder)["log/total"])
    assert len(losses[0]) == 5
    np.testing.assert_allclose(*losses, rtol=0.01)


@pytest.mark.parametrize("count", COUNTS)
def test_scores_and_features_are_near_each_other_with_any_number_of_threads(count, threads, tmp_path, monkeypatch):
    monkeypatch.setattr(stages.features, "fast_precision", lambda device: torch.float32)
    images, pictures = write_data(tmp_path / "faces.h5"), mosaics(tmp_path / "mosaics.h5")
    found = []
    for number in (1, count):
        threads(number)
        scores, features = tmp_path / f"scores-{number}.h5", tmp_path / f"features-{number}.h5"
        evaluate(EvaluateRequest("synfaces", images, split="all", baselines=("null-depth",), out=scores))
        stages.features.run(FeaturesRequest(pictures, features, steps=6, **SMALL))
        found.append([numbers(scores), numbers(features)])
    (scores, features), (others, other_features) = found
    assert scores.keys() == others.keys() >= {"side", "mad", "baseline/null-depth/side"}
    for name, values in scores.items():
        np.testing.assert_allclose(others[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
    assert any(name.startswith("encoder/") for name in features)
    for name, values in features.items():
        np.testing.assert_allclose(other_features[name], values, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.gpu
def test_predictions_on_a_gpu_are_those_of_a_cpu():
    assert_close(shapes(), shapes("cuda"))
