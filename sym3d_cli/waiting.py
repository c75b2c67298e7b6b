"""One line on the terminal for seconds in which nothing else moves: libraries load, kernels are compiled."""

import threading

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner

__all__ = ["WAITING"]

PATIENCE = 0.7  # seconds without it: most commands are over by then, or have something to show


class Waiting:
    """A process has one terminal, and so one of these. Whoever is about to write there stops it first."""

    def __init__(self):
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._live: Live | None = None

    def start(self, console: Console, words: str) -> None:
        """Show the words in a while, unless it is stopped before; nothing where ``console`` is no terminal."""
        self.stop()
        if console.is_interactive:
            self._timer = threading.Timer(PATIENCE, self._show, (console, words))
            self._timer.daemon = True
            self._timer.start()

    def stop(self) -> None:
        """Leave no trace of it."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
            if self._live:
                self._live.stop()
            self._timer = self._live = None

    def _show(self, console: Console, words: str) -> None:
        with self._lock:
            if self._timer is threading.current_thread():  # not stopped meanwhile
                spinner = Spinner("dots" if console.encoding.startswith("utf") else "line", words)
                # stdout is for results, also while something moves on stderr.
                self._live = Live(spinner, console=console, transient=True, redirect_stdout=False)
                self._live.start()


WAITING = Waiting()
