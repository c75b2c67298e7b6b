"""Which files of a folder are whose, when several results are written into it."""

import glob
import json
from collections.abc import Sequence
from pathlib import Path

from stages.io.files import write_file

__all__ = ["INDEX", "claim_stems"]

INDEX = ".sym3d.json"  # stem → digest of what its files were made from


def claim_stems(folder: Path, stems: Sequence[str], digest: str) -> list[str]:
    """The stems for files made from the artifact of this digest; the folder remembers whose they are.

    Where a stem's files are another artifact's and still there, eight digits of the digest follow it: "ann-1c9f…".
    The folder is to be held (files.hold_folder). Raises OutputError when it cannot be written.
    """
    owners = _read(folder / INDEX)
    free = [owners.get(stem, digest) == digest or not _used(folder, stem) for stem in stems]
    claimed = [stem if ours else f"{stem}-{digest[:8]}" for stem, ours in zip(stems, free, strict=True)]
    if any(owners.get(stem) != digest for stem in claimed):
        content = json.dumps(owners | dict.fromkeys(claimed, digest), indent=0)
        write_file(folder / INDEX, content.encode())
    return claimed


def _read(index: Path) -> dict:
    """Empty where there is none, or anybody has made something else of it."""
    try:
        owners = json.loads(index.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return owners if isinstance(owners, dict) else {}


def _used(folder: Path, stem: str) -> bool:
    return any(folder.glob(f"{glob.escape(stem)}[.+]*"))
