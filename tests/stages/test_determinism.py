"""The same numbers whatever computes them: any number of threads, and within a tolerance a GPU.

What the same command gives twice on one machine is the same to the bit: tests/kills says so of every command.
"""

import numpy as np
import pytest
import torch

from stages.loading import load_model
from stages.predict import predict
from stages.synth import SynthRequest, draw

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


@pytest.mark.gpu
def test_predictions_on_a_gpu_are_those_of_a_cpu():
    assert_close(shapes(), shapes("cuda"))
