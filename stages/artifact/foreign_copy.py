"""``python -m stages.artifact.foreign_copy FILE NAME…``: write those of the named datasets that FILE has to stdout.

First a line of JSON, the names found; then the arrays one after another, as numpy.save has them. What is wrong with the
file goes to stderr as the last line, in JSON. See foreign.py.
"""

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import h5py
import numpy as np

from stages.artifact.check import check_dataset
from stages.artifact.child import bound
from stages.artifact.foreign import FULL
from stages.artifact.schema import TEXT_BYTES

MAX_BYTES = 1 << 30  # as float64, in which models are worked with
MAX_TEXTS = 10_000


def _find(file: h5py.File, name: str) -> h5py.Dataset | None:
    """The dataset at this path, reached by hard links alone; None if there is nothing."""
    item = file
    for step, key in enumerate(parts := name.split("/")):
        link = item.get(key, getlink=True) if isinstance(item, h5py.Group) else None
        if link is None:
            return None
        path = "/".join(parts[: step + 1])
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"'{path}' is a soft or external link")
        item = item[key]
    if not isinstance(item, h5py.Dataset):
        raise ValueError(f"'{name}' is no dataset")
    return item


def _is_text(dataset: h5py.Dataset) -> bool:
    return h5py.check_string_dtype(dataset.dtype) is not None and dataset.dtype.kind == "O"


def _check(name: str, dataset: h5py.Dataset) -> None:
    if not _is_text(dataset):
        check_dataset(name, dataset)
    elif dataset.ndim != 1 or len(dataset) > MAX_TEXTS or dataset.external or dataset.is_virtual:
        raise ValueError(f"'{name}' is no plain list of texts")


def _read(dataset: h5py.Dataset) -> np.ndarray:
    if _is_text(dataset):
        return np.array([text[:TEXT_BYTES] for text in dataset[:]], "S")
    return np.asarray(dataset[()])


class NoRoomError(Exception):
    """There is none for the copies."""


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
        sys.stdout.flush()
    except OSError as error:  # NumPy's own has no number
        raise NoRoomError from error


def main(path: str, names: list[str]) -> None:
    with h5py.File(path, "r", locking=False) as file:
        found = {name: dataset for name in names if (dataset := _find(file, name)) is not None}
        for name, dataset in found.items():
            _check(name, dataset)
        if sum(math.prod(dataset.shape) * max(8, dataset.dtype.itemsize) for dataset in found.values()) > MAX_BYTES:
            raise ValueError(f"holds more than {MAX_BYTES >> 20} MiB of float64")
        with _writing():
            print(json.dumps(list(found)), flush=True)
        for dataset in found.values():
            array = _read(dataset)
            with _writing():
                np.save(sys.stdout.buffer, array, allow_pickle=False)


if __name__ == "__main__":
    bound()
    try:
        main(sys.argv[1], sys.argv[2:])
    except ValueError as error:
        words = " ".join(str(error).split())
        sys.exit(json.dumps("".join(letter if letter.isprintable() else "?" for letter in words)))
    except NoRoomError:
        os._exit(FULL)  # at once, for what is still to be written would fail again
    except Exception:  # whatever a damaged file makes HDF5 raise
        sys.exit(json.dumps("is damaged"))
