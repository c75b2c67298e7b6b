"""How arrays lie in an HDF5 file, and the digests over them."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import h5py
import numpy as np

from stages.artifact.schema import TEXT_BYTES, Field

__all__ = [
    "create",
    "create_fixed",
    "decode_text",
    "describe",
    "encode_text",
    "file_digest",
    "hash_blocks",
    "read_blocks",
]

BLOCK_BYTES = 8 << 20  # arrays are read, hashed and copied in pieces of about this size


def encode_text(texts: Iterable[str], width: int | None = None) -> np.ndarray:
    """Labels as NUL-padded UTF-8 of one width (the longest one's unless given); over-long ones keep their end."""
    encoded = [_label(text) for text in texts]
    width = width or max([1, *map(len, encoded)])
    return np.array(encoded, dtype=f"S{width}")


def _label(text: str) -> bytes:
    raw = text.replace("\0", "\ufffd").encode("utf-8", "replace")  # HDF5 text ends at a NUL; file names may be no UTF-8
    if len(raw) > TEXT_BYTES:
        raw = "…".encode() + raw[-(TEXT_BYTES - 3) :].decode("utf-8", "ignore").encode()
    return raw


def decode_text(array: np.ndarray) -> list[str]:
    return [raw.decode("utf-8", "replace") for raw in np.asarray(array, dtype="S").ravel().tolist()]


def describe(dataset: h5py.Dataset, field: Field | None) -> None:
    """Write axes, unit, range, frame and meaning beside the numbers."""
    if field is None:
        return
    notes = {"doc": field.doc, "unit": field.unit, "range": field.range, "frame": field.frame}
    if field.dims is not None:
        notes["axes"] = " ".join(map(str, field.dims))
    for key, text in notes.items():
        if text:
            dataset.attrs[key] = text


def _file_type(dtype: np.dtype) -> np.dtype:
    return h5py.string_dtype("utf-8", dtype.itemsize) if dtype.kind == "S" else dtype


def create(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: np.dtype, field: Field | None) -> h5py.Dataset:
    """A dataset of the published form: one compressed row to a chunk, or plain contiguous bytes."""
    squeeze = field is not None and field.compress and math.prod(shape) > 0
    options = (
        {"chunks": (1, *shape[1:]), "compression": "gzip", "compression_opts": 1, "shuffle": True} if squeeze else {}
    )
    dataset = group.create_dataset(name, shape=shape, dtype=_file_type(dtype), track_times=False, **options)
    describe(dataset, field)
    return dataset


def create_fixed(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: np.dtype) -> h5py.Dataset:
    """A dataset whose bytes have their place in the file from the start, unwritten."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.CONTIGUOUS)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return group.create_dataset(name, shape=shape, dtype=_file_type(dtype), track_times=False, dcpl=plist)


def read_blocks(array: Any) -> Iterator[np.ndarray]:
    """The contents of a dataset or array, in order, in pieces of at least one row and about BLOCK_BYTES."""
    if array.ndim == 0:
        yield np.asarray(array[()])
        return
    if array.size == 0:  # of any length: no rows to go through
        yield np.empty(0, array.dtype)
        return
    row = max(1, math.prod(array.shape[1:]) * array.dtype.itemsize)
    step = max(1, BLOCK_BYTES // row)
    for start in range(0, array.shape[0], step):
        yield np.asarray(array[start : start + step])


def hash_blocks(blocks: Iterable[np.ndarray]) -> str:
    """SHA-256 of the little-endian, C-order bytes."""
    sha = hashlib.sha256()
    for block in blocks:
        sha.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8))
    return sha.hexdigest()


def file_digest(
    schema: str, version: int, recipe: str, attrs: dict, entries: dict[str, tuple[str, list[int], str]]
) -> str:
    """The digest of an artifact: SHA-256 of canonical JSON over the result, not over its making.

    entries: dataset path -> (numpy type string, shape, SHA-256 of its bytes).
    """
    content = {"schema": schema, "version": version, "recipe": recipe, "attrs": attrs, "datasets": entries}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
