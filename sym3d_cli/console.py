"""What people see: results on stdout; notes, warnings, progress and the one line of an error on stderr."""

import io
import json
import logging
import os
import sys
import textwrap
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sym3d_cli.live import QUICK, Bar, Display, rate
from sym3d_cli.text import clean, said
from sym3d_cli.waiting import WAITING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Reporter", "error_line", "heedless", "hush", "print_json", "print_lines", "print_table", "print_wrapped"]

LINE_SECONDS = 5.0  # between two progress lines when stderr is no terminal
WRAPPED = 15  # letters: longer cells may take several lines


def error_line(text: str) -> None:
    """``sym3d: error: text`` on stderr, exactly one line."""
    WAITING.stop()
    print(f"sym3d: error: {said(text)}", file=sys.stderr, flush=True)


class _Heedless(io.FileIO):
    def write(self, data) -> int:
        try:
            return super().write(data) or len(data)  # None where it would have to wait
        except OSError:
            return len(data)


def heedless(stream: TextIO) -> TextIO:
    """The same file, but what it does not take is dropped, as on a full disk, or where nobody reads any more: no word
    is worth the work that it is about."""
    raw = _Heedless(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=True)


def hush(stream: TextIO) -> None:
    """From here on what is written there goes nowhere: whoever read it went away."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def print_json(value: object) -> None:
    """One JSON document on stdout, of a stage's result for example: paths become strings, floats that JSON has no word
    for become null."""
    WAITING.stop()
    print(json.dumps(_jsonable(value), indent=2), flush=True)


def _jsonable(value: object) -> object:
    if is_dataclass(value):
        return {field.name: _jsonable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def print_lines(lines: Sequence[object]) -> None:
    """One line each on stdout, such as the paths that were written."""
    WAITING.stop()
    for line in lines:
        print(clean(line))
    sys.stdout.flush()


def print_wrapped(lines: Sequence[object]) -> None:
    """Likewise, but a line too long for the terminal goes on below, further in."""
    if not sys.stdout.isatty():
        print_lines(lines)
        return
    WAITING.stop()
    width = Console(file=sys.stdout).width
    for line in map(clean, lines):
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        print("\n".join(textwrap.wrap(line, width, subsequent_indent=indent)) or line)


def print_table(columns: Sequence[object], rows: Sequence[Sequence[object]], spare: Sequence[str] = ()) -> None:
    """A table when stdout is a terminal, tab-separated lines under a header otherwise.

    spare: columns that a narrow terminal is not shown, the first one first.
    """
    WAITING.stop()
    columns, *rows = [[clean(cell) for cell in row] for row in [columns, *rows]]
    if not sys.stdout.isatty():
        for line in [columns, *rows]:
            print("\t".join(line))
        return
    console = Console(file=sys.stdout)
    left_out = _too_much([columns, *rows], spare, console.width)
    kept = [at for at, column in enumerate(columns) if column not in left_out]
    caption = f"not shown, for want of room: {', '.join(left_out)}" if left_out else None
    table = Table(box=None, header_style="bold", pad_edge=False, caption=caption, caption_justify="left")
    for at in kept:
        table.add_column(columns[at], overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[at]) for at in kept))
    console.print(table)


def _too_much(lines: Sequence[Sequence[str]], spare: Sequence[str], width: int) -> list[str]:
    """The columns to leave out so that the others fit, longer cells wrapped."""
    needed = {column[0]: 2 + min(WRAPPED, max(map(cell_len, column))) for column in zip(*lines, strict=True)}
    left_out: list[str] = []
    for name in spare:
        if sum(needed.values()) - 2 > width:
            left_out.append(name)
            del needed[name]
    return left_out


class Reporter:
    """The `stages.progress.Report` of the command line.

    verbosity: -1 only warnings; 0 also notes and progress; 1 also Python's own warnings and log lines, with the time.
    """

    def __init__(self, verbosity: int = 0):
        self.verbosity = verbosity
        self.console = Console(stderr=True, highlight=False)
        self._display: Display | None = None
        self._tasks = 0  # one within another
        self._waits = False
        warnings.simplefilter("default" if verbosity > 0 else "ignore")
        if verbosity > 0:
            logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s: %(message)s")

    def note(self, text: str) -> None:
        if self.verbosity >= 0:
            self._say(text)

    def warn(self, text: str) -> None:
        self._say(f"sym3d: warning: {text}", "yellow")

    def _say(self, text: str, style: str = "") -> None:
        stamp = time.strftime("%H:%M:%S ") if self.verbosity > 0 else ""
        self.console.print(Text(stamp + said(text), style=style), soft_wrap=True)

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator["Lines | Bar"]:
        """A bar with rate, time left and status on a terminal, otherwise a line every few seconds.

        What takes less than two seconds leaves no trace.
        """
        shown = self._bar if self.verbosity >= 0 and self.console.is_interactive else self._lines
        self._tasks += 1
        WAITING.stop()
        try:
            with shown(title, total, done) as task:
                yield task
        finally:
            self._tasks -= 1
            if self._waits and not self._tasks:
                WAITING.start(self.console, "working")

    def wait(self) -> None:
        """Say on a terminal that the program is at work, now and between tasks, until :meth:`rest`."""
        if self.verbosity >= 0:
            self._waits = True
            WAITING.start(self.console, "loading")

    def rest(self) -> None:
        """From here on there is nothing to wait for, or nothing that this process should say of it."""
        self._waits = False
        WAITING.stop()

    @contextmanager
    def _lines(self, title: str, total: int, done: int) -> Iterator["Lines"]:
        lines = Lines(self, title, total, done)
        try:
            yield lines
        finally:
            lines.close(inner=self._tasks > 1)

    @contextmanager
    def _bar(self, title: str, total: int, done: int) -> Iterator[Bar]:
        self._display = self._display or Display(self.console)
        bar = Bar(self._display, title, total, done)
        try:
            yield bar
        finally:
            bar.remove_if(inner=self._tasks > 1)
            if self._tasks == 1:
                self._display.stop()
                self._display = None

    def figures(self, values: Mapping[str, float]) -> None:
        """Shown below the bar; lines in a log have their status."""
        if self._display:
            self._display.figures(values)

    def picture(self, pixels: "np.ndarray") -> None:
        if self._display:
            self._display.picture(pixels)


class Lines:
    """Progress for logs: ``train 120/800 · 5.3/s · 2:08 left · loss 0.61`` now and then, and once at the end."""

    def __init__(self, reporter: Reporter, title: str, total: int, done: int):
        self.reporter, self.title, self.total, self.done = reporter, title, total, done
        self.first, self.start, self.status = done, time.monotonic(), ""
        self.said_at, self.said = self.start, -1

    def advance(self, amount: int = 1, status: str = "") -> None:
        self.done += amount
        self.status = status or self.status
        if time.monotonic() - self.said_at >= LINE_SECONDS:
            self.say()

    def say(self) -> None:
        self.said_at, self.said = time.monotonic(), self.done
        seconds, fresh = self.said_at - self.start, self.done - self.first
        left = (
            f"{_clock(seconds / fresh * (self.total - self.done))} left" if 0 < fresh < self.total - self.first else ""
        )
        parts = [f"{self.title} {self.done}/{self.total}", rate(fresh, seconds), left, self.status]
        self.reporter.note(" · ".join(part for part in parts if part))

    def close(self, inner: bool) -> None:
        """The last line, unless it is about a part of other work that was done before there was anything to say."""
        long = time.monotonic() - self.start >= (LINE_SECONDS if inner else QUICK)
        if long and self.said != self.done and self.done > self.first:
            self.say()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
