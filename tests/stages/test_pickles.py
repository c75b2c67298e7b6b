"""Pickles that are only looked at; those inside checkpoints are in test_convert.py."""

import struct

import pytest

from stages.io.pickles import PickleError, read_pickle


def test_bytes_that_claim_to_be_longer_than_any_memory(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"abc")
    with path.open("rb") as file, pytest.raises(PickleError):
        read_pickle(file)
