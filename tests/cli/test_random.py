"""Any arguments to any command: one line or a result, a documented exit code, nothing outside the folder."""

import os
import shutil
from http.server import ThreadingHTTPServer

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sym3d_cli.app import EXIT_CODES, app
from sym3d_cli.console import Reporter
from tests.pages.small_files import write_prediction
from tests.stages.small import write_checkpoint, write_data

FILES = ("images.h5", "prediction.h5", "checkpoint.h5", "photo.png", "recipe.toml", "photos", "bad.h5", "broken.zip")
VALUES = (
    *FILES,
    *("new.h5", "new.png", "new", "out/new.h5", ".", "", " ", "-", "--", "nowhere.h5", "/nowhere/a.h5", "/dev/null"),
    *(
        "0",
        "1",
        "2",
        "64",
        "-1",
        "1e999",
        "nan",
        "9" * 30,
        "0.5",
        "1,2",
        "1,2,x",
        "auto",
        "cpu",
        "cuda",
        "face",
        "none",
    ),
    *(
        "tiny",
        "cats",
        "synfaces",
        "obj",
        "glb,stl",
        "side,mad",
        "optim.steps=1",
        "optim.lr=nan",
        "a=b=c",
        "pose=4",
    ),
    *(
        "\x1b[31mred",
        "two\nlines",
        "\u202e",
        "caf\udce9.png",
        "x" * 300,
        "猫",
        "<img src=x onerror=alert(1)>",
        "%s%n",
        "\\",
    ),
)


def commands():
    for name, command in typer.main.get_command(app).commands.items():
        yield from ([(name, inner), c] for inner, c in getattr(command, "commands", {(): command}).items())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Sound, broken and foreign files to name."""
    folder = tmp_path_factory.mktemp("files")
    write_data(folder / "images.h5")
    write_prediction(folder / "prediction.h5", ["a", "b"])
    write_checkpoint(folder / "checkpoint.h5")
    (folder / "photos").mkdir()
    for path in (folder / "photo.png", folder / "photos" / "a.png"):
        Image.effect_noise((80, 70), 50).save(path)
    (folder / "recipe.toml").write_text(
        'name = "mine"\ndata = {images = "images.h5", make = "-"}\noptim = {steps = 2}\n'
    )
    (folder / "bad.h5").write_bytes((folder / "images.h5").read_bytes()[:3000])
    (folder / "broken.zip").write_bytes(b"PK\3\4" + bytes(100))
    return folder


@st.composite
def lines(draw):
    """A command with all that it requires and some of its options, each with any value."""
    words, command = draw(st.sampled_from(sorted(commands(), key=str)))
    line = [word for word in words if word]
    value = st.sampled_from(VALUES) | st.text(st.characters(exclude_characters="\0./~"), max_size=8)
    likely, more = st.sampled_from([*FILES, "new.h5"]) | value, st.lists(st.sampled_from(command.params), max_size=3)
    for parameter in [p for p in command.params if p.required] + draw(more):
        if parameter.param_type_name == "option":
            line.append(draw(st.sampled_from(parameter.opts)))
        if not getattr(parameter, "is_flag", False):
            line.append(draw(likely))
    return (
        draw(st.sampled_from([[], [], ["-q"], ["-v"], ["--bogus"]]))
        + line
        + draw(st.sampled_from([[], [], [], ["images.h5"], ["--", "-x"]]))
    )


class Enough(Reporter):
    """Looking at files goes on; whatever work comes after it is interrupted as Ctrl-C would."""

    def task(self, title, total, done=0):
        if title.split()[0] not in ("checking", "verifying", "reading"):
            raise KeyboardInterrupt
        return super().task(title, total, done)


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("examples", [25, pytest.param(3000, marks=pytest.mark.slow)])
def test_any_arguments_end_in_a_result_or_one_line(examples, files, sym3d, tmp_path, monkeypatch):
    monkeypatch.setattr("sym3d_cli.app.Reporter", Enough)
    monkeypatch.setattr(ThreadingHTTPServer, "handle_request", interrupt)
    for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))

    @settings(max_examples=examples, database=None, suppress_health_check=list(HealthCheck))
    @given(lines())
    def check(line):
        shutil.rmtree(tmp_path / "here", ignore_errors=True)
        shutil.copytree(files, tmp_path / "here")
        os.chdir(tmp_path / "here")
        done = sym3d(*line)
        errors = [text for text in done.stderr.splitlines() if text.startswith("sym3d: error: ")]
        assert done.exit_code in EXIT_CODES
        assert done.exit_code != 1, done.stderr
        assert "Traceback" not in done.stderr
        assert len(errors) == (done.exit_code not in (0, 130)), done.stderr
        assert (done.stdout == "") or not errors
        assert not {"\x1b", "\u202e"} & {*done.stdout, *done.stderr}
        assert {path.name for path in tmp_path.iterdir()} <= {"here", "tmpdir"}

    check()
