"""A terminal that is closed: training saves and resumes, with nobody there to read what it says."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stages.test_train import RECIPE, write_images

pty = pytest.importorskip("pty")


def start(folder: Path, hearing: signal.Handlers = signal.SIG_DFL) -> tuple[subprocess.Popen, int]:
    """Training on a terminal of its own, once it takes steps; and the terminal's other end."""
    write_images(folder / "faces.h5")
    (folder / "test.toml").write_text(RECIPE.format(steps=100_000, save_every=100_000))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sym3d_cli", "train", "test.toml"],
        **{"cwd": folder, "stdin": theirs, "stdout": theirs, "stderr": theirs},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, hearing),
    )
    os.close(theirs)
    said = b""
    while b"loss" not in said:
        said += os.read(ours, 65536)
    return process, ours


def test_a_closed_terminal_ends_a_training_with_a_save(tmp_path):
    process, terminal = start(tmp_path)
    os.close(terminal)
    process.send_signal(signal.SIGHUP)  # as the kernel does to a terminal's own session
    assert process.wait(60) == 130
    assert (tmp_path / "runs/test/checkpoint.h5").exists()


def test_nohup_lets_it_go_on(tmp_path):
    process, terminal = start(tmp_path, signal.SIG_IGN)
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    os.close(terminal)
