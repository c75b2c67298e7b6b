"""The same numbers whatever computes them: any number of threads, and within a tolerance a GPU.

What the same command gives twice on one machine is the same to the bit: docs/reliability.md says where that is tested.
"""

import numpy as np
import pytest
import torch

from stages.artifact import open_artifact
from stages.evaluate import EvaluateRequest
from stages.evaluate import run as evaluate
from stages.features import FeaturesRequest
from stages.features import run as learn_features
from stages.loading import load_model
from stages.predict import predict
from stages.prep import PrepRequest
from stages.prep import run as prepare
from stages.recipe import parse_recipe
from stages.synth import SynthRequest, draw
from stages.train import TrainRequest
from stages.train import run as train
from tests.stages.small import write_data
from tests.stages.test_prep import fill
from tests.stages.test_train import RECIPE, contents, write_images

DEPTH, COLOUR = 1e-4, 1e-3  # of a range of 0.2 m, and of 1
EDGE = 0.01  # share of pixels that may fall on the other side of an outline
LOSS, WEIGHT = 1e-3, 5e-3  # relative, and absolute, after 20 steps of Adam at a rate of 1e-3
SCORE = 1e-3  # relative
FEATURE = 0.02  # of the weights' range: in bfloat16 where the processor has it


@pytest.fixture
def threads():
    """Set the number of threads; put back afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def faces(device="cpu"):
    return next(draw(SynthRequest(None, 4, seed=2, device=device), np.arange(4)))[1]


def shapes(device="cpu"):
    model = load_model("synfaces-small").model.to(device)
    return predict(model, faces()["image"])


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


def test_a_training_hardly_depends_on_the_number_of_threads(threads, tmp_path):
    images = write_images(tmp_path / "faces.h5")
    text = RECIPE.format(steps=20, save_every=1000).replace("batch = 4", 'batch = 4\nprecision = "float32"')
    found = []
    for count in (1, 2):
        threads(count)
        train(TrainRequest(parse_recipe(text), tmp_path / f"{count}", images))
        found.append(contents(tmp_path / f"{count}"))
    one, two = found
    np.testing.assert_allclose(two["log/total"], one["log/total"], rtol=LOSS)
    for name in (name for name in one if name.startswith(("model/", "ema/"))):
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=WEIGHT, err_msg=name)


def test_scores_and_features_hardly_depend_on_the_number_of_threads(threads, tmp_path):
    data = write_data(tmp_path / "data.h5", count=20)
    found = []
    for count in (1, 2):
        threads(count)
        scores, features = tmp_path / f"scores-{count}.h5", tmp_path / f"features-{count}.h5"
        evaluate(EvaluateRequest("synfaces-small", data, out=scores))
        learn_features(FeaturesRequest(data, features, width=0.0625, steps=5, batch=4))
        with open_artifact(scores) as artifact, open_artifact(features) as learned:
            found.append({name: artifact[name][...] for name in ("side", "mad", "reliability")})
            found[-1] |= {name: learned[name][...] for name in learned.names}
    one, two = found
    for name in one:
        if name in ("side", "mad", "reliability"):
            np.testing.assert_allclose(two[name], one[name], rtol=SCORE, err_msg=name)
        else:
            np.testing.assert_allclose(two[name], one[name], rtol=0, atol=FEATURE * np.ptp(one[name]), err_msg=name)


def test_photographs_are_prepared_the_same_by_any_number_of_threads(threads, tmp_path):
    photos, digests = fill(tmp_path / "photos", 70), set()
    for count in (1, 3):
        threads(count)
        prepare(PrepRequest(photos, tmp_path / f"{count}.h5", crop="0.8", workers=count))
        with open_artifact(tmp_path / f"{count}.h5") as artifact:
            digests.add(artifact.digest)
    assert len(digests) == 1


@pytest.mark.gpu
def test_predictions_on_a_gpu_are_those_of_a_cpu():
    assert_close(shapes(), shapes("cuda"))
