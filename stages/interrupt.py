"""Stopping between two things instead of in the middle of one."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["hear_interrupts", "ignore_interrupts", "interrupts_later", "stop_requested"]

HANGUP = getattr(signal, "SIGHUP", None)  # not on Windows
TERMINALS = [fd for fd in range(3) if os.isatty(fd)]


def hear_interrupts() -> None:
    """Batch queues mean by SIGTERM, and closed terminals by SIGHUP, what Ctrl-C means: KeyboardInterrupt."""
    for number in _interrupts():
        if number != signal.SIGINT:  # which Python hears itself, unless a script started us behind its back with &
            signal.signal(number, _interrupt)


def ignore_interrupts() -> None:
    """For the last moments of a process."""
    for number in _interrupts():
        signal.signal(number, signal.SIG_IGN)


def _interrupts() -> list[int]:
    """The signals that mean it. Where SIGHUP is ignored somebody said nohup."""
    hung_up = [] if HANGUP is None or signal.getsignal(HANGUP) == signal.SIG_IGN else [HANGUP]
    return [signal.SIGINT, signal.SIGTERM, *hung_up]


def _interrupt(number: int, frame: object) -> None:
    _let_go(number)
    raise KeyboardInterrupt


def _let_go(number: int) -> None:
    """A closed terminal takes no more words: without this, the next one would fail, and what is to be saved with it."""
    if number == HANGUP:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for fd in TERMINALS:
            os.dup2(nowhere, fd)


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Inside, these signals only make the yielded function return True; Ctrl-C after one of them raises
    KeyboardInterrupt. Not so the others: of a batch queue's SIGTERM whoever started us passes on a second one, and a
    closed terminal's SIGHUP comes from the kernel and the shell."""
    asked = False

    def ask(number, frame):
        nonlocal asked
        _let_go(number)
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    try:
        before = {number: signal.signal(number, ask) for number in _interrupts()}
    except ValueError:  # not in the main thread: whoever started us handles signals
        before = {}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupts_later() -> Iterator[None]:
    """Signals that come inside are heard at its end.

    For HDF5 that calls back into Python: an exception there would go through C, which makes another one of it. And for
    libraries that drop every exception.
    """
    came: list[int] = []
    try:
        before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in _interrupts()}
    except ValueError:  # not in the main thread, which alone hears signals
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)
