"""A full disk: OutputError, the previous file untouched, nothing half-written, rows kept for later."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_files import COUNT, beside, open_writer, provenance, rows_of

from stages.artifact import open_artifact, write_artifact
from stages.artifact.files import partial_path
from stages.errors import OutputError
from tests.disks import mounted


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size; stands in for a full disk where none can be mounted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    with mounted(tmp_path / "disk", "size=2m") as folder:
        yield folder


def fill(path: Path) -> None:
    """Take all the room that is left on a disk."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass


def save(path: Path, size: int, step: int) -> None:
    arrays = {"model/a": np.random.default_rng(0).random(size // 8), "log/loss": np.zeros(10)}
    write_artifact(path, "sym3d.checkpoint", arrays, provenance=provenance(), attrs={"step": step})


@pytest.mark.parametrize("limit", [0, 100, 3000, 50_000, 790_000])
def test_write_artifact_beyond_the_limit(checkpoint, limit):
    before = checkpoint.read_bytes()
    with pytest.raises(OutputError, match="cannot be written"), largest_file(limit):
        save(checkpoint, 800_000, 2)
    assert checkpoint.read_bytes() == before
    assert beside(checkpoint) == ["checkpoint.h5"]
    save(checkpoint, 800_000, 3)  # the same process can still write there
    with open_artifact(checkpoint) as artifact:
        assert artifact.attrs["step"] == 3


def test_rows_beyond_the_limit(tmp_path):
    path = tmp_path / "images.h5"
    with pytest.raises(OutputError), largest_file(2000):
        open_writer(path)
    assert beside(path) == []
    with open_writer(path) as writer:
        writer.write(np.arange(COUNT), rows_of(np.arange(COUNT)))
        with pytest.raises(OutputError), largest_file(5000):
            writer.finish()
        assert beside(path) == ["images.h5.partial"]
        writer.finish()
    assert beside(path) == ["images.h5"]


def test_write_artifact_on_a_full_disk(small_disk):
    path = small_disk / "checkpoint.h5"
    save(path, 900_000, 1)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="No space left on device"):
        save(path, 1_500_000, 2)
    assert path.read_bytes() == before
    assert beside(path) == ["checkpoint.h5"]


def test_rows_on_a_disk_that_fills_up(small_disk):
    path, filler = small_disk / "images.h5", small_disk / "filler"
    with open_writer(path, count=800) as writer:
        writer.write(np.arange(COUNT), rows_of(np.arange(COUNT)))
        fill(filler)
        rest = writer.pending()
        with pytest.raises(OutputError, match="No space left on device"):
            writer.write(rest, rows_of(rest))
        assert writer.pending().tolist() == rest.tolist()
    filler.unlink()
    with open_writer(path, count=800) as writer:
        assert writer.pending().tolist() == rest.tolist()
        writer.write(rest[:3], rows_of(rest[:3]))
    assert beside(path) == ["images.h5.partial"]


def test_too_little_room_is_said_before_the_work(small_disk):
    path = small_disk / "images.h5"
    with pytest.raises(OutputError, match=r"it needs [\d.]+ MB, [\d.]+ MB are free"):
        open_writer(path, count=1_000_000)
    assert beside(path) == []


def test_finishing_on_a_full_disk_keeps_the_rows(small_disk):
    path, filler = small_disk / "images.h5", small_disk / "filler"
    with open_writer(path) as writer:
        writer.write(np.arange(COUNT), rows_of(np.arange(COUNT)))
        fill(filler)
        with pytest.raises(OutputError, match="No space left on device"):
            writer.finish()
    assert beside(path) == ["filler", "images.h5.partial"]
    filler.unlink()
    with open_writer(path) as writer:
        assert len(writer.pending()) == 0
        writer.finish()
    assert beside(path) == ["images.h5"]


@pytest.mark.parametrize("where", ["folder", "file/below.h5", "/dev/full"])
def test_places_where_nothing_can_be_written(tmp_path, where):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for write in (open_writer, lambda path: save(path, 800, 1)):
        with pytest.raises(OutputError):
            write(tmp_path / where)
    assert beside(tmp_path / "x") == ["file", "folder"]
    assert not partial_path(Path("/dev/full")).exists()
