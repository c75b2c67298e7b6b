"""Which items of a prediction a command is about."""

import hashlib
from collections.abc import Sequence

from stages.artifact import Artifact
from stages.errors import InputError, UsageError

__all__ = ["item_names", "select_rows", "subset_mark"]

LONGEST_MARK = 60


def item_names(prediction: Artifact) -> list[str]:
    """The names of all items. Raises InputError when there is none."""
    names = prediction.strings("name")
    if not names:
        raise InputError(prediction.path, "it holds no items", "infer some images first")
    return names


def select_rows(names: Sequence[str], rows: Sequence[int], wanted: Sequence[str]) -> list[int]:
    """The row numbers asked for by number and by name, in the file's order; all of them when nothing is asked for."""
    if not rows and not wanted:
        return list(range(len(names)))
    for row in rows:
        if not 0 <= row < len(names):
            raise UsageError(f"--row {row}", "there is no such row", f"the file holds rows 0 to {len(names) - 1}")
    for name in wanted:
        if name not in names:
            raise UsageError(f"--only {name!r}", "no item has this name", f"the first one is {names[0]!r}")
    return sorted(set(rows) | {row for row, name in enumerate(names) if name in wanted})


def subset_mark(stems: Sequence[str], rows: Sequence[int]) -> str:
    """What in the name of a file about several items tells it from that about others: "" for all, "+ann+bob"."""
    if len(rows) == len(stems):
        return ""
    mark = "".join(f"+{stems[row]}" for row in rows)
    digest = hashlib.sha256(mark.encode()).hexdigest()[:8]
    return mark if len(mark) <= LONGEST_MARK else f"+{len(rows)}-items-{digest}"
