"""The same numbers whatever computes them: any number of threads, and within a tolerance a GPU.

What the same command gives twice on one machine is the same to the bit: docs/reliability.md says where that is tested.
"""

import numpy as np
import pytest
import torch

from stages.artifact import open_artifact
from stages.loading import load_model
from stages.predict import predict
from stages.prep import PrepRequest
from stages.prep import run as prepare
from stages.synth import SynthRequest, draw
from tests.stages.test_prep import fill

DEPTH, COLOUR = 1e-4, 1e-3  # of a range of 0.2 m, and of 1
EDGE = 0.01  # share of pixels that may fall on the other side of an outline


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
