"""Which files of a folder are whose, when several results are written into it."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stages.io.files import write_file
from stages.progress import Report

__all__ = ["INDEX", "claim_stems"]

INDEX = ".sym3d.json"  # stem in lower case → from what its files were made: [its path from here, its digest]


@contextmanager
def claim_stems(
    folder: Path, stems: Sequence[str], source: tuple[Path, str], report: Report
) -> Iterator[dict[str, str]]:
    """Each stem → its files' stem when made from ``source``, an artifact's path and digest; the folder remembers.

    What is made again at the same path keeps its stems. Where a stem's files are another artifact's and still there,
    or nobody's, as photographs are, eight digits of the digest follow it, "ann-1c9f…", and a note says so. Case does
    not count: it does not everywhere. Of a first attempt that ends with an error before it wrote anything nothing is
    remembered. The folder is to be held (files.hold_folder). Raises OutputError when it cannot
    be written.
    """
    path, digest = source
    owners, owner = _read(folder / INDEX), [os.path.relpath(path.resolve(), folder.resolve()), digest]
    others = [stem for stem in stems if not any(mark in owners.get(stem.lower(), ()) for mark in owner)]
    used = _used(folder) if others else set()
    renamed = {stem: f"{stem}-{digest[:8]}" for stem in others if stem.lower() in used}
    if renamed:
        (old, new), more = next(iter(renamed.items())), f" and {len(renamed) - 1} more" if len(renamed) > 1 else ""
        report.note(f"{folder}: files called {old}{more} are not of this prediction; this one's are called {new}{more}")
    claimed = {stem: renamed.get(stem, stem) for stem in stems}
    held = owners | dict.fromkeys(map(str.lower, claimed.values()), owner)
    before = set(os.listdir(folder))
    if held != owners:
        write_file(folder / INDEX, json.dumps(held, indent=0).encode())
    try:
        yield claimed
    except BaseException:
        if INDEX not in before and set(os.listdir(folder)) == before | {INDEX}:
            (folder / INDEX).unlink()
        raise


def _read(index: Path) -> dict[str, list]:
    """Empty where there is none, or anybody has made something else of it."""
    try:
        owners = json.loads(index.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(owners, dict):
        return {}
    return {stem: owner if isinstance(owner, list) else [] for stem, owner in owners.items()}


def _used(folder: Path) -> set[str]:
    """The stems, in lower case, that files of the folder have: all that comes before a dot or plus."""
    names = map(str.lower, os.listdir(folder))
    return {name[: end.start()] for name in names for end in re.finditer(r"(?<=.)[.+]", name)}
