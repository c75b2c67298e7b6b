"""kill -9, Ctrl-C or SIGTERM at any moment of any command: what stands under its final name is whole, and the same
command again ends with what an undisturbed run would have made."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.artifact import open_artifact
from tests.stages.small import write_checkpoint, write_data

SERVER = Path(__file__).with_name("fork_server.py")
UNFINISHED = (".partial", ".tmp", ".training", ".lock")
IN_A_ROW = 4  # stops of one output, at most, before it may end
KILLED = ((signal.SIGKILL,),)  # ways to stop: signals that come 20 ms after each other
ASKED = ((signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGINT))
RECIPE = """
name = "run"
[data]
images = "{images}"
make = "none"
[model]
width = 0.0625
[loss]
features = "none"
[optim]
batch = 2
steps = 5
ema = 0.9
[run]
log_every = 2
save_every = 1
validate_every = 3
keep_last = 3
keep_best = true
validate_images = 1
"""


@dataclass(frozen=True)
class Command:
    """``line`` names files in the folder of ``inputs``. What a kill leaves under a final name is what an undisturbed
    run would have put there; only files ``on_the_way`` may be of an earlier moment, such as a checkpoint. Those that
    hold times are ``ignored``."""

    line: str
    on_the_way: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


COMMANDS = {
    "prep": Command("prep {inputs}/photos out.h5 --workers 1"),  # torch's own threads do not survive a fork
    "synth": Command("synth out.h5 -n 100 --size 32"),
    "features": Command("features {inputs}/faces.h5 f.h5 --width 0.05 --steps 8 --batch 4"),
    "train": Command("train {inputs}/recipe.toml", on_the_way=(".h5",)),
    "infer": Command("infer {inputs}/model.h5 {inputs}/faces.h5 -o out --split test --batch 1 --export obj,glb"),
    "eval": Command("eval {inputs}/model.h5 {inputs}/faces.h5 -o scores.h5 --batch 1"),
    "export": Command(
        "export {inputs}/out/prediction.h5 -o out --row 0 --row 1 --format obj,ply,glb --sheet --video frontal "
        "--video-format gif,webp --size 32"
    ),
    "synth --hard": Command("synth out.h5 -n 100 --hard pose=3"),
    "rerun": Command("rerun {inputs}/hard.h5 -o again"),
    "failures": Command("reproduce failures --checkpoint {inputs}/model.h5"),
    "reproduce": Command(
        "reproduce baselines {inputs}/faces.h5 --quick --steps 4",
        on_the_way=("checkpoint.h5",),
        ignored=(".log", ".json", ".md"),
    ),
}


class Forks:
    """A fork server, and the files that the commands start from."""

    def __init__(self, folder: Path):
        self.folder, self.inputs = folder, folder / "inputs"
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SERVER.parents[2])},
        )

    def run(self, line: str, cwd: Path, signals: list[tuple[float, int]] = ()) -> dict:
        cwd.mkdir(exist_ok=True)
        argv = [word.format(inputs=self.inputs) for word in line.split()]
        self.process.stdin.write(json.dumps({"argv": argv, "cwd": str(cwd), "signals": list(signals)}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    @cache  # noqa: B019 (as long as the tests)
    def whole(self, name: str) -> tuple[float, dict[str, object]]:
        """How long an undisturbed run takes, and what it leaves."""
        folder = self.folder / f"{name}-whole"
        return self.finish(COMMANDS[name].line, folder), contents(folder, COMMANDS[name])

    def said(self, cwd: Path) -> str:
        return Path(f"{cwd}.err").read_text(encoding="utf-8")

    def finish(self, line: str, cwd: Path) -> float:
        """Run to the end; returns seconds."""
        done = self.run(line, cwd)
        assert done["code"] == 0, self.said(cwd)
        return done["seconds"]


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    forks = Forks(tmp_path_factory.mktemp("kills"))
    photos = forks.inputs / "photos"
    photos.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(150):
        Image.fromarray(rng.integers(0, 255, (80, 100, 3), np.uint8)).save(photos / f"{index}.jpg")
    write_checkpoint(forks.inputs / "model.h5")
    images = write_data(forks.inputs / "faces.h5", count=20)  # the baselines take batches of 8
    (forks.inputs / "recipe.toml").write_text(RECIPE.format(images=images), encoding="utf-8")
    forks.finish("infer {inputs}/model.h5 {inputs}/faces.h5 -o out", forks.inputs)
    forks.finish("synth hard.h5 -n 100 --hard noise=3", forks.inputs)
    yield forks
    forks.process.stdin.close()
    forks.process.wait(60)


def contents(folder: Path, command: Command) -> dict[str, object]:
    """File under its final name → a fingerprint of its content, once it has been read to the end."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    kept = [name for name in names if not name.endswith((*UNFINISHED, *command.ignored))]
    return {name: fingerprint(folder / name) for name in kept}


def fingerprint(path: Path) -> object:
    if path.suffix != ".h5":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with open_artifact(path) as artifact:
        artifact.verify()
        if artifact.schema != "sym3d.checkpoint":
            return artifact.digest
        # The log has a row wherever a run was saved, and times.
        data = {name: artifact[name][...].tobytes() for name in artifact.names if not name.startswith("log/")}
        return {name: hashlib.sha256(value).hexdigest() for name, value in data.items()} | {
            "step": artifact.attrs["step"]
        }


def left_over(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.name.endswith(UNFINISHED)]


def one_after_another(numbers: tuple[int, ...], start: float) -> list[tuple[float, int]]:
    return [(start + 0.02 * at, number) for at, number in enumerate(numbers)]


def stop_again_and_again(forks: Forks, name: str, ways: tuple[tuple[int, ...], ...], stops: int, seed: int) -> None:
    command, moments = COMMANDS[name], random.Random(seed)
    seconds, wanted = forks.whole(name)
    assert wanted
    done = tries = 0
    while done < stops:
        tries += 1
        folder = forks.folder / f"{name}-{stops}-{tries}"
        for before in range(moments.randint(1, min(IN_A_ROW, stops - done))):
            signals = one_after_another(moments.choice(ways), moments.uniform(0, seconds))
            stopped = forks.run(command.line, folder, signals)
            if ways is KILLED:
                assert stopped["code"] in (0, -signal.SIGKILL), forks.said(folder)
            elif stopped["code"] != 0:
                check_interrupted(stopped, forks.said(folder))
            done += stopped["code"] != 0
            for file, found in contents(folder, command).items():
                assert found == wanted.get(file) or file.endswith(command.on_the_way)
            if stopped["code"] == 0:
                if not before:  # a whole run, and the machine may have more time for it than for the first
                    seconds = min(seconds, stopped["seconds"])
                break
        forks.finish(command.line, folder)
        assert contents(folder, command) == wanted
        assert not left_over(folder)
    print(f"{name}: {done} stops in {tries} runs of {seconds:.2f} s, nothing lost")


def check_interrupted(stopped: dict, said: str) -> None:
    assert stopped["code"] == 130, said
    assert said.splitlines()[-1].startswith("sym3d: interrupted"), said
    assert said.count("sym3d: interrupted") == 1, said
    assert "Traceback" not in said, said


@pytest.mark.parametrize("name", ["prep", "synth", "train", "infer", "eval", "export"])
def test_a_few_kills(forks, name):
    stop_again_and_again(forks, name, KILLED, stops=2, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_hundred_kills(forks, name):
    stop_again_and_again(forks, name, KILLED, stops=100, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_asked_to_stop_at_twenty_moments(forks, name):
    stop_again_and_again(forks, name, ASKED, stops=20, seed=2)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("prep", [signal.SIGTERM]),
        ("synth", [signal.SIGINT]),
        ("infer", [signal.SIGINT, signal.SIGINT]),
        ("train", [signal.SIGTERM]),
        pytest.param("train", [signal.SIGINT, signal.SIGINT], marks=pytest.mark.slow),
    ],
)
def test_stopped_in_the_middle_it_says_so_and_resumes(forks, name, numbers):
    """Ctrl-C, a batch queue's SIGTERM, and an impatient second Ctrl-C."""
    seconds, wanted = forks.whole(name)
    for attempt in range(5):
        folder = forks.folder / f"{name}-{'-'.join(map(str, numbers))}-{attempt}"
        stopped = forks.run(COMMANDS[name].line, folder, one_after_another(numbers, seconds / 2))
        if stopped["code"]:
            break
        seconds = min(seconds / 2, stopped["seconds"])  # on a machine that is less busy by now
    check_interrupted(stopped, forks.said(folder))
    assert forks.said(folder).endswith("; run the same command again to resume\n")
    forks.finish(COMMANDS[name].line, folder)
    assert contents(folder, COMMANDS[name]) == wanted
    assert not left_over(folder)


@pytest.mark.parametrize("name", ["prep", "synth", "eval", "infer", "export"])
def test_the_same_command_gives_the_same_bytes(forks, name):
    folder = forks.folder / f"{name}-again"
    forks.finish(COMMANDS[name].line, folder)
    assert contents(folder, COMMANDS[name]) == forks.whole(name)[1]
