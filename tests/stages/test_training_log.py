"""The log of a training stays small, and its curve stays whole."""

import math

import pytest
import torch

import stages.training_log
from stages.artifact import make_provenance
from stages.checkpoint import TrainingState, restore, save
from stages.errors import InputError
from stages.training_log import append


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(stages.training_log, "ROWS", 10)


def rows(last, every=20):
    """A loss that is its step; SIDE now and then."""
    return [
        {"step": step, "seconds": step / 2, "total": step - every / 2} | ({"side": 1.5} if step % 100 == 0 else {})
        for step in range(every, last + 1, every)
    ]


def logged(last):
    log = []
    for row in rows(last):
        append(log, row)
    return log


def test_a_short_log_is_left_alone():
    assert logged(20 * 29) == rows(20 * 29)


@pytest.mark.parametrize("last", [600, 5_000, 33_340, 200_000])
def test_a_long_one_keeps_the_curve_in_few_rows(last):
    log = logged(last)
    assert len(log) < 30
    assert log[-10:] == rows(last)[-10:]
    steps = [0, *(row["step"] for row in log)]
    assert steps == sorted(set(steps))
    for before, row in zip(steps, log, strict=False):
        assert row["total"] == pytest.approx((before + row["step"]) / 2)  # the mean of all its steps
        assert row["seconds"] == row["step"] / 2
    spans = [after - before for before, after in zip(steps, log_steps(log), strict=False)]
    assert max(spans) <= 2 * 2 ** math.ceil(math.log2(last / 10))  # no part of the run is coarse
    assert all(row.get("side", 1.5) == pytest.approx(1.5) for row in log)
    assert any("side" in row for row in log[:10])


def log_steps(log):
    return [row["step"] for row in log]


def test_a_log_that_was_saved_and_read_goes_on_the_same():
    log = logged(1_000)
    resumed = [dict(row) for row in log]
    for row in rows(9_000)[50:]:
        append(log, row)
        append(resumed, dict(row))
    assert log == resumed == logged(9_000)


@pytest.mark.parametrize(
    ("steps", "key"),
    [([1, 2], "seconds"), ([1, 2], "images_per_second"), ([0, 2], ""), ([2, 1], ""), ([2, 2], ""), ([2, 9], "")],
)
def test_a_log_that_is_none_is_refused(tmp_path, steps, key):
    """Forged: a training that went on from it would divide by nothing, hours later."""
    model = torch.nn.Linear(1, 1)
    model.size = 64
    state = TrainingState(model, None, torch.optim.Adam(model.parameters()), step=3)
    model(torch.ones(1)).backward()
    state.optimizer.step()
    state.log = [{"step": step, "seconds": 1.0, "images_per_second": 1.0} for step in (1, 3)]
    save(tmp_path / "good.h5", state, make_provenance(), 5)
    restore(tmp_path / "good.h5", state)
    for row, step in zip(state.log, steps, strict=True):
        row |= {"step": step, key: math.nan} if key else {"step": step}
    save(tmp_path / "bad.h5", state, make_provenance(), 5)
    with pytest.raises(InputError, match="its log makes no sense"):
        restore(tmp_path / "bad.h5", state)
