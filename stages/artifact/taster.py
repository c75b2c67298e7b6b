"""``python -m stages.artifact.taster``: open each file that comes through the socket at stdin as a reader would.

Answers in JSON: null, or what is wrong with the file and what to do. See taste.py.

A file may crash this process, and for those that keep it busy or fill its memory there are limits.
"""

import json
import os
import signal
import socket
from pathlib import Path

import h5py

from stages.artifact.child import bound
from stages.artifact.files import Sink
from stages.artifact.reader import reading, take_file
from stages.artifact.taste import LOOK
from stages.errors import InputError

# For one file, of this process's own time, so that a busy machine or a slow disk makes no file damaged:
SECONDS = 3
BYTES_A_SECOND = 16 << 20  # and more time for large ones
LOOK_BYTES = 16 << 20  # of data that are verified at once; more would take noticeable time


def main() -> None:
    bound()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # batch queues mean every process of a job
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=0) as parent:
        parent.sendall(b"ready\n")
        while True:
            request, fds, *_ = socket.recv_fds(parent, 1, 1)
            if not request:
                return
            found = _taste(fds[0], request)
            _end_after(0)
            os.close(fds[0])
            parent.sendall(json.dumps(found).encode() + b"\n")


def _end_after(seconds: float) -> None:
    """Let SIGPROF end this process, also in the middle of a loop in C; 0 is never."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _taste(fd: int, request: bytes) -> tuple[str, str] | None:
    size = os.fstat(fd).st_size
    _end_after(SECONDS + size / BYTES_A_SECOND)
    try:
        with reading(Path()), take_file(Path(), h5py.File(Sink(fd), "r")) as artifact:
            most = LOOK_BYTES if request == LOOK else sum(artifact[name].nbytes for name in artifact.names)
            _end_after(SECONDS + (size + most) / BYTES_A_SECOND)
            artifact.verify(most=most)
    except InputError as error:
        return error.what, error.fix
    return None


if __name__ == "__main__":
    main()
