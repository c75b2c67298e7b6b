"""What people see: results on stdout; notes, warnings, progress and the one line of an error on stderr."""

import json
import logging
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Task as RichTask
from rich.table import Table
from rich.text import Text

__all__ = ["Reporter", "clean", "error_line", "print_json", "print_lines", "print_table"]

LINE_SECONDS = 5.0  # between two progress lines when stderr is no terminal


def clean(text: object) -> str:
    """Text in which nothing can move the cursor, break the line or fail to encode: such characters become escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def error_line(text: str) -> None:
    """``sym3d: error: text`` on stderr, exactly one line."""
    print(f"sym3d: error: {clean(text)}", file=sys.stderr, flush=True)


def print_json(value: object) -> None:
    """One JSON document on stdout; floats that JSON has no word for become null."""
    print(json.dumps(_jsonable(value), indent=2))


def _jsonable(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def print_lines(lines: Sequence[object]) -> None:
    """One line each on stdout, such as the paths that were written."""
    for line in lines:
        print(clean(line))


def print_table(columns: Sequence[object], rows: Sequence[Sequence[object]]) -> None:
    """A table when stdout is a terminal, tab-separated lines under a header otherwise."""
    columns, *rows = [[clean(cell) for cell in row] for row in [columns, *rows]]
    if not sys.stdout.isatty():
        for line in [columns, *rows]:
            print("\t".join(line))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=sys.stdout).print(table)


class Reporter:
    """The `stages.progress.Report` of the command line.

    verbosity: -1 only warnings; 0 also notes and progress; 1 also Python's own warnings and log lines, with the time.
    """

    def __init__(self, verbosity: int = 0):
        self.verbosity = verbosity
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._progress: Progress | None = None
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
        self.console.print(Text(stamp + clean(text), style=style))

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator["Lines | Bar"]:
        """A bar with rate, time left and status on a terminal, otherwise a line every few seconds."""
        if self.verbosity < 0 or not self.console.is_terminal:
            lines = Lines(self, title, total, done)
            try:
                yield lines
            finally:
                lines.close()
            return
        outer, progress = self._progress, self._progress or _progress(self.console)
        if outer is None:
            self._progress = progress
            progress.start()
        task = progress.add_task(clean(title), total=total, completed=done, start_at=done, status="")
        try:
            yield Bar(progress, task)
        finally:
            if outer is None:
                progress.stop()
                self._progress = None
            else:
                progress.remove_task(task)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        console=console,
    )


class _Rate(ProgressColumn):
    """Items per second of this session, not counting what an earlier one had done."""

    def render(self, task: RichTask) -> Text:
        return Text(_rate(task.completed - task.fields["start_at"], task.elapsed or 0.0))


def _rate(items: float, seconds: float) -> str:
    return f"{items / seconds:,.1f}/s" if seconds > 0 and items else ""


class Bar:
    """One line of the progress display."""

    def __init__(self, progress: Progress, task: int):
        self.progress, self.id = progress, task

    def advance(self, amount: int = 1, status: str = "") -> None:
        fields = {"status": clean(status)} if status else {}
        self.progress.update(self.id, advance=amount, **fields)


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
        parts = [f"{self.title} {self.done}/{self.total}", _rate(fresh, seconds), left, self.status]
        self.reporter.note(" · ".join(part for part in parts if part))

    def close(self) -> None:
        if self.said != self.done and self.done > self.first:
            self.say()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
