"""A training of 20,000 steps takes no more memory, files or room for its log than one of a few thousand."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = 20_000
SCRIPT = Path(__file__).with_name("long_run.py")


@pytest.mark.slow
def test_memory_and_files_stay_flat(tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2])}
    command = [sys.executable, str(SCRIPT), str(tmp_path), str(STEPS)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    step, memory, files, size = zip(*map(json.loads, done.stdout.splitlines()), strict=True)
    assert step[-1] == STEPS
    early, late = (statistics.median(memory[at : at + 20]) for at in (20, 80))  # after 4,000 steps, and the last
    print(f"memory {late / early - 1:+.2%}, {files[1]} files, checkpoints of up to {max(size):,} bytes")
    assert abs(late / early - 1) < 0.02
    assert len(set(files[1:])) == 1
    assert max(size) < size[0] + 6_000 * 20 * 8 * 1.5  # rows × columns of the log, and HDF5's own
    left = sorted(path.name for path in (tmp_path / "run").glob("checkpoint*"))
    assert left == [f"checkpoint.{STEPS - STEPS // 100:07d}.h5", "checkpoint.best.h5", "checkpoint.h5"]
