"""The log of a training: its rows, and how it stays small in a run of any length while its curve stays whole."""

import math
from collections.abc import Sequence
from itertools import groupby

__all__ = ["append"]

Row = dict[str, float]  # "step" that the row ends with, "seconds" so far, "images_per_second", and means over its steps

ROWS = 2000  # that stay as they are, and as many for all before them
COUNTERS = ("step", "seconds")


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


def _joined(rows: Sequence[Row], before: float) -> Row:
    """Rows as one: each of its means weighted by the steps that it was taken over."""
    steps = [now["step"] - then for then, now in zip([before, *(row["step"] for row in rows)], rows, strict=False)]
    joined = {}
    for key in dict.fromkeys(key for row in rows for key in row if key not in COUNTERS):
        there = [(row[key], count) for row, count in zip(rows, steps, strict=True) if key in row]
        joined[key] = sum(value * count for value, count in there) / sum(count for _, count in there)
    return {key: rows[-1][key] for key in COUNTERS} | joined
