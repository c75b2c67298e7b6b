"""What a table says beside its figures: whether its rows are in the paper's order, and the ratios of some."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

__all__ = ["Compared", "order", "ratio"]


@dataclass(frozen=True)
class Compared:
    """A row's figure of one metric and the paper's, in the metric's unit; None where there is none."""

    label: str
    ours: float | None
    paper: float | None


def order(metric: str, rows: Sequence[Compared]) -> str:
    """One line: whether the rows that have both figures come in the paper's order, and which pairs do not."""
    known = sorted(filter(_is_known, rows), key=lambda row: row.paper)
    pairs = [(low, high) for low, high in combinations(known, 2) if low.paper < high.paper]
    if not pairs:
        return f"Rows in the paper's order by {metric}: nothing to compare."
    exchanged = [(low, high) for low, high in pairs if low.ours >= high.ours]
    named = "; ".join(f'"{low.label}" and "{high.label}"' for low, high in exchanged)
    return f"Rows in the paper's order by {metric}: {f'no, exchanged are {named}' if exchanged else 'yes'}."


def ratio(above: str, below: str, metrics: dict[str, Sequence[Compared]]) -> str | None:
    """One line: the figures of the row ``above`` as multiples of those of the row ``below``, and the paper's multiples.

    ``metrics``: their names and all rows. None when a figure of either is missing.
    """
    shown = []
    for metric, rows in metrics.items():
        one, other = (next((row for row in rows if row.label == label), None) for label in (above, below))
        if one is None or other is None or not (_is_known(one) and _is_known(other)):
            return None
        shown.append(f"{metric} {one.ours / other.ours:.2f} (paper {one.paper / other.paper:.2f})")
    return f'"{above}" / "{below}": {", ".join(shown)}.'


def _is_known(row: Compared) -> bool:
    return all(figure is not None and math.isfinite(figure) for figure in (row.ours, row.paper))
