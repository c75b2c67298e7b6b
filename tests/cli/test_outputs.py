"""Outputs: two processes on one, of which the second stops with one line; and places where nothing can be written."""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import stages.checkpoint
from stages.artifact import make_provenance, open_artifact, write_artifact
from tests.disks import fill, mounted
from tests.stages.small import write_checkpoint, write_data

UNFINISHED = (".partial", ".lock", ".tmp")
GOLDEN = Path(__file__).parents[1] / "golden" / "v1"
HOLD = (
    "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print('held', flush=True); time.sleep(600)"
)
TINY = ["-s", "optim.steps=2", "-s", "optim.batch=2", "-s", "model.width=0.07", "-s", "run.validate_images=1"]
# command: its arguments, its result, and what a process at work on that holds
COMMANDS = {
    "prep": (["photos", "out.h5", "--crop", "none"], "out.h5", "out.h5.partial"),
    "synth": (["out.h5", "-n", "2"], "out.h5", "out.h5.partial"),
    "features": (
        ["data.h5", "out.h5", "--steps", "2", "--batch", "2", "--width", "0.0625"],
        *("out.h5", ".out.h5.lock"),
    ),
    "train": (["tiny", "--data", "data.h5", *TINY], "runs/tiny/checkpoint.h5", "runs/tiny/.lock"),
    "infer": (["model.h5", "data.h5", "-o", "out"], "out/prediction.h5", "out/.lock"),
    "eval": (["model.h5", "data.h5", "-o", "out.h5"], "out.h5", ".out.h5.lock"),
    "export": (["prediction.h5", "-o", "out", "--row", "0"], "out", "out/.lock"),
    "edit": (["prediction.h5", "-o", "out", "--row", "0", "--size", "16", "--frontal"], "out", "out/.lock"),
    "relight": (["prediction.h5", "-o", "out", "--row", "0", "--size", "16", "--ambient", "1"], "out", "out/.lock"),
    "composite": (["prediction.h5", "photos/50.png", "-o", "out.png", "--ambient", "1"], "out.png", ".out.png.lock"),
    "report": (["prediction.h5", "-o", "out.html"], "out.html", ".out.html.lock"),
}
AGAIN = {"export", "edit", "relight", "composite", "report"}  # they replace what is there without --overwrite


@pytest.fixture
def here(tmp_path) -> Path:
    write_data(tmp_path / "data.h5")
    write_checkpoint(tmp_path / "model.h5")
    (tmp_path / "photos").mkdir()
    for shade in (50, 200):
        Image.effect_noise((70, 70), shade).convert("RGB").save(tmp_path / "photos" / f"{shade}.png")
    write_prediction(tmp_path / "prediction.h5", tmp_path / "photos" / "50.png")
    return tmp_path


def write_prediction(path: Path, photo: Path) -> None:
    """The golden one, as if of a photograph."""
    with open_artifact(GOLDEN / "prediction.h5") as golden:
        arrays = {name: golden[name][...] for name in golden.names} | {
            "name": golden.strings("name"),
            "sha256": [hashlib.sha256(photo.read_bytes()).hexdigest()] * golden.count,
            "box": np.full((golden.count, 4), [0, 0, 70, 70], np.float32),
        }
        write_artifact(path, "sym3d.prediction", arrays, provenance=make_provenance(), attrs=golden.attrs)


@contextmanager
def another_process_holding(lock: Path) -> Iterator[None]:
    """Killed at the end, as in a crash."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdin=-1, stdout=-1, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield
    finally:
        process.kill()
        process.communicate()


def refusal(result) -> str:
    """The line that says why a command stopped; notes may come before it."""
    assert (result.exit_code, result.stdout) == (6, "")
    line = result.stderr.splitlines()[-1]
    assert line.startswith("sym3d: error: ")
    return line


def files(folder: Path) -> dict[str, str]:
    """Everything in it, with sums of the contents."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_second_stops(command, here, sym3d):
    arguments, _, lock = COMMANDS[command]
    with another_process_holding(here / lock):
        before = files(here)
        assert "another process is writing it (it holds " in refusal(sym3d(command, *arguments))
        assert files(here) == before


@pytest.mark.parametrize("command", ["prep", "features", "export", "report"])
def test_a_killed_first_is_in_nobodys_way(command, here, sym3d):
    arguments, result, lock = COMMANDS[command]
    with another_process_holding(here / lock):
        pass
    assert (here / lock).exists()
    done = sym3d(command, *arguments)
    assert done.exit_code == 0, done.stderr
    assert (here / result).exists()
    assert not (here / lock).exists()


def test_a_table_in_the_making_is_held(here, sym3d):
    with another_process_holding(here / "results" / "logs" / ".lock"):
        assert "another process is writing it" in refusal(sym3d("reproduce", "baselines", "data.h5", "--quick"))


@contextmanager
def disk(here: Path, options: str) -> Iterator[Path]:
    """A small file system of its own, the folder "disk"; runs/ is on it too."""
    (here / "runs").symlink_to(here / "disk")
    with mounted(here / "disk", options) as folder:
        yield folder


def on_disk(command: str) -> list[str]:
    return [command, *(f"disk/{part}" if part.startswith("out") else part for part in COMMANDS[command][0])]


QUICK = ("prep", "eval", "export", "composite", "report")
SOME = [*QUICK, *(pytest.param(command, marks=pytest.mark.slow) for command in COMMANDS if command not in QUICK)]


@pytest.mark.parametrize("command", SOME)
def test_an_output_that_cannot_be_written(command, here, sym3d):
    with disk(here, "ro"):  # not even by the superuser
        assert "(Read-only file system)" in refusal(sym3d(*on_disk(command)))


@pytest.mark.parametrize("command", SOME)
def test_on_a_full_disk_the_previous_result_stays(command, here, sym3d, monkeypatch):
    monkeypatch.setattr(stages.checkpoint, "WAITS", (0, 0, 0))
    again = [] if command in AGAIN else ["--overwrite"]
    with disk(here, "size=8m"):
        done = sym3d(*on_disk(command))
        assert done.exit_code == 0, done.stderr
        before = files(here)
        filler = fill(here / "disk")
        line = refusal(sym3d(*on_disk(command), *again))
        assert any(words in line for words in ("No space left on device", "0.0 MB are free"))
        filler.unlink()
        assert {name: content for name, content in files(here).items() if not name.endswith(UNFINISHED)} == before
        done = sym3d(*on_disk(command), *again)
        assert done.exit_code == 0, done.stderr


@pytest.mark.slow
def test_training_on_a_disk_that_fills_up_keeps_its_checkpoint_and_goes_on_from_there(here, sym3d, monkeypatch):
    monkeypatch.setattr(stages.checkpoint, "WAITS", (0, 0, 0))
    longer = [*on_disk("train"), "-s", "optim.steps=3"]
    with disk(here, "size=8m"):
        assert sym3d(*on_disk("train")).exit_code == 0
        checkpoint = here / "runs" / "tiny" / "checkpoint.h5"
        before, filler = checkpoint.read_bytes(), fill(here / "disk")
        stopped = sym3d(*longer)
        assert "(No space left on device)" in refusal(stopped)
        assert stopped.stderr.count("trying again in 0 s") == 3
        assert checkpoint.read_bytes() == before
        filler.unlink()
        assert sym3d(*longer).exit_code == 0
        with open_artifact(checkpoint) as artifact:
            artifact.verify()
            assert artifact.attrs["step"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_two_real_processes_leave_what_one_leaves(command, here):
    arguments, result, _ = COMMANDS[command]
    sym3d = [sys.executable, "-m", "sym3d_cli", command, *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    pipes = {"cwd": here, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}

    def content(path: Path) -> object:
        """Without the times at which it was made."""
        if path.is_dir():
            return {file.name: content(file) for file in path.iterdir()}
        if path.suffix != ".h5":
            return re.sub(rb'"made":"[^"]*"', b"", path.read_bytes())
        with open_artifact(path) as artifact:
            artifact.verify()
            return {name: artifact[name][...].tobytes() for name in artifact.names if not name.startswith("log/")}

    both = [subprocess.Popen(sym3d, **pipes) for _ in range(2)]
    said = [process.communicate(timeout=300)[1] for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) in ([0, 0], [0, 6]), said
    assert sum("another process is writing it" in text for text in said) == codes.count(6)
    together = content(here / result)
    assert subprocess.run([*sym3d, *(["--overwrite"] if command not in AGAIN else [])], **pipes).returncode == 0
    assert content(here / result) == together
    assert not [path for path in here.rglob("*") if path.name.endswith(UNFINISHED)]
