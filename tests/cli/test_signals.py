"""Ctrl-C and SIGTERM at moments that the work itself does not see: before it begins, when it has ended, and again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.interrupt import stop_requested

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
INTERRUPTED = (130, "sym3d: interrupted\n")
# Whoever runs the tests may ignore SIGINT.
MAIN = """
import atexit, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
def come(): os.kill(os.getpid(), signal.{name})
{when}
from sym3d_cli.__main__ import main
main()
"""
LOADING = """
class Finder:
    def find_spec(self, name, path, target=None):
        if name == {module!r}: exec("come()")  # as dataclasses do
sys.meta_path.insert(0, Finder())
"""


@pytest.fixture
def run(tmp_path):
    """sym3d as ``python -m``, to which a signal comes: function of its name, when, arguments → exit code and stderr."""

    def run(name: str, when: str, *arguments: str) -> tuple[int, str]:
        (tmp_path / "main.py").write_text(MAIN.format(name=name, when=when))
        command = [sys.executable, "-m", "main", *arguments]
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        done = subprocess.run(command, env=ENVIRONMENT, cwd=tmp_path, text=True, **streams)
        return done.returncode, done.stderr

    return run


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_while_the_command_line_loads(run, name):
    assert run(name, LOADING.format(module="typer"), "recipes", "list") == INTERRUPTED


def test_while_a_library_loads_that_drops_every_exception(run):
    """trimesh, whose formats load meshio where it is there."""
    assert run("SIGINT", LOADING.format(module="meshio"), "export", "nowhere.h5", "-o", "out") == INTERRUPTED


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_while_the_arguments_are_read(run, name):
    when = "import sym3d_cli.app\nsym3d_cli.app.OneLineErrors.parse_args = lambda *_: come()"
    assert run(name, when, "recipes", "list") == INTERRUPTED


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_again_when_it_has_been_said(run, name):
    when = "import sym3d_cli.app\nsym3d_cli.app.OneLineErrors.parse_args = lambda *_: come()\n"
    when += "end = sys.exit\nsys.exit = lambda code: (come(), end(code))"
    assert run(name, when, "recipes", "list") == INTERRUPTED


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_when_all_is_done(run, name):
    assert run(name, "atexit.register(come)", "--version") == (0, "")


def test_after_one_that_asks_to_stop_only_ctrl_c_is_impatient():
    """A training that sym3d reproduce started hears a batch queue's SIGTERM from both."""
    kept = signal.getsignal(signal.SIGINT)
    with stop_requested() as stopping:
        assert not stopping()
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)
            assert stopping()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is kept
