"""Freed memory: kept for the next step while a stage wants it, and given back afterwards."""

import ctypes
import subprocess
import sys

import numpy as np
import pytest

from stages.memory import keeping_memory

FAULTS = """
import resource
import numpy as np
from stages.memory import keeping_memory

def faults():
    "How many pages the system has to provide for a block, larger than glibc ever keeps by itself, filled and freed."
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**23)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
with keeping_memory():
    first, second = faults(), faults()
print(before, first, second, faults())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has no mallopt")
def test_the_second_block_finds_the_pages_of_the_first_inside_and_only_there():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, first, second, after = map(int, done.stdout.split())
    assert second < min(before, first, after) / 2


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_it_does_without_that_c_library(error, monkeypatch):
    def missing(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with keeping_memory():
        assert np.ones(3).sum() == 3
