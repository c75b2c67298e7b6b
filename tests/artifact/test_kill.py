"""kill -9 at any moment: readers see nothing or the whole, and going on gives the artifact of an undisturbed run."""

import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_files import beside, complete, open_writer, provenance, rows_of

from stages.artifact import open_artifact, write_artifact
from stages.artifact.files import Sink
from stages.errors import InputError


def write_rows(path: Path) -> None:
    with open_writer(path) as writer:
        for row in writer.pending().tolist():
            writer.write([row], rows_of([row]))
            time.sleep(0.002)
        writer.finish()


def save_checkpoints(path: Path) -> None:
    for step in itertools.count(1):
        arrays = {f"model/{name}": np.full(50_000, step, np.float32) for name in "abcdefgh"}
        write_artifact(path, "sym3d.checkpoint", arrays, provenance=provenance(), attrs={"step": step})


def killed_after(seconds: float, work: Callable[[Path], None], path: Path) -> bool:
    """Do the work in a process of its own and kill that; True if it was still at it."""
    if (child := os.fork()) == 0:
        try:
            work(path)
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("seed", range(6))
def test_killed_while_writing_rows(tmp_path, seed):
    path, kills = tmp_path / "images.h5", 0
    moments = random.Random(seed)
    with open_artifact(complete(tmp_path / "undisturbed.h5")) as artifact:
        digest = artifact.digest
    while not path.exists():
        kills += killed_after(moments.uniform(0.0, 0.02 + 0.02 * kills), write_rows, path)
        if not path.exists():
            with pytest.raises(InputError, match=r"was never finished|does not exist"):
                open_artifact(path)
    assert kills > 0
    write_rows(path)
    with open_artifact(path) as artifact:
        artifact.verify()
        assert artifact.digest == digest
    assert beside(path) == ["images.h5", "undisturbed.h5"]


def test_killed_while_saving_checkpoints(tmp_path):
    path = tmp_path / "checkpoint.h5"
    write_artifact(path, "sym3d.checkpoint", {"model/a": np.zeros(1)}, provenance=provenance(), attrs={"step": 0})
    moments, last = random.Random(1), 0
    for _ in range(12):
        assert killed_after(moments.uniform(0.1, 0.2), save_checkpoints, path)
        with open_artifact(path) as artifact:
            artifact.verify()
            last = artifact.attrs["step"]
            assert all((artifact[name][:] == last).all() for name in artifact.names)
    write_artifact(path, "sym3d.checkpoint", {"model/a": np.zeros(1)}, provenance=provenance(), attrs={"step": last})
    assert beside(path) == ["checkpoint.h5"]


def test_who_reads_meanwhile_sees_whole_checkpoints_one_after_the_other(tmp_path):
    path, seen = tmp_path / "checkpoint.h5", []
    if (child := os.fork()) == 0:
        try:
            save_checkpoints(path)
        finally:
            os._exit(1)
    try:
        while not path.exists():
            time.sleep(0.01)
        while len(set(seen)) < 5:
            with open_artifact(path) as artifact:
                artifact.verify()
                seen.append(artifact.attrs["step"])
                assert all((artifact[name][:] == seen[-1]).all() for name in artifact.names)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert seen == sorted(seen)


def test_rows_made_anew_leave_the_previous_ones_to_readers(tmp_path):
    path = complete(tmp_path / "images.h5")
    with open_artifact(path) as artifact:
        before = artifact.digest
    with open_writer(path, provenance=provenance("size = 9"), overwrite=True) as writer:
        writer.write(np.arange(3), rows_of(np.arange(3)))
        with open_artifact(path) as artifact:
            artifact.verify()
            assert artifact.digest == before
        rest = writer.pending()
        writer.write(rest, rows_of(rest))
        writer.finish()
    with open_artifact(path) as artifact:
        assert artifact.digest != before


@pytest.fixture
def hearing():
    """Python hears SIGINT, also where a script started the tests with &."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hearing")
def test_ctrl_c_in_the_middle_of_hdf5_is_heard_after_it(tmp_path, monkeypatch):
    """HDF5 calls Python to write; an exception from there came back as a SystemError."""
    write = Sink.write

    def interrupted(sink, data):
        signal.raise_signal(signal.SIGINT)
        return write(sink, data)

    monkeypatch.setattr(Sink, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        complete(tmp_path / "images.h5")
    monkeypatch.undo()
    with open_artifact(complete(tmp_path / "images.h5")) as artifact:
        artifact.verify()
