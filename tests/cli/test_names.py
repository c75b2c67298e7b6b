"""What no output may replace, and files that nobody may read."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.test_outputs import write_prediction
from tests.stages.small import write_checkpoint, write_data

FEW = ["--steps", "2", "--batch", "2", "--width", "0.0625"]
COMMANDS = {
    "prep": lambda out: ["photos", out, "--crop", "none", "--overwrite"],
    "synth": lambda out: [out, "-n", "2", "--overwrite"],
    "features": lambda out: ["data.h5", out, *FEW, "--overwrite"],
    "eval": lambda out: ["model.h5", "data.h5", "-o", out, "--overwrite"],
    "composite": lambda out: ["prediction.h5", "photos/one.png", "-o", out, "--ambient", "1"],
    "report": lambda out: ["prediction.h5", "-o", out],
    "recipes": lambda out: ["copy", "tiny", out, "--overwrite"],
}


def write_inputs(folder: Path) -> Path:
    """data.h5, model.h5, photos/one.png and its prediction.h5."""
    write_data(folder / "data.h5")
    write_checkpoint(folder / "model.h5")
    (folder / "photos").mkdir()
    Image.effect_noise((70, 70), 50).convert("RGB").save(folder / "photos" / "one.png")
    write_prediction(folder / "prediction.h5", folder / "photos" / "one.png")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("made"))


@pytest.fixture
def here(made, tmp_path) -> Path:
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "other"
        for path in folder.rglob("*")
    }


@pytest.fixture
def refusal(sym3d):
    """The last line of a command that must fail; notes may come before it."""

    def call(code: int, *arguments: str) -> str:
        result = sym3d(*arguments)
        assert (result.exit_code, result.stdout) == (code, ""), result.stderr
        return result.stderr.splitlines()[-1]

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_no_output_replaces_a_folder_a_pipe_or_what_stdout_is(command, here, refusal):
    os.mkfifo(here / "pipe")
    (here / "stdout").symlink_to("/proc/self/fd/1")
    before = contents(here)
    for out, reason in ((".", "is a folder"), ("photos", "is a folder"), ("pipe", "is no regular file")):
        assert reason in refusal(6, command, *COMMANDS[command](out))
    assert "is no regular file" in refusal(6, command, *COMMANDS[command]("stdout"))
    assert contents(here) == before


@pytest.mark.parametrize(
    ("command", "out"),
    [
        ("features", "data.h5"),
        ("eval", "data.h5"),
        ("eval", "model.h5"),
        ("composite", "prediction.h5"),
        ("composite", "photos/one.png"),
        ("report", "prediction.h5"),
    ],
)
def test_no_output_replaces_what_it_is_made_from(command, out, here, refusal):
    before = contents(here)
    assert f"{out}: is what is to be read; name another output" in refusal(2, command, *COMMANDS[command](out))
    assert contents(here) == before


def test_meshes_do_not_replace_the_photographs_they_are_put_beside(here, sym3d):
    before = contents(here)
    for _ in range(2):  # nor when they are made again
        done = sym3d("export", "prediction.h5", "-o", "photos", "--row", "0")
        assert done.exit_code == 0, done.stderr
        after = contents(here)
        assert {name: after[name] for name in before} == before
        assert len([name for name in after if name.startswith("photos/one-")]) == 3  # obj, mtl, png
    assert "files called one are not of this prediction" in done.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_is_bad_input(here, refusal):
    (here / "data.h5").chmod(0)
    assert "data.h5: cannot be read (permission denied)" in refusal(3, "grade", "data.h5")


@pytest.mark.parametrize("command", ["synth", "features"])
@pytest.mark.parametrize("length", [239, 247])  # the names of what is beside it until it is whole are longer
def test_an_output_whose_name_is_too_long_is_refused_before_the_work(command, length, here, refusal):
    before = contents(here)
    out = "y" * length
    line = refusal(6, command, *COMMANDS[command](out))
    assert out in line
    assert "(File name too long)" in line
    assert contents(here) == before


def test_an_input_whose_name_is_too_long_is_not_mistaken_for_the_output(here, refusal):
    assert refusal(3, "synth", "data.h5", "--morphable", "x" * 300).startswith("sym3d: error: " + "x" * 300)


def test_more_images_than_anybody_draws(refusal, here):
    for count in (10**9 + 1, 2**63):
        assert "count: " in refusal(2, "synth", "out.h5", "-n", count)
    assert "are free" in refusal(6, "synth", "out.h5", "-n", 10**9)
