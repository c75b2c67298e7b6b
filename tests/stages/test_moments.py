"""Optimizer states that no training wrote, in checkpoints with a valid seal: they ended a resumed run in a traceback,
or spoilt its weights."""

import numpy as np
import pytest
import torch
from torch import nn

from stages import train
from stages.artifact import make_provenance, open_artifact, write_artifact
from stages.checkpoint import TrainingState, restore, save
from stages.errors import InputError
from stages.recipe import load_recipe


@pytest.fixture
def trained(tmp_path):
    """A state after a step, and the parts of its checkpoint."""
    model = nn.Linear(3, 1)
    model.size = 64
    state = TrainingState(model, None, torch.optim.Adam(model.parameters()), step=1)
    model(torch.ones(3)).backward()
    state.optimizer.step()
    save(tmp_path / "good.h5", state, make_provenance(), 5)
    with open_artifact(tmp_path / "good.h5") as artifact:
        return state, {name: artifact[name][...] for name in artifact.names}, artifact.attrs


TYPE, SENSE = "has not the shape and type", "makes no sense"
FORGED = {
    "integers": ("exp_avg", lambda v: v.astype(np.int32), TYPE),
    "truth values": ("exp_avg_sq", lambda v: v > 0, TYPE),
    "text": ("exp_avg", lambda v: np.full(v.shape, b"a"), TYPE),
    "float64": ("exp_avg", lambda v: np.full(v.shape, 1e300), TYPE),
    "another shape": ("exp_avg", lambda v: v[:, :1], TYPE),
    "a list of steps": ("step", lambda v: v[None], TYPE),
    "NaN": ("exp_avg", lambda v: v * np.float32(np.nan), SENSE),
    "negative squares": ("exp_avg_sq", lambda v: -v - 1, SENSE),
    "steps before the first": ("step", lambda v: v - 5, SENSE),
    "no number of steps": ("step", lambda v: v * np.float32(np.nan), SENSE),
}


@pytest.mark.parametrize("case", FORGED)
def test_moments_that_are_none_are_refused(tmp_path, trained, case):
    key, change, words = FORGED[case]
    state, arrays, attrs = trained
    name = f"optim/weight.{key}"
    write_artifact(
        tmp_path / "bad.h5",
        "sym3d.checkpoint",
        arrays | {name: change(arrays[name])},
        provenance=make_provenance(),
        attrs=attrs,
    )
    restore(tmp_path / "good.h5", state)
    with pytest.raises(InputError, match=f"{name} {words}"):
        restore(tmp_path / "bad.h5", state)


def test_rollbacks_without_number_take_no_time(trained):
    state = trained[0]
    state.rollbacks = 2**53
    assert train._set_rate(state, load_recipe("tiny")) == 0
    state.rollbacks = 2
    assert train._set_rate(state, load_recipe("tiny")) == load_recipe("tiny").optim.lr / 4
