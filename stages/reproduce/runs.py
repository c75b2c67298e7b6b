"""Many trainings side by side, each a ``sym3d train`` of its own: one for every GPU, or for every core of a CPU."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from stages.artifact import SPLITS, open_artifact
from stages.artifact.child import own_environment, own_module
from stages.errors import DivergedError, InputError, Sym3dError
from stages.interrupt import stop_requested
from stages.io.files import hold_folder
from stages.io.threads import usable_cores
from stages.progress import Report
from stages.recipe import load_recipe
from stages.reproduce.forecast import makespan, seconds_per_step

__all__ = ["RUNS", "Job", "train_all"]

POLL = 0.5  # seconds
RUNS = Path("runs")
WORTH_MEASURING = 1000  # steps
OUT_OF_MEMORY = 8  # exit codes of the command line that no Sym3dError has:
INTERRUPTED = (130, -signal.SIGINT, -signal.SIGTERM)  # the signals, where Python had not begun to hear them


@dataclass(frozen=True)
class Job:
    """One run: its name under runs/, its recipe and data, and what differs from the recipe."""

    name: str
    recipe: str
    data: Path
    settings: tuple[str, ...]


def train_all(jobs: Sequence[Job], logs: Path, report: Report) -> set[str]:
    """Run all jobs; those that are complete see it themselves. Returns the names of those that diverged.

    A job that fails otherwise raises, with its last line, the error of its exit code, InputError where there is none;
    Ctrl-C or SIGTERM, here or there, KeyboardInterrupt. What runs then is stopped, saved, and resumes later.
    """
    waiting, diverged = list(jobs), set()
    gpus = _gpus()
    places = gpus or [None] * usable_cores()
    if announcement := _announcement(jobs, len(places), on_cpu=not gpus):
        report.note(announcement)
    running: dict[int, tuple[Job, subprocess.Popen]] = {}
    with hold_folder(logs), stop_requested() as stopping, report.task("trainings", len(jobs)) as task:
        try:
            while waiting or running:
                if stopping():
                    raise KeyboardInterrupt
                for place in range(len(places)):
                    if waiting and place not in running:
                        job = waiting.pop(0)
                        running[place] = job, _start(job, places[place], logs)
                time.sleep(POLL)
                for place, (job, process) in list(running.items()):
                    code = process.poll()
                    if code is None:
                        continue
                    del running[place]
                    if code == DivergedError.exit_code:
                        diverged.add(job.name)
                    elif code:
                        raise _failure(job, code, logs)
                    task.advance()
                task.advance(0, " | ".join(_last_line(_log(job, logs)) for job, _ in running.values()))
        finally:
            for _, process in running.values():
                process.terminate()  # SIGINT it may not hear yet, where a script started us with &
            for _, process in running.values():
                process.wait()
    return diverged


def _gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each GPU that this process may use: where it is set, not 0, 1, …"""
    count, named = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(gpu) for gpu in range(count)]


def _failure(job: Job, code: int, logs: Path) -> BaseException:
    if code in INTERRUPTED:  # batch queues mean every process of a job, and some are quicker than we are
        return KeyboardInterrupt()
    if code == OUT_OF_MEMORY:
        return MemoryError()
    log = _log(job, logs)
    ended = f"was ended by signal {-code}" if code < 0 else "failed"
    kinds = {kind.exit_code: kind for kind in Sym3dError.__subclasses__()}
    fix = f"see {log}, then run the same command again"
    return kinds.get(code, InputError)(job.name, f"its training {ended} ({_last_line(log)})", fix)


def _announcement(jobs: Sequence[Job], places: int, on_cpu: bool) -> str:
    """How many trainings there are to do, if any, and about how long they take where a few steps tell."""
    left = [(job, steps) for job in jobs if (steps := _steps_left(job))]
    if not left:
        return ""
    text = f"{len(left)} of {len(jobs)} trainings to do, {places} at a time"
    if not on_cpu or sum(steps for _, steps in left) < WORTH_MEASURING:
        return text
    paces: dict[tuple[str, ...], float] = {}  # seeds of a row take as long as each other
    seconds = []
    for job, steps in left:
        kind = tuple(setting for setting in job.settings if not setting.startswith("run.seed="))
        if kind not in paces:
            paces[kind] = seconds_per_step(load_recipe(job.recipe, job.settings))
        seconds.append(steps * paces[kind])
    return f"{text}: about {makespan(seconds, places) / 60:.0f} minutes, if the cores stay as free as they are"


def _steps_left(job: Job) -> int:
    recipe, checkpoint = load_recipe(job.recipe, job.settings), RUNS / job.name / "checkpoint.h5"
    done = 0
    if checkpoint.exists():
        with open_artifact(checkpoint, "sym3d.checkpoint") as artifact:
            done = int(artifact.attrs["step"])
    if recipe.optim.steps:
        return max(0, recipe.optim.steps - done)
    with open_artifact(job.data, "sym3d.images") as images:
        count = int((images["split"][:] == SPLITS["train"]).sum())
    return max(0, recipe.optim.epochs * (count // recipe.optim.batch) - done)


def _start(job: Job, gpu: str | None, logs: Path) -> subprocess.Popen:
    # Runs of narrow networks gain little from a second thread, and a second run gains all of it.
    where = {"OMP_NUM_THREADS": "1"} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
    settings = [flag for setting in job.settings for flag in ("-s", setting)]
    with open(_log(job, logs), "w") as log:
        return subprocess.Popen(
            own_module("sym3d_cli", "train", job.recipe, "--data", str(job.data), "--name", job.name, *settings),
            stdout=log,
            stderr=log,
            env=own_environment() | where,
            start_new_session=True,  # a terminal's Ctrl-C is for us, who pass it on
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )


def _die_with_parent() -> None:
    """In a training that starts: left alone by a kill, it would keep its folder from whoever runs the table again."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _log(job: Job, logs: Path) -> Path:
    return logs / f"{job.name}.log"


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].removeprefix("sym3d: error: ") if lines else "starting"
