"""The child that tastes files: one to a process, replaced when it is gone, and gone with its process."""

import os
import select
import signal
import subprocess
import sys
import threading

import h5py
import pytest
from small_files import complete

from stages.artifact import open_artifact, read_foreign, taste
from stages.errors import InputError


def the_child() -> subprocess.Popen:
    return taste._taster.process


def ended(process: subprocess.Popen) -> None:
    """Kill it and wait until it is dead, as a zombie that its owner has still to find."""
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def test_one_child_for_all_files_and_threads(images):
    open_artifact(images).close()
    first = the_child()
    threads = [threading.Thread(target=lambda: open_artifact(images).close()) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert the_child() is first


def test_a_child_that_somebody_ended_is_no_fault_of_the_file(images):
    open_artifact(images).close()
    first = the_child()
    ended(first)
    open_artifact(images).close()
    assert the_child() is not first
    assert first.returncode == -signal.SIGKILL  # waited for


def test_a_file_that_the_child_dies_of(images, monkeypatch):
    open_artifact(images).close()
    first = the_child()
    monkeypatch.setattr(taste.Taster, "ask", lambda taster, fd, request: ended(first) or b"")
    with pytest.raises(InputError, match="reading it crashed or did not end; take another copy"):
        open_artifact(images)
    monkeypatch.undo()
    open_artifact(images).close()
    assert the_child() is not first


def test_ctrl_c_while_it_tastes(images, monkeypatch):
    """Its answer, still to come, is never taken for that about the next file."""

    def interrupted(taster, fd, request):
        raise KeyboardInterrupt

    monkeypatch.setattr(taste.Taster, "ask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_artifact(images)
    assert taste._taster is None


def test_no_child_to_be_had(images, monkeypatch):
    taste._dismiss()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(InputError, match="cannot be checked: no process can be started for it"):
        open_artifact(images)
    monkeypatch.setattr(sys, "executable", "/no/python")
    with pytest.raises(InputError, match="cannot be read"):
        open_artifact(images)


def test_nothing_in_the_working_folder_is_run(images, tmp_path, monkeypatch):
    taste._dismiss()
    (tmp_path / "h5py.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    open_artifact(images).close()
    with h5py.File("model.h5", "w") as file:
        file["a"] = [1, 2]
    assert read_foreign("model.h5", ["a"])["a"].tolist() == [1, 2]


def test_signals_for_a_whole_job_leave_it_alone(images):
    open_artifact(images).close()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        the_child().send_signal(number)
    first = the_child()
    open_artifact(images).close()
    assert the_child() is first


def test_a_fork_has_a_child_of_its_own(images):
    open_artifact(images).close()
    first = the_child()
    if (fork := os.fork()) == 0:
        code = 1
        try:
            none = taste._taster is None
            open_artifact(images).close()
            code = 0 if none and the_child().pid != first.pid else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == 0
    open_artifact(images).close()
    assert the_child() is first


PROGRAM = """
import os, signal, sys
from stages.artifact import open_artifact, read_foreign, taste
open_artifact(sys.argv[1]).close()
print(taste._taster.process.pid, flush=True)
if len(sys.argv) > 2:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("killed", [[], ["killed"]])
def test_it_ends_with_its_process(images, killed):
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, images, *killed],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        watched = os.pidfd_open(int(run.stdout.readline()))
        out, err = run.communicate()
    assert select.select([watched], [], [], 60)[0], "it lives on"
    os.close(watched)
    assert (out, err) == ("", "")


def test_a_file_replaced_while_it_is_tasted(images, tmp_path, monkeypatch):
    """What is read was tasted: here the second one."""
    other, ask, tasted = complete(tmp_path / "other.h5"), taste.Taster.ask, []

    def replaced(taster, fd, request):
        if not tasted:
            os.replace(other, images)
        tasted.append(os.fstat(fd).st_ino)
        return ask(taster, fd, request)

    monkeypatch.setattr(taste.Taster, "ask", replaced)
    open_artifact(images).close()
    assert len(tasted) == 2
    assert tasted[1] == images.stat().st_ino != tasted[0]
