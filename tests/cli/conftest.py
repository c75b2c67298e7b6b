"""How the tests call sym3d: in this process, with stdout and stderr apart, in an empty folder of their own, offline."""

import signal
import socket

import pytest
import typer
from typer.testing import CliRunner

from sym3d_cli.app import app

COMMAND = typer.main.get_command(app)


@pytest.fixture(autouse=True)
def signals_heard_again():
    """A command that was interrupted ignores signals until its process ends, which here goes on."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def sym3d(tmp_path, monkeypatch):
    """``sym3d("train", "cats")`` → result with exit_code, stdout, stderr; the working directory is ``tmp_path``."""
    monkeypatch.chdir(tmp_path)

    def offline(*_, **__):
        pytest.fail("sym3d must not use the network")

    monkeypatch.setattr(socket.socket, "connect", offline)
    monkeypatch.setattr(socket, "getaddrinfo", offline)
    monkeypatch.setattr(typer.testing, "_get_command", lambda _: COMMAND)  # it takes a tenth of a second each time

    def call(*arguments: object):
        return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="sym3d")

    return call


@pytest.fixture
def refused(sym3d):
    """Call a command that must fail, and return its one line on stderr."""

    def call(code: int, *arguments: object) -> str:
        result = sym3d(*arguments)
        assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr)
        assert result.stdout == ""
        line = result.stderr
        assert line.startswith("sym3d: error: ")
        assert line.count("\n") == 1
        assert line.endswith("\n")
        assert "; " in line, "an error says what to do"
        return line

    return call
