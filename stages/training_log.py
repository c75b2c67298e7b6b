"""The log of a training: how losses become rows, and how it stays small in a run of any length while its curve stays
whole."""

import math
from collections import deque
from collections.abc import Sequence
from itertools import groupby

from torch import Tensor

from stages.checkpoint import TrainingState
from stages.progress import Report
from stages.recipe import Recipe
from stages.steps import note_skipped, read_losses

__all__ = ["RecentLosses", "append", "last_metrics", "status_of"]

Row = dict[str, float]  # "step" that the row ends with, "seconds" so far, "images_per_second", and means over its steps

ROWS = 2000  # that stay as they are, and as many for all before them
COUNTERS = ("step", "seconds")


class RecentLosses:
    """Those of the last steps, on their way from the device to the log; ``images`` are as many as are trained on."""

    def __init__(self, state: TrainingState, recipe: Recipe, images: int, report: Report):
        self.state, self.recipe, self.images, self.report = state, recipe, images, report
        self.unread: deque[dict[str, Tensor]] = deque()
        self.pending: list[dict[str, float]] = []  # those read and not logged
        self.stop = False  # whether some process was asked to, at a step that was read

    def read(self, behind: int = 0) -> None:
        """All but the last few: those of a step that a GPU is still at would make it wait for the next one.

        Raises DivergedError when too many of the last steps came to nothing.
        """
        while len(self.unread) > behind:
            values, step = read_losses(self.unread.popleft()), self.state.step - len(self.unread)
            self.stop |= values.pop("stop") > 0
            if all(map(math.isfinite, values.values())):
                self.pending.append(values)
            else:
                self.pending.append({})
                self.report.warn(note_skipped(self.state, step, values, self.recipe, self.images))

    def log(self) -> None:
        """Read all of them and add them to the log as one row."""
        self.read()
        if self.pending:
            append(self.state.log, _next_row(self.state, self.pending, self.recipe.optim.batch))
            self.pending.clear()


def _next_row(state: TrainingState, parts: Sequence[dict[str, float]], batch: int) -> Row:
    """The row that ends with the last step: rate and means of ``parts``, the losses since the last row."""
    before = state.log[-1] if state.log else {"step": 0, "seconds": 0.0}
    rate = (state.step - before["step"]) * batch / max(state.seconds - before["seconds"], 1e-9)
    # The search has a part of its own, which ends with it.
    found = {key: [part[key] for part in parts if key in part] for part in parts for key in part}
    means = {key: sum(values) / len(values) for key, values in found.items()}
    return {"step": state.step, "seconds": state.seconds, "images_per_second": rate, **means}


def append(log: list[Row], row: Row) -> None:
    """Add a row. From 2 × ROWS of them on, those before the last ROWS are averaged over equal numbers of steps.

    What comes of it follows from the rows alone, so that a resumed run has the same log. At most 3 × ROWS remain.
    """
    log.append(row)
    if len(log) < 3 * ROWS:
        return
    older, recent = log[:-ROWS], log[-ROWS:]
    # A power of two: the spans of a longer run are whole numbers of the spans of now.
    span = 2 ** math.ceil(math.log2(older[-1]["step"] / ROWS))
    before, thinned = 0.0, []
    for _, rows in groupby(older, key=lambda row: math.ceil(row["step"] / span)):
        thinned.append(_joined(list(rows), before))
        before = thinned[-1]["step"]
    log[:] = thinned + recent


def last_metrics(log: Sequence[Row]) -> dict[str, float]:
    """SIDE ×10⁻² and MAD in degrees of the last validation against the truth; empty without one."""
    row = next((row for row in reversed(log) if "side" in row), {})
    return {key: row[key] for key in ("side", "mad") if key in row}


def status_of(log: Sequence[Row]) -> str:
    """The newest rate, loss and metrics in words."""
    if not log:
        return ""
    metrics = last_metrics(log)
    scores = f" · SIDE {metrics['side']:.2f} MAD {metrics['mad']:.1f}°" if metrics else ""
    return f"{log[-1]['images_per_second']:.0f} images/s · loss {log[-1].get('total', math.nan):.3f}{scores}"


def _joined(rows: Sequence[Row], before: float) -> Row:
    """Rows as one: each of its means weighted by the steps that it was taken over."""
    steps = [now["step"] - then for then, now in zip([before, *(row["step"] for row in rows)], rows, strict=False)]
    joined = {}
    for key in dict.fromkeys(key for row in rows for key in row if key not in COUNTERS):
        there = [(row[key], count) for row, count in zip(rows, steps, strict=True) if key in row]
        joined[key] = sum(value * count for value, count in there) / sum(count for _, count in there)
    return {key: rows[-1][key] for key in COUNTERS} | joined
