"""Pickles that are only looked at; those inside checkpoints are in test_convert.py."""

import io
import struct

import pytest

from stages.io import pickles
from stages.io.pickles import PickleError, read_pickle


def test_bytes_that_claim_to_be_longer_than_any_memory(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"abc")
    with path.open("rb") as file, pytest.raises(PickleError):
        read_pickle(file)


def test_a_pickle_of_endless_steps_is_given_up(monkeypatch):
    """Each step takes a microsecond or more: tens of millions kept `sym3d import` busy for minutes."""
    assert pickles._MOST_STEPS <= 2_000_000
    monkeypatch.setattr(pickles, "_MOST_STEPS", 1000)
    with pytest.raises(PickleError, match="too many steps"):
        read_pickle(io.BytesIO(b"\x80\x02" + b"N0" * 501 + b"N."))
    assert read_pickle(io.BytesIO(b"\x80\x02" + b"N0" * 490 + b"N.")) is None
