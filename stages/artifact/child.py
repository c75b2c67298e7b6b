"""How the processes that may crash on a file are started, and kept within bounds."""

import contextlib
import os
import resource
import sys
from pathlib import Path

__all__ = ["bound", "own_environment", "own_module"]

MEMORY_BYTES = 4 << 30


def own_module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package; -P, lest a stranger's h5py.py in the working folder is run."""
    return [sys.executable, "-P", "-m", name, *arguments]


def own_environment() -> dict[str, str]:
    """One in which that module is found, and NumPy reserves no memory for threads that it does not need."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}


def bound() -> None:
    """Called in the child: take no more than MEMORY_BYTES, leave no core dump."""
    with contextlib.suppress(ValueError):  # macOS refuses any limit of this kind
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
