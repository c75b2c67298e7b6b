"""``python -m stages.artifact.taster``: open each file that comes through the socket at stdin as a reader would.

Answers in JSON: null, or what is wrong with the file and what to do. See taste.py.

A file may crash this process, and for those that keep it busy or fill its memory there are limits.
"""

import json
import os
import resource
import signal
import socket
from pathlib import Path

from stages.artifact.layout import read_blocks
from stages.artifact.reader import Artifact, open_unsealed, reading
from stages.artifact.taste import LOOK
from stages.errors import InputError

# For one file, of this process's own time, so that a busy machine or a slow disk makes no file damaged:
SECONDS = 3
BYTES_A_SECOND = 16 << 20  # and more time for large ones
MEMORY_BYTES = 4 << 30
READ_BYTES = 16 << 20  # of data; more would take noticeable time, and only where it is compressed can it do harm


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # batch queues mean every process of a job
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=0) as parent:
        parent.sendall(b"ready\n")
        while True:
            request, fds, *_ = socket.recv_fds(parent, 1, 1)
            if not request:
                return
            _end_after(SECONDS + os.fstat(fds[0]).st_size / BYTES_A_SECOND)
            found = _taste(fds[0], request)
            _end_after(0)
            os.close(fds[0])
            parent.sendall(json.dumps(found).encode() + b"\n")


def _end_after(seconds: float) -> None:
    """Let SIGPROF end this process, also in the middle of a loop in C; 0 is never."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _taste(fd: int, request: bytes) -> tuple[str, str] | None:
    try:
        with open_unsealed(Path(), fd) as artifact:
            if request == LOOK:
                _read_small(artifact)
            else:
                _end_after(SECONDS + sum(artifact[name].nbytes for name in artifact.names) / BYTES_A_SECOND)
                artifact.verify()
    except InputError as error:
        return error.what, error.fix
    return None


def _read_small(artifact: Artifact) -> None:
    """Read datasets as long as they are not more than READ_BYTES together."""
    room = READ_BYTES
    with reading(artifact.path):
        for name in artifact.names:
            if artifact[name].nbytes <= room:
                room -= sum(block.nbytes for block in read_blocks(artifact[name]))


if __name__ == "__main__":
    main()
