"""Help: every command has some, with an example that parses, and it is quick."""

import ast
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from sym3d_cli.app import EXIT_CODES, app

ROOT = typer.main.get_command(app)
COMMANDS = [
    *("prep", "synth", "features", "train", "infer", "eval", "export", "import", "info"),
    *("recipes", "reproduce", "rerun", "bench", "doctor", "models", "composite", "report", "view", "relight"),
    *("edit", "grade"),
]
HERE = Path(__file__).parents[2]


def every_command():
    """(words, command) of all commands and of what is below them."""
    for name, command in ROOT.commands.items():
        yield (name,), command
        for inner_name, inner in getattr(command, "commands", {}).items():
            yield (name, inner_name), inner


def test_the_commands_of_the_card_are_there():
    assert set(ROOT.commands) == set(COMMANDS)


@pytest.mark.parametrize(("words", "command"), list(every_command()), ids=lambda value: str(value))
def test_every_command_has_help_with_an_example(words, command, sym3d):
    shown = sym3d(*words, "--help")
    assert shown.exit_code == 0
    assert shown.stderr == ""
    assert "Examples:" in shown.stdout
    assert f"$ sym3d {' '.join(words)}" in shown.stdout
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{words}: {parameter.name} is not explained"


def examples():
    for words, command in every_command():
        for line in command.epilog.split("\n\n")[1:]:
            yield pytest.param(words, line.strip().removeprefix("$ sym3d "), id=line.strip())


@pytest.mark.parametrize(("words", "line"), list(examples()))
def test_every_example_parses(words, line):
    """Typer accepts its arguments; nothing is run."""
    arguments = shlex.split(line)
    command = ROOT
    while arguments and arguments[0] in getattr(command, "commands", {}):
        command = command.commands[arguments.pop(0)]
    command.make_context("sym3d", arguments)


def test_sym3d_alone_shows_its_help(sym3d):
    assert sym3d().stdout.strip() == sym3d("--help").stdout.strip()
    assert sym3d().exit_code == 0


def test_version(sym3d):
    result = sym3d("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("sym3d ")


@pytest.mark.parametrize("line", ["--help", "train --help", "recipes list", "train cats --check", "--version"])
def test_what_needs_no_torch_does_not_import_it(line, tmp_path):
    code = (
        "import sys\nfrom sym3d_cli.app import app\n"
        f"try: app({line.split()!r}, prog_name='sym3d')\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'h5py', 'numba', 'kornia', 'cv2', 'click'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_features_takes_as_many_steps_as_the_stage_says():
    from stages.features import FeaturesRequest

    shown = {parameter.name: parameter.default for parameter in ROOT.commands["features"].params}
    request = FeaturesRequest("images.h5", "out.h5")
    assert (shown["width"], shown["steps"], shown["batch"]) == (request.width, request.steps, request.batch)


def test_a_command_is_one_short_file():
    for path in (HERE / "sym3d_cli" / "commands").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 100, path
        names = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
            + ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [])
        }
        assert not names & {"torch", "h5py", "numpy", "click"}, path


def test_the_reference_is_fresh():
    namespace = {"__file__": str(HERE / "scripts" / "make_cli_docs.py"), "__name__": "make_cli_docs"}
    exec(compile((HERE / "scripts" / "make_cli_docs.py").read_text(), "make_cli_docs.py", "exec"), namespace)
    for name, page in namespace["PAGES"].items():
        assert (HERE / "docs" / name).read_text(encoding="utf-8") == page(), f"run scripts/make_cli_docs.py ({name})"


def test_the_reference_names_every_command_and_exit_code():
    text = (HERE / "docs" / "cli.md").read_text(encoding="utf-8")
    assert all(f"## sym3d {name}\n" in text for name in COMMANDS)
    assert all(f"| {code} | " in text for code in EXIT_CODES)
