"""Has every file tasted by another process before HDF5 runs over it in this one.

A seal finds accidents; but whoever forges a file can seal it too, and then its inner structures may be such that HDF5
crashes or never ends. So a small child (taster.py) first opens the file and touches what a reader touches. If it dies
of that, the file is refused, and the next one gets a new child. One child serves a process to its end: it takes some
tenths of a second to start and some milliseconds to answer.
"""

import json
import os
import socket
import subprocess
import threading
from pathlib import Path

from stages.artifact.child import own_environment, own_module
from stages.errors import InputError

__all__ = ["LOOK", "VERIFY", "ready_taster", "taste"]

LOOK, VERIFY = b"l", b"v"  # what the child is asked to verify: structures and the first data, or all data too


class Taster:
    """The child, and our end of the socket through which it is handed files and says what it found."""

    def __init__(self):
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                own_module("stages.artifact.taster"),
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is meant for us; the child ends when our end of the socket closes
                env=own_environment(),
            )
        self.greeted = False

    def starts(self) -> bool:
        """Wait for the line with which the child greets; False if it died before."""
        self.greeted = self.greeted or bool(self._line())
        return self.greeted

    def ask(self, fd: int, request: bytes) -> bytes:
        """What the child says of an open file, in JSON; nothing if it died of it."""
        try:
            socket.send_fds(self.socket, [request], [fd])
            return self._line()
        except ConnectionError:
            return b""

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            if not (part := self.socket.recv(1 << 16)):
                return b""
            line += part
        return line


_taster: Taster | None = None
_alone = threading.RLock()  # one thread asks at a time


def ready_taster() -> None:
    """Start the child unless there is one: it gets ready while its caller does something else. May raise OSError."""
    global _taster
    with _alone:
        if _taster is not None and _taster.process.poll() is not None:  # somebody ended it while it had nothing to do
            _dismiss()
        _taster = _taster or Taster()


def taste(fd: int, path: Path, request: bytes) -> None:
    """Raise InputError unless the child lives through the open file and finds an artifact in it. May raise OSError."""
    with _alone:
        ready_taster()
        answer = b""
        try:
            if not _taster.starts():
                what, fix = "cannot be checked: no process can be started for it", "see what memory is left"
                raise InputError(path, what, fix)
            answer = _taster.ask(fd, request)
        finally:
            if not answer:  # it died, or something came up before it was done
                _dismiss()
    if not answer:
        raise InputError(path, "is damaged: reading it crashed or did not end", "take another copy or make it again")
    if found := json.loads(answer):
        raise InputError(path, *found)


def _dismiss() -> None:
    global _taster
    if _taster is not None:
        _taster.socket.close()
        _taster.process.kill()  # it has nothing to lose, and may be in a loop
        _taster.process.wait()
        _taster = None


def _forked() -> None:
    """The child is our parent's, who would be mixed up by our questions; and it is to end with its parent, not us."""
    global _taster, _alone
    _alone = threading.RLock()
    if _taster is not None:
        _taster.socket.close()
        _taster.process.poll()  # finds that it is no child of ours, so that nobody waits for it
        _taster = None


os.register_at_fork(after_in_child=_forked)
