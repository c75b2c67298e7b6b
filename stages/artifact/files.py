"""Files that appear whole or not at all: the ``.partial`` beside an output, its lock, and its publication."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from stages.errors import OutputError
from stages.outputs import check_output

__all__ = ["Sink", "lock_partial", "output_errors", "partial_path", "publish", "unlock", "write_all"]

_locked: set[int] = set()


def _close_inherited() -> None:
    """In a forked worker: let go of the parent's locks, which would otherwise outlive a parent that is killed."""
    for fd in _locked:
        os.close(fd)
    _locked.clear()


os.register_at_fork(after_in_child=_close_inherited)


def partial_path(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


@contextlib.contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about writing into an OutputError about ``path``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(path, f"cannot be written ({reason})", "free some space or choose another output") from error


def lock_partial(path: Path) -> int:
    """Open (or create) the ``.partial`` of an output for this process alone; the descriptor holds the lock.

    Raises OutputError when another process writes the same output, or when nothing can be written there.
    """
    check_output(path)
    partial = partial_path(path)
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                what = f"another process is writing it (it holds {partial.name})"
                raise OutputError(path, what, "wait for it to end or choose another output") from None
            # Between open and lock another process may have published or removed this very file.
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(fd).st_ino == os.stat(partial).st_ino:
                    _locked.add(fd)
                    return fd
            os.close(fd)


def unlock(fd: int) -> None:
    """Close a descriptor from ``lock_partial``; closing it twice does no harm."""
    if fd in _locked:
        _locked.remove(fd)
        os.close(fd)


def publish(fd: int, written: Path, path: Path) -> None:
    """Make the finished file ``written`` (open as ``fd``) the output, durably and in one step."""
    os.fsync(fd)
    os.replace(written, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Sink:
    """A descriptor as the file object that h5py writes to.

    HDF5 cannot close a file whose last writes fail: it keeps the file open and complains again when the process ends.
    So the first failure is remembered and the rest goes nowhere; ``check`` then raises it once HDF5 has closed.
    """

    def __init__(self, fd: int):
        self.fd = fd
        self.position = 0
        self.error: OSError | None = None

    def check(self) -> None:
        if self.error is not None:
            raise self.error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: os.fstat(self.fd).st_size}[whence]
        self.position = base + offset
        return self.position

    def tell(self) -> int:
        return self.position

    def read(self, size: int = -1) -> bytes:
        raise NotImplementedError  # its presence tells h5py that this is a file object; only readinto is called

    def readinto(self, buffer) -> int:
        count = os.preadv(self.fd, [buffer], self.position)
        self.position += count
        return count

    def write(self, data) -> int:
        try:
            if self.error is None:
                write_all(self.fd, data, self.position)
        except OSError as error:
            self.error = error
        self.position += len(data)
        return len(data)

    def truncate(self, size: int) -> int:
        try:
            if self.error is None:
                os.ftruncate(self.fd, size)
        except OSError as error:
            self.error = error
        return size

    def flush(self) -> None:
        pass


def write_all(fd: int, data, offset: int) -> None:
    """Write all bytes of a buffer at an offset, however many calls that takes."""
    rest = memoryview(data).cast("B")
    while rest:
        count = os.pwrite(fd, rest, offset)
        rest, offset = rest[count:], offset + count
