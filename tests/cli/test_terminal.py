"""On a real terminal, in a pipe and in a shell that completes: the program as a process of its own."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from rich.cells import cell_len

SHORT = ["-s", "optim.steps=2", "-s", "optim.batch=4", "-s", "model.width=0.07", "-s", "run.validate_images=4"]
TRAIN = ["train", "tiny", "--data", "faces.h5", *SHORT]
CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_terminal(command, folder, columns=80, **environment):
    """What the command sends to a terminal of so many columns and 30 lines."""
    child, screen = pty.fork()
    if child == 0:
        os.chdir(folder)
        fixed = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, "-m", "sym3d_cli", *command], {**os.environ, **fixed, **environment})
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    sent = b""
    while True:
        try:
            part = os.read(screen, 1 << 16)
        except OSError:  # how Linux says that the other side has closed
            part = b""
        if not part:
            break
        sent += part
    os.close(screen)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, sent
    return sent.decode()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    from stages.synth import SynthRequest, run

    folder = tmp_path_factory.mktemp("terminal")
    run(SynthRequest(folder / "faces.h5", count=20))
    return folder


def test_training_on_a_terminal(place):
    sent = on_terminal([*TRAIN, "--name", "shown"], place, COLORTERM="truecolor")
    lines = CODES.sub("", sent).replace("\r", "\n").splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert any(line.startswith("train tiny") and "/2 " in line for line in lines)
    assert "loss " in sent
    assert "gradient norm" in CODES.sub("", sent)
    assert "best" in sent
    assert [line for line in lines if "▀" in line] == ["▀" * 32] * 16, "two images above two reconstructions"
    assert "runs/shown/checkpoint.h5" in lines[-2:]


def test_training_in_a_pipe_sends_no_codes(place):
    command = [sys.executable, "-m", "sym3d_cli", *TRAIN, "--name", "piped"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, cwd=place, env=environment, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "runs/piped/checkpoint.h5\n"
    assert "\x1b" not in done.stderr
    assert "▀" not in done.stderr


def test_tables_fit_the_terminal_and_obey_no_color(place):
    sent = on_terminal(["info", "faces.h5"], place, NO_COLOR="1")
    lines = CODES.sub("", sent).splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", sent)
    assert any(line.split()[:3] == ["image", "20×64×64×3", "uint8"] for line in lines)


def complete(words, cwd):
    """What the completion of bash answers for the last of the words."""
    asked = {"_SYM3D_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    # As in test_help: the answer must come at once, so nothing heavy may be imported for it.
    code = (
        "import sys\nfrom sym3d_cli.app import main\n"
        "try: main()\nfinally: assert not {'torch', 'h5py', 'numba', 'click'} & set(sys.modules), 'slow'"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, cwd=cwd)
    assert "slow" not in done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        ("sym3d re", {"relight", "report", "reproduce", "recipes"}),
        ("sym3d train s", {"small", "synfaces"}),
        ("sym3d infer syn", {"synfaces"}),
        ("sym3d infer synfaces --split t", {"train", "test"}),
    ],
)
def test_the_shell_completes(words, answers, tmp_path):
    assert answers <= set(complete(words, tmp_path))
