"""Work on many files at once, in order, with bounded memory, and gone at once after Ctrl-C."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Threads", "chunks", "usable_cores", "worker_threads"]


def usable_cores() -> int:
    """How many this process may use; not every system says that of a process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chunks(rows: Sequence, size: int) -> Iterator[Sequence]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


@dataclass(frozen=True)
class Threads:
    """Threads, not processes: Pillow, OpenCV, zlib and hashing all let go of the interpreter's lock."""

    pool: ThreadPoolExecutor
    number: int
    stop: threading.Event

    def check(self) -> None:
        """For a job to call between two files: ends it when nobody waits for its result any more."""
        if self.stop.is_set():
            raise InterruptedError

    def in_order(self, function: Callable, jobs: Iterable) -> Iterator:
        """Results in the order of the jobs; only a few are under way at any time, however many there are."""
        waiting = deque()
        for job in jobs:
            waiting.append(self.pool.submit(function, job))
            if len(waiting) > 2 * self.number:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def worker_threads(number: int | None = None) -> Iterator[Threads]:
    """Threads for the time of a with-block; by default one for each core that this process may use."""
    number = number or usable_cores()
    threads = Threads(ThreadPoolExecutor(number), number, threading.Event())
    try:
        yield threads
    finally:  # after Ctrl-C each thread leaves after the file that it is at
        threads.stop.set()
        threads.pool.shutdown(cancel_futures=True)
