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
from stages.artifact import open_artifact
from stages.errors import InputError, UsageError
from stages.recipe import load_recipe
from stages.reproduce import TABLES, ReproduceRequest, run
from stages.reproduce.report import DepthLine, Spread
from stages.reproduce.tables import LEARNED, Row, scale
from tests.stages.small import write_data
from tests.stages.test_train import write_images

ROOT = Path(__file__).parents[2]


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
    for row in TABLES[table]:
        learned = ("loss.features_path=f.h5",) if LEARNED in row.settings else ()
        changed = load_recipe(size.recipe, (*size.settings, *row.settings, *learned))
        if row.training in ("full", None):
            assert changed == full
        elif row.quick or not quick:
            assert changed != full


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
    rows = json.loads((here / "results/baselines-quick.json").read_text())["rows"]
    assert rows[0]["side"]["mean"] == result.lines[0].side.mean

    runs = sorted((here / "runs").glob("*/*.h5"))
    before = [path.stat().st_mtime_ns for path in runs]
    assert run(request).lines == result.lines
    assert [path.stat().st_mtime_ns for path in runs] == before, "what was complete was done again"


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
    with pytest.raises(InputError, match=r"quick-\w+-broken-0: its training failed \(.*64 pixels.*see results/logs"):
        run(ReproduceRequest("baselines", Path("faces.h5"), quick=True, steps=1))


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
    with pytest.raises(UsageError, match="perturb --quick: its effects do not show"):
        run(ReproduceRequest("perturb", Path("faces.h5"), Path("faces.h5"), quick=True))
    with pytest.raises(InputError, match="has no true depth"):
        run(ReproduceRequest("baselines", Path("photos.h5")))


def test_a_diverged_seed_is_counted_and_a_hollow_one_too():
    figures = {"side": [0.01, 0.03], "mad": [10.0, 20], "relief": [-0.5, -0.1], "seconds": 3}
    scores = {"a": {key: np.array(values) for key, values in figures.items()}}
    line = stages.reproduce._line(Row("x", (1, 1, 1, 1), "x"), ["a", "b"], scores)
    assert line == DepthLine("x", (1, 1, 1, 1), 2, Spread(2.0, 1.0, 0.0), Spread(15.0, 5.0, 0.0), 1, 1, 3.0)
    assert line.cells()[-1] == "2, 1 hollow, 1 diverged"
    assert stages.reproduce._line(Row("x", (1, 1, 1, 1), "x"), ["b"], scores).cells()[1] == "none finished"
