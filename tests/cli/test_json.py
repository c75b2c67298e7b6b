"""--json: every command has it, stdout then is one JSON document, and docs/json.md names its keys."""

import json
from pathlib import Path

import pytest

from tests.cli.test_help import ROOT, every_command

GROUPS = ("models", "recipes")
COMMANDS = [pytest.param(words, command, id=" ".join(words)) for words, command in every_command()]
HERE = Path(__file__).parents[2]


@pytest.mark.parametrize(("words", "command"), COMMANDS)
def test_every_command_prints_json_when_asked(words, command):
    if words[0] in GROUPS and len(words) == 1:
        assert command.commands
        return
    options = [option for parameter in command.params for option in parameter.opts]
    assert "--json" in options
    assert f"## sym3d {' '.join(words)}\n" in (HERE / "docs" / "json.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with photographs, faces with truth, a prediction, and the scores of a shipped model."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("json")
    (folder / "photos").mkdir()
    for index in range(2):
        Image.new("RGB", (80, 70), (index * 90, 10, 10)).save(folder / "photos" / f"{index}.png")
    return folder


TRAIN = ["-s", "optim.steps=1", "-s", "optim.batch=2", "-s", "model.width=0.07", "-s", "run.validate_images=1"]
PREDICTION, SMALL = "out/prediction.h5", ["--size", "32"]
CALLS = [  # in an order in which each finds what it needs
    ("recipes list", ["cats"]),
    ("recipes show cats", ["recipe", "text"]),
    ("recipes copy cats", ["recipe"]),
    ("recipes keys optim", ["optim.lr"]),
    ("train cats --check", ["model", "optim"]),
    ("models card synfaces", ["name", "card"]),
    ("doctor", ["facts", "advice"]),
    ("prep photos photos.h5", ["path", "count", "splits", "skipped"]),
    ("grade photos.h5", ["path", "findings"]),
    ("synth faces.h5 -n 10", ["out", "count", "drawn", "seed"]),
    ("features faces.h5 features.h5 --steps 1 --batch 4 --width 0.0625", ["out", "accuracy", "chance"]),
    (f"train tiny --data faces.h5 {' '.join(TRAIN)}", ["run_dir", "checkpoint", "metrics"]),
    ("infer runs/tiny faces.h5 --split test -o out", ["prediction", "images", "reliability", "meshes"]),
    ("eval runs/tiny faces.h5 --batch 1", ["summary", "scores", "sheet"]),
    ("export out/prediction.h5 -o out", ["meshes", "videos", "sheets"]),
    ("relight out/prediction.h5 -o out --ambient 0.5 --size 32", ["pictures", "videos", "sheet"]),
    ("edit out/prediction.h5 -o out --frontal --size 32", ["pictures", "videos", "sheet"]),
    ("report out/prediction.h5 -o out.html", ["path", "items", "size_bytes"]),
    ("info faces.h5 --verify", ["schema", "digest", "datasets", "origin"]),
]


@pytest.mark.parametrize(("line", "keys"), CALLS, ids=lambda value: value if isinstance(value, str) else "")
def test_stdout_is_one_json_document(line, keys, place, sym3d, monkeypatch):
    monkeypatch.chdir(place)
    result = sym3d(*line.split(), "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert set(keys) <= set(found)


def test_an_error_leaves_stdout_empty(refused):
    refused(3, "info", "absent.h5", "--json")


def test_the_cheap_calls_are_of_real_commands():
    assert {line.split()[0] for line, _ in CALLS} <= set(ROOT.commands)
