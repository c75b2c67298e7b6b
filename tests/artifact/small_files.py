"""Small artifacts to write, break and read."""

import os
from pathlib import Path

import numpy as np

from stages.artifact import RowWriter
from stages.artifact.seal import write_seal

COUNT, SIDE = 20, 8
FIELDS = ("image", "split", "name", "sha256", "depth")


def provenance(recipe: str = "size = 8", **changes) -> dict:
    return {"recipe": recipe, "seed": 0, "parents": [], "git": {}, "argv": ["sym3d"], "created": "", **changes}


def rows_of(rows) -> dict:
    """What row i of the test artifact holds, whoever writes it and whenever."""
    rows = np.atleast_1d(rows)
    noise = [np.random.default_rng(int(row)).integers(0, 256, (SIDE, SIDE, 3), np.uint8) for row in rows]
    pixels = np.array(noise, np.uint8).reshape(-1, SIDE, SIDE, 3)
    return {
        "image": pixels,
        "split": (rows % 3).astype(np.uint8),
        "name": [f"folder/{'x' * (row % 7)}{row}.png" for row in rows],
        "sha256": [f"{row:064x}" for row in rows],
        "depth": pixels[..., 0].astype(np.float32) / 1000 + 0.9,
    }


def open_writer(path: Path, **changes) -> RowWriter:
    options = {"count": COUNT, "dims": {"H": SIDE, "W": SIDE}, "fields": FIELDS, "provenance": provenance()}
    return RowWriter(path, "sym3d.images", **{**options, **changes})


def complete(path: Path, **changes) -> Path:
    with open_writer(path, **changes) as writer:
        rows = writer.pending()
        writer.write(rows, rows_of(rows))
        writer.finish()
    return path


def reseal(path: Path) -> None:
    """Make a tampered file look as if sym3d had published it so."""
    with path.open("r+b") as file:
        write_seal(file.fileno())


def beside(path: Path) -> list[str]:
    """Names of all files in the folder of a path."""
    return sorted(os.listdir(path.parent))
