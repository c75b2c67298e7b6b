"""Started with closed streams, listened to by nobody, in a folder that is gone, with no place for a cache."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.core.kernels import compiled
from stages.recipe import find_recipe
from tests.disks import fill, mounted
from tests.stages.small import write_data

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
NOTES = """
import sys
from sym3d_cli.console import Reporter, heedless
sys.stderr = heedless(sys.stderr)
r = Reporter()
r.note('a'); r.warn('b'); r.note('c')
print('done')
"""
NO_TEMPORARY_FILES = "import tempfile; tempfile.tempdir = '/dev/null'; from sym3d_cli.app import main; main()"


def start(*arguments: str, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, *arguments], env=ENVIRONMENT, **options)


def start_without(streams: tuple[int, ...], *arguments: str, cwd: Path) -> subprocess.Popen:
    return start("-m", "sym3d_cli", *arguments, cwd=cwd, preexec_fn=lambda: [os.close(stream) for stream in streams])


@pytest.fixture(params=["pipe", "full"])
def deaf(request) -> Iterator[int]:
    """The writing end of a pipe that nobody reads; a file on a disk that is full."""
    if request.param == "pipe":
        ours, theirs = os.pipe()
        os.close(ours)
    else:
        theirs = os.open("/dev/full", os.O_WRONLY)
    yield theirs
    os.close(theirs)


@pytest.mark.parametrize("closed", [(1,), (0, 1, 2)], ids=["stdout", "all"])
def test_closed_streams_change_no_result(closed, tmp_path):
    assert start_without(closed, "recipes", "copy", "tiny", "new.toml", cwd=tmp_path).wait(60) == 0
    assert (tmp_path / "new.toml").read_bytes() == find_recipe("tiny").read_bytes()


@pytest.mark.parametrize(("closed", "recipe", "code"), [((2,), "tiny", 6), ((0, 1, 2), "nowhere", 3)])
def test_closed_streams_change_no_exit_code(closed, recipe, code, tmp_path):
    (tmp_path / "new.toml").touch()
    assert start_without(closed, "recipes", "copy", recipe, "new.toml", cwd=tmp_path).wait(60) == code


def test_usage_is_wrong_also_where_nobody_is_told(tmp_path):
    assert start_without((2,), "recipes", "bogus", cwd=tmp_path).wait(60) == 2


def test_an_error_that_nobody_hears_keeps_its_exit_code(deaf):
    assert start("-m", "sym3d_cli", "recipes", "show", "nowhere", stderr=deaf).wait(60) == 3


def test_work_goes_on_where_nobody_hears_the_notes(deaf):
    process = start("-c", NOTES, stdout=subprocess.PIPE, stderr=deaf)
    assert process.communicate(timeout=60)[0] == b"done\n"
    assert process.returncode == 0


def test_a_log_whose_disk_was_full_goes_on(tmp_path):
    """With what is said once there is room again."""
    with mounted(tmp_path / "disk", "size=8k") as disk:
        filler = fill(disk)
        said = NOTES.replace("r.warn('b')", f"__import__('os').unlink({str(filler)!r})")
        with (disk / "log").open("wb") as log:
            assert start("-c", said, stdout=subprocess.DEVNULL, stderr=log).wait(60) == 0
        assert (disk / "log").read_text() == "c\n"


def test_learning_needs_no_temporary_files(tmp_path):
    """torch would make a folder for them, and does not load where it cannot."""
    write_data(tmp_path / "faces.h5")
    learn = ["features", "faces.h5", "out.h5", "--steps", "1", "--batch", "2", "--width", "0.0625"]
    assert start("-c", NO_TEMPORARY_FILES, *learn, cwd=tmp_path).wait(120) == 0
    assert sorted(os.listdir(tmp_path)) == ["faces.h5", "out.h5"]


def test_a_working_directory_that_is_gone(refused, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "the working directory is gone" in refused(3, "doctor")


def test_kernels_do_without_a_place_for_a_cache():
    made: dict = {}
    exec(compile("def double(x): return 2 * x", "<no file>", "exec"), made)
    assert compiled()(made["double"])(21) == 42
