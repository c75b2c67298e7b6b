"""How a stage tells whoever called it what it is doing, without knowing whether that is a terminal, a log or a test."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Report", "Silent", "Task"]


class Task(Protocol):
    """One piece of work with a known number of items."""

    def advance(self, amount: int = 1, status: str = "") -> None: ...


class Report(Protocol):
    """Where a stage sends its messages and progress."""

    def note(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...

    def task(self, title: str, total: int, done: int = 0) -> AbstractContextManager[Task]: ...

    def figures(self, values: Mapping[str, float]) -> None:
        """The newest numbers of the task in progress, such as a row of a training's log."""

    def picture(self, pixels: "np.ndarray") -> None:
        """What the task in progress has come to: uint8 (H, W, 3), sRGB."""


class Silent:
    """A report that goes nowhere: the default for library use."""

    def note(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass

    @contextmanager
    def task(self, title: str, total: int, done: int = 0):
        yield self

    def advance(self, amount: int = 1, status: str = "") -> None:
        pass

    def figures(self, values: Mapping[str, float]) -> None:
        pass

    def picture(self, pixels: "np.ndarray") -> None:
        pass
