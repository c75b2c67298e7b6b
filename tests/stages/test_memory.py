"""Freed memory: kept for the next step while a stage wants it, and given back afterwards."""

import ctypes
import resource

import pytest
import torch

from stages.memory import keeping_memory

BLOCK = 2**26  # bytes: above what glibc ever keeps by itself
PAGES = BLOCK // 2**21  # at least, where the system has pages of 2 MiB


def faults() -> int:
    """How many pages the system had to provide for one block that is filled and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(BLOCK // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has no mallopt")
def test_the_second_block_finds_the_pages_of_the_first_inside_and_only_there():
    assert faults() >= PAGES
    with keeping_memory():
        faults()  # some, unless the heap has so large a hole already
        assert faults() < PAGES / 2
    assert faults() >= PAGES
    assert faults() >= PAGES


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_it_does_without_that_c_library(error, monkeypatch):
    def missing(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with keeping_memory():
        assert torch.ones(3).sum() == 3
