"""Small artifacts to write, break and read."""

import contextlib
import os
from pathlib import Path

import h5py
import numpy as np

from stages.artifact import RowWriter
from stages.artifact.check import BROKEN, list_datasets
from stages.artifact.layout import file_digest, hash_blocks, read_blocks
from stages.artifact.meta import RESERVED, read_meta
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


def forge(path: Path) -> None:
    """Likewise, with sums and digest of what it holds now, as far as these can be taken: what a forger would do."""
    with contextlib.suppress(*BROKEN), h5py.File(path, "r+") as file:
        meta, entries = read_meta(file), {}
        for name, dataset in list_datasets(file).items():
            dataset.attrs["sha256"] = total = hash_blocks(read_blocks(dataset))
            entries[name] = (dataset.dtype.str, list(dataset.shape), total)
        own = {key: value for key, value in meta.items() if key not in RESERVED}
        recipe = str(meta["provenance"].get("recipe", ""))
        file.attrs["digest"] = file_digest(meta["schema"], meta["version"], recipe, own, entries)
    reseal(path)


def beside(path: Path) -> list[str]:
    """Names of all files in the folder of a path."""
    return sorted(os.listdir(path.parent))
