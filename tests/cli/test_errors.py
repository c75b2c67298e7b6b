"""Every error is one line on stderr, nothing on stdout, and the documented exit code."""

import errno
import os
import signal
import subprocess
import sys

import pytest
from PIL import Image

from stages import errors
from sym3d_cli.app import EXIT_CODES, explain

SYM3D = [sys.executable, "-m", "sym3d_cli"]


def test_every_error_class_has_a_documented_exit_code():
    for name in errors.__all__:
        assert getattr(errors, name).exit_code in EXIT_CODES


# Usage: Typer's own complaints


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["trian"], "no such command 'trian'. Did you mean 'train'"),
        (["--bogus"], "no such option: --bogus"),
        (["train"], "train: missing argument"),
        (["train", "cats", "--epochs", "3"], "train: no such option: --epochs"),
        (["train", "cats", "extra"], "train: got unexpected extra argument"),
        (["prep", "photos"], "prep: missing argument"),
        (["prep", "a", "b.h5", "--size", "big"], "prep: invalid value for '--size'"),
        (["prep", "a", "b.h5", "--workers", "0"], "prep: invalid value for '--workers'"),
        (["synth"], "synth: missing argument"),
        (["synth", "a.h5", "-n", "0"], "synth: invalid value for '-n'"),
        (["features", "images.h5"], "features: missing argument"),
        (["features", "a.h5", "b.h5", "--steps", "0"], "features: invalid value for '--steps'"),
        (["infer", "ckpt"], "infer: missing argument"),
        (["infer", "ckpt", "a.png", "--pose", "up"], "infer: invalid value for '--pose'"),
        (["export", "p.h5"], "export: missing option '-o'"),
        (["import", "a.pth"], "import: missing argument"),
        (["info"], "info: missing argument"),
        (["recipes", "bogus"], "recipes: no such command 'bogus'"),
        (["doctor", "--bogus"], "doctor: no such option"),
        (["eval", "--bogus"], "eval: no such option"),
    ],
)
def test_usage(arguments, part, refused):
    line = refused(2, *arguments)
    assert part in line
    assert "; see sym3d" in line


def test_hostile_names_stay_on_one_line(refused):
    line = refused(3, "train", "a\nsym3d: error: b\x1b[31m\u202e.toml")
    assert "\\n" in line
    assert "\x1b" not in line
    assert "\u202e" not in line


# Bad input, command by command


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["prep", "nowhere", "out.h5"], "nowhere"),
        (["train", "nowhere.toml"], "nowhere.toml: no such recipe"),
        (["train", "cats"], "data/cats.h5: the images of recipe cats are not there; make them: sym3d prep"),
        (["train", "tiny", "--data", "nowhere.h5"], "nowhere.h5"),
        (["features", "nowhere.h5", "out.h5"], "nowhere.h5"),
        (["infer", "nowhere.h5", "photo.png"], "nowhere.h5"),
        (["eval", "nowhere.h5"], "nowhere.h5"),
        (["eval"], "runs"),
        (["export", "nowhere.h5", "-o", "out"], "nowhere.h5"),
        (["composite", "nowhere.h5", "a.png", "-o", "out.png", "--yaw", "9"], "nowhere.h5"),
        (["import", "nowhere.pth", "out.h5"], "nowhere.pth"),
        (["info", "nowhere.h5"], "nowhere.h5"),
        (["recipes", "show", "nowhere"], "nowhere: no such recipe"),
        (["recipes", "copy", "nowhere"], "nowhere: no such recipe"),
    ],
)
def test_missing_input(arguments, part, refused, tmp_path):
    assert part in refused(3, *arguments)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "content", [b"", b"not an artifact", b"\x89HDF\r\n\x1a\n" + b"\0" * 100], ids=["empty", "text", "cut"]
)
@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "tiny", "--data", "bad.h5"],
        ["features", "bad.h5", "out.h5"],
        ["infer", "bad.h5", "bad.h5"],
        ["eval", "bad.h5", "bad.h5"],
        ["export", "bad.h5", "-o", "out"],
        ["import", "bad.h5", "out.h5"],
        ["info", "bad.h5"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_damaged_input(arguments, content, refused, tmp_path):
    (tmp_path / "bad.h5").write_bytes(content)
    assert "bad.h5" in refused(3, *arguments)
    assert (tmp_path / "bad.h5").read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["train", "cats", "-s", "model.widht=2"], "model.widht: no such key, did you mean model.width?"),
        (["train", "cats", "-s", "lr"], "is not key=value"),
        (["train", "cats", "--check", "-s", "optim.lr=-1"], "optim.lr: should be greater than 0"),
        (["prep", ".", "out.h5", "--size", "65"], "65"),
        (["prep", ".", "out.h5", "--crop", "dog"], "dog"),
        (["synth", "out.h5", "-n", "2", "--size", "65"], "65"),
        (["synth", "out.h5", "-n", "2", "--device", "quantum"], "quantum"),
        (["features", "a.h5", "out.h5", "--width", "nan"], "--width: nan is out of range"),
        (["train", "cats", "--check", "-s", "loss.features=self"], "a file that `sym3d features DATA OUT` makes"),
        (["infer", "ckpt.h5", "a.png", "--export", "dxf"], "dxf"),
        (["infer", "ckpt.h5", "a.png", "--crop", "dog"], "dog"),
        (["infer", "ckpt.h5", "a.png", "--crop", "cat:9"], "'cat:9' is out of range"),
        (["export", "p.h5", "-o", "out", "--format", "dxf"], "dxf"),
        (["export", "p.h5", "-o", "out", "--texture", "photo"], "--texture photo --photos FOLDER"),
        (["composite", "p.h5", "a.png", "-o", "out.png"], "add --light X,Y or --yaw DEGREES"),
        (["composite", "p.h5", "a.png", "-o", "out.png", "--light", "up"], "--light up: is no place for a lamp"),
        (["eval", "--metric", "beauty"], "beauty"),
        (["eval", "--baseline", "beauty"], "beauty"),
    ],
)
def test_impossible_wishes(arguments, part, refused):
    assert part in refused(2, *arguments)


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "a b"])
def test_a_run_cannot_leave_its_folder(name, refused):
    assert "--name" in refused(2, "train", "tiny", "--name", name)


# What is raised inside, and what people see


def raising(monkeypatch, error: BaseException):
    """Make ``sym3d recipes list`` raise."""
    import stages.recipe

    def fail():
        raise error

    monkeypatch.setattr(stages.recipe, "shipped_recipes", fail)


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (OSError(errno.ENOSPC, "", "out.h5"), 6, "out.h5: no space left on device; free some space"),
        (OSError(errno.EROFS, "", "out.h5"), 6, "out.h5: read-only file system; check the path"),
        (PermissionError(errno.EACCES, "", "in.h5"), 3, "in.h5: permission denied"),
        (FileNotFoundError(errno.ENOENT, "", "in.png"), 3, "in.png: no such file or directory"),
        (OSError(errno.ENAMETOOLONG, "", "in.png"), 3, "in.png: file name too long"),
        (MemoryError(), 8, "out of memory; use a smaller batch"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 8, "out of memory"),
        (errors.StaleError("a.h5", "made from another recipe", "add --overwrite"), 4, "a.h5: made from another recipe"),
        (errors.MissingPartError("x", "not there", "pip install it"), 5, "x: not there; pip install it"),
        (errors.DivergedError("step 3", "loss is not finite", "lower optim.lr"), 7, "step 3: loss is not finite"),
    ],
)
def test_one_line_for(error, code, part, refused, monkeypatch):
    raising(monkeypatch, error)
    assert part in refused(code, "recipes", "list")


def test_a_bug_shows_its_traceback(sym3d, monkeypatch):
    raising(monkeypatch, ZeroDivisionError("oops"))
    result = sym3d("recipes", "list")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("sym3d: error: ZeroDivisionError: oops; this is a bug")


def test_debug_shows_the_traceback_of_every_error(sym3d):
    result = sym3d("--debug", "train", "nowhere.toml")
    assert result.exit_code == 3
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("sym3d: error: nowhere.toml: no such recipe")


def test_ctrl_c_says_how_to_go_on(sym3d, monkeypatch):
    raising(monkeypatch, KeyboardInterrupt())
    result = sym3d("recipes", "list")
    assert (result.exit_code, result.stderr) == (130, "sym3d: interrupted\n")


@pytest.mark.parametrize("command", ["prep", "synth", "features", "train", "infer"])
def test_ctrl_c_in_what_resumes(command, capsys):
    assert explain(KeyboardInterrupt(), command, debug=False) == 130
    assert capsys.readouterr().err == "sym3d: interrupted; run the same command again to resume\n"


def test_ctrl_c_with_overwrite_does_not_advise_to_start_over(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["sym3d", "train", "tiny", "--overwrite"])
    explain(KeyboardInterrupt(), "train", debug=False)
    assert "run the same command again without --overwrite to resume" in capsys.readouterr().err


# Real processes


def test_a_closed_pipe_is_no_error():
    process = subprocess.Popen([*SYM3D, "recipes", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(30) == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_stdout():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*SYM3D, "recipes", "list"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 6
    assert "no space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_real_ctrl_c(tmp_path):
    code = (
        "import signal, time, stages.recipe\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # whoever runs the tests may ignore it
        "def slow():\n    print('started', flush=True)\n    time.sleep(30)\n"
        "stages.recipe.shipped_recipes = slow\n"
        "from sym3d_cli.app import app\n"
        "app(['recipes', 'list'], prog_name='sym3d')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert process.stderr.read() == "sym3d: interrupted\n"


def test_undecodable_names(tmp_path):
    name = os.fsencode(tmp_path) + b"/caf\xe9.h5"
    done = subprocess.run([*map(os.fsencode, SYM3D), b"info", name], capture_output=True)
    assert done.returncode == 3
    assert b"caf\\udce9.h5" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_no_face_in_a_photograph(tmp_path, refused):
    Image.new("RGB", (200, 150), (90, 120, 60)).save(tmp_path / "lawn.png")
    line = refused(3, "infer", "synfaces", "lawn.png", "--crop", "face")
    assert line == "sym3d: error: lawn.png: no face found; try --crop center\n"
