"""Started with closed streams, listened to by nobody, in a folder that is gone, with no place for a cache."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.core.kernels import compiled
from stages.recipe import find_recipe

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
NOTES = "from sym3d_cli.console import Reporter; r = Reporter(); r.note('a'); r.warn('b'); r.note('c'); print('done')"


def start(*arguments: str, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, *arguments], env=ENVIRONMENT, **options)


def start_without(streams: tuple[int, ...], *arguments: str, cwd: Path) -> subprocess.Popen:
    return start("-m", "sym3d_cli", *arguments, cwd=cwd, preexec_fn=lambda: [os.close(stream) for stream in streams])


@pytest.fixture
def deaf() -> int:
    """The writing end of a pipe that nobody reads."""
    ours, theirs = os.pipe()
    os.close(ours)
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
    assert start("-c", NOTES, stdout=subprocess.PIPE, stderr=deaf).communicate(timeout=60)[0] == b"done\n"


def test_a_working_directory_that_is_gone(refused, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "the working directory is gone" in refused(3, "doctor")


def test_kernels_do_without_a_place_for_a_cache():
    made: dict = {}
    exec(compile("def double(x): return 2 * x", "<no file>", "exec"), made)
    assert compiled()(made["double"])(21) == 42
