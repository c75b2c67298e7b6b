"""Tables: rows share their runs, what is complete is not done again, and what fails is said."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import stages.reproduce
import stages.reproduce.forecast as forecast
import stages.reproduce.runs as runs
from stages.artifact import open_artifact
from stages.errors import InputError, OutputError, StaleError, UsageError
from stages.evaluate import EvaluateRequest
from stages.evaluate import run as evaluate
from stages.io.threads import usable_cores
from stages.progress import Silent
from stages.recipe import load_recipe
from stages.reproduce import BASELINES, TABLES, ReproduceRequest, run
from stages.reproduce.forecast import makespan, seconds_per_step
from stages.reproduce.remarks import Compared, order, ratio
from stages.reproduce.report import DepthLine, Spread
from stages.reproduce.runs import Job
from stages.reproduce.tables import LEARNED, Row, rows_of, scale
from tests.stages.small import train_here, write_checkpoint, write_data
from tests.stages.test_train import write_images

ROOT = Path(__file__).parents[2]
TIMES = (b"- training: ", b'"training": ', b'"seconds": ')


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    write_data(tmp_path / "faces.h5", count=20)
    return tmp_path


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("table", TABLES)
def test_every_row_is_a_valid_recipe(table, quick):
    size = scale(quick, None)
    full = load_recipe(size.recipe, size.settings)
    for row in rows_of(table, quick):
        learned = ("loss.features_path=f.h5",) if LEARNED in row.settings else ()
        changed = load_recipe(size.recipe, (*size.settings, *row.settings, *learned))
        assert (changed == full) == (row.training in ("full", None))


def test_a_table_of_tiny_runs(here):
    request = ReproduceRequest("baselines", Path("faces.h5"), quick=True, steps=2)
    result = run(request)
    labels = [line.label for line in result.lines]
    assert labels == ["supervised", "null-depth", "average-depth", "unsupervised"]
    assert [line.seeds for line in result.lines] == [1, 0, 0, 1]
    assert all(line.side.mean > 0 and line.mad.mean > 0 for line in result.lines)
    assert result.lines[2].side.mean < result.lines[1].side.mean
    assert [path.name for path in result.files] == [f"baselines-quick.{end}" for end in ("md", "png", "json")]
    text = (here / "results/baselines-quick.md").read_text()
    assert "| supervised |" in text
    assert "0.41 ± 0.10" in text
    assert "small, 2 steps of 8" in text
    assert "Rows in the paper's order by SIDE: " in text
    assert '"unsupervised" / "supervised": SIDE' in text
    assert "(paper 1.93), MAD" in text
    kept = json.loads((here / "results/baselines-quick.json").read_text())
    assert kept["rows"][0]["side"]["mean"] == result.lines[0].side.mean
    assert kept["remarks"] == list(result.remarks)

    runs = sorted((here / "runs").glob("*/*.h5"))
    before = [path.stat().st_mtime_ns for path in runs]
    assert run(request).lines == result.lines
    assert [path.stat().st_mtime_ns for path in runs] == before, "what was complete was done again"


@pytest.mark.slow
def test_a_table_made_again_says_the_same(here, monkeypatch):
    """But for how long it took."""
    monkeypatch.setattr(stages.reproduce, "train_all", train_here)
    found = []
    for folder in (here / "one", here / "two"):
        folder.mkdir()
        monkeypatch.chdir(folder)
        result = run(ReproduceRequest("baselines", here / "faces.h5", quick=True, steps=2))
        assert [path.suffix for path in result.files] == [".md", ".png", ".json"]
        texts = [path.read_bytes().splitlines() for path in result.files]
        found.append([[line for line in text if not any(key in line for key in TIMES)] for text in texts])
    assert found[0] == found[1]


def test_scores_that_eval_left_in_a_run_are_not_a_tables(here, monkeypatch):
    monkeypatch.setattr(stages.reproduce, "train_all", train_here)
    request = ReproduceRequest("baselines", Path("faces.h5"), quick=True, steps=1)
    first, other = run(request), write_data(here / "other.h5", count=20, seed=1)
    for name in here.glob("runs/*"):
        evaluate(EvaluateRequest(name, here / "faces.h5", split="val", baselines=BASELINES))
    assert run(request).lines == first.lines
    for name in here.glob("runs/*"):
        evaluate(EvaluateRequest(name, other, metrics=("side", "mad", "relief"), baselines=BASELINES))
    assert run(request).lines == first.lines


def test_tables_do_not_mix_runs_of_different_lengths(here, monkeypatch):
    """A run that another table had trained for longer stood beside shorter ones, under the number of its own steps."""
    monkeypatch.setattr(stages.reproduce, "train_all", train_here)
    for steps in (2, 1):
        files = run(ReproduceRequest("baselines", Path("faces.h5"), quick=True, steps=steps)).files
        assert json.loads(files[2].read_text())["recipe"] == f"small, {steps} steps of 4"
    found = {}
    for path in here.glob("runs/*/checkpoint.h5"):
        with open_artifact(path) as checkpoint:
            found[path.parent.name] = checkpoint.attrs["step"]
    assert sorted(found.values()) == [1, 1, 2, 2]
    assert all(name.startswith(f"quick-{steps}-") for name, steps in found.items())


def test_a_small_table_of_perturbed_images_has_confidence_maps_in_two_rows(here, monkeypatch):
    monkeypatch.setattr(stages.reproduce, "train_all", train_here)
    write_data(here / "perturbed.h5", count=20, seed=1)
    result = run(ReproduceRequest("perturb", Path("faces.h5"), Path("perturbed.h5"), quick=True, steps=1))
    confident = {}
    for path in here.glob("runs/*/checkpoint.h5"):
        with open_artifact(path) as checkpoint:
            confident[path.parent.name] = "confidence = true" in checkpoint.provenance["recipe"]
    assert sorted(confident.values()) == [False, False, True, True]
    assert all(("confidence" in name) == sure for name, sure in confident.items())
    assert result.files[-1].name == "perturb-quick-confidence.png"
    assert [line.paper for line in result.lines] == [row.paper for row in TABLES["perturb"]]


def test_order_and_ratios_are_compared_with_the_papers():
    rows = [Compared("a", 1.0, 0.8), Compared("b", 3.0, 1.0), Compared("c", 2.0, 2.0), Compared("d", None, 1.5)]
    assert order("SIDE", rows) == """Rows in the paper's order by SIDE: no, exchanged are "b" and "c"."""
    assert order("SIDE", [rows[0], rows[2], Compared("e", 0.5, None)]) == "Rows in the paper's order by SIDE: yes."
    nothing = "Rows in the paper's order by SIDE: nothing to compare."
    for few in (
        [],
        rows[:1],
        rows[2:],
        [rows[0], Compared("f", float("nan"), 2.0)],
        [rows[0], Compared("g", 2.0, 0.8)],
    ):
        assert order("SIDE", few) == nothing
    assert ratio("f", "a", {"SIDE": [rows[0], Compared("f", float("nan"), 2.0)]}) is None
    assert (
        ratio("c", "a", {"SIDE": rows, "MAD": rows[:3]}) == '"c" / "a": SIDE 2.00 (paper 2.50), MAD 2.00 (paper 2.50).'
    )
    assert ratio("d", "a", {"SIDE": rows}) is None
    assert ratio("c", "left out", {"SIDE": rows}) is None


def test_the_time_that_trainings_take_is_foreseen(here, monkeypatch):
    monkeypatch.setattr(runs, "seconds_per_step", lambda recipe: 0.12 if recipe.loss.supervised else 0.06)
    settings = {"a": "optim.steps=1000", "b": "optim.steps=2000", "c": "optim.steps=1000"}
    jobs = [Job(name, "small", Path("faces.h5"), (steps, "run.seed=1")) for name, steps in settings.items()]
    told = runs._announcement(jobs, 2, on_cpu=True)
    assert told.startswith("3 of 3 trainings to do, 2 at a time: about 2 minutes")
    assert runs._announcement(jobs, 1, on_cpu=True).startswith("3 of 3 trainings to do, 1 at a time: about 4 minutes")
    assert runs._announcement(jobs, 1, on_cpu=False) == "3 of 3 trainings to do, 1 at a time"
    write_checkpoint(here / "runs/a/checkpoint.h5")
    with open_artifact(here / "runs/a/checkpoint.h5") as checkpoint:
        assert runs._steps_left(jobs[0]) == 1000 - checkpoint.attrs["step"]
    assert makespan([3.0, 1, 1, 2], 2) == 4
    monkeypatch.setattr(forecast, "TIMED", 1)
    narrow = ("model.width=0.0625", "optim.batch=2", "model.size=64")
    imitating = ("optim.imitate_steps=300", "optim.search_steps=0", "optim.init=there-is-none")
    for settings in (narrow, narrow + imitating):
        assert seconds_per_step(load_recipe("small", settings)) > 0


def test_systems_that_do_not_tell_a_process_its_cores(here, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert usable_cores() == 3
    assert runs.train_all([], Path("logs"), Silent()) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_interrupted_trainings_are_saved_and_resumed(number, here):
    command = [sys.executable, "-m", "sym3d_cli", "reproduce", "baselines", "faces.h5", "--quick", "--steps"]
    process = subprocess.Popen([*command, "600"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not any("/600" in log.read_text() for log in here.glob("results/logs/*full*.log")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again to resume" in err
    log = next(here.glob("results/logs/*full*.log")).read_text()
    assert "saved at step" in log


def test_a_training_that_fails_is_named_with_its_reason(here, monkeypatch):
    row = Row("broken", (1, 1, 1, 1), "broken", ("model.size=128",))
    monkeypatch.setitem(stages.reproduce.TABLES, "baselines", (row,))
    with pytest.raises(InputError, match=r"quick-1-\w+-broken-0: its training failed \(.*64 pixels.*see results/logs"):
        run(ReproduceRequest("baselines", Path("faces.h5"), quick=True, steps=1))


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (
            4,
            StaleError,
            r"a: its training failed \(disk: no room; make some\); see .*a\.log, then run the same command",
        ),
        (6, OutputError, "its training failed"),
        (-9, InputError, "its training was ended by signal 9"),
        (8, MemoryError, None),
        (130, KeyboardInterrupt, None),  # somebody stopped it, not us
        (-15, KeyboardInterrupt, None),  # before it could hear that
    ],
)
def test_the_error_of_a_training_is_ours(here, monkeypatch, code, error, message):
    def start(job, gpu, logs):
        (logs / "a.log").write_text("sym3d: error: disk: no room; make some\n")
        return subprocess.Popen(["sh", "-c", f"exit {code}" if code > 0 else f"kill {code} $$"])

    monkeypatch.setattr(runs, "_start", start)
    with pytest.raises(error, match=message):
        runs.train_all([Job("a", "small", Path("faces.h5"), ("optim.steps=1",))], here / "logs", Silent())


def test_trainings_run_on_the_gpus_that_are_ours(here, monkeypatch):
    started = []

    def start(job, gpu, logs):
        started.append(gpu)
        (logs / f"{job.name}.log").touch()
        return subprocess.Popen(["true"])

    monkeypatch.setattr(runs, "_start", start)
    monkeypatch.setattr(runs.torch.cuda, "device_count", lambda: 2)
    jobs = [Job(name, "small", Path("faces.h5"), ("optim.steps=1",)) for name in "ab"]
    for visible, expected in (("3,GPU-5c", ["3", "GPU-5c"]), (None, ["0", "1"])):
        started.clear()
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible) if visible else monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        runs.train_all(jobs, here / "logs", Silent())
        assert started == expected


def test_a_training_that_does_not_hear_ctrl_c_is_stopped(here, monkeypatch):
    """While it loads, where a script started us with &."""
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    started = []

    def start(job, gpu, logs):
        if started:
            assert started[0].stdout.readline()
            raise KeyboardInterrupt
        started.append(subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE))
        return started[0]

    monkeypatch.setattr(runs, "_start", start)
    jobs = [Job(name, "small", Path("faces.h5"), ("optim.steps=1",)) for name in "ab"]
    with pytest.raises(KeyboardInterrupt):
        runs.train_all(jobs, here / "logs", Silent())
    assert started[0].returncode == -signal.SIGTERM


def test_features_are_learned_before_the_runs_that_need_them(here, monkeypatch):
    row = Row("self-supervised", (1, 1, 1, 1), "self", (LEARNED, "optim.batch=2"))
    monkeypatch.setitem(stages.reproduce.TABLES, "baselines", (row,))
    monkeypatch.setattr(stages.reproduce, "FEATURES", (1 / 16, 1, 4))
    result = run(ReproduceRequest("baselines", Path("faces.h5"), quick=True, steps=1))
    assert result.lines[0].side.mean > 0
    with open_artifact(next(here.glob("runs/*-self-0/checkpoint.h5"))) as checkpoint:
        assert checkpoint.provenance["parents"][1]["name"].endswith("-features.h5")


def test_what_makes_no_sense_is_refused(here):
    with pytest.raises(UsageError, match="nothing: there is no such table; choose from baselines, ablations, perturb"):
        run(ReproduceRequest("nothing", Path("faces.h5")))
    write_images(here / "photos.h5", truth=False)
    with pytest.raises(UsageError, match="--perturbed: this table needs perturbed images as well"):
        run(ReproduceRequest("perturb", Path("faces.h5")))
    with pytest.raises(UsageError, match=r"holds what faces.h5 does; make the same images with --perturb"):
        run(ReproduceRequest("perturb", Path("faces.h5"), Path("faces.h5"), quick=True))
    with pytest.raises(InputError, match="has no true depth"):
        run(ReproduceRequest("baselines", Path("photos.h5")))


def test_a_diverged_seed_is_counted_and_a_hollow_one_too():
    figures = {"side": [0.01, 0.03], "mad": [10.0, 20], "relief": [-0.5, -0.1], "seconds": 3}
    scores = {"a": {key: np.array(values) for key, values in figures.items()}}
    line = stages.reproduce._line(Row("x", (1, 1, 1, 1), "x"), ["a", "b"], scores)
    assert line == DepthLine("x", (1, 1, 1, 1), 2, Spread(2.0, 1.0, 0.0), Spread(15.0, 5.0, 0.0), 1, 1, 3.0)
    assert line.cells()[-2] == "2, 1 hollow, 1 diverged"
    assert stages.reproduce._line(Row("x", (1, 1, 1, 1), "x"), ["b"], scores).cells()[1] == "none finished"
