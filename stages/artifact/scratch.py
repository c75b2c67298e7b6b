"""The ``.partial`` of a row-wise artifact: an HDF5 file whose structure never changes after its first moment."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np

from stages.artifact.check import BROKEN, list_datasets
from stages.artifact.files import Sink, write_all
from stages.artifact.layout import BLOCK_BYTES, create_fixed
from stages.artifact.meta import read_meta, write_meta
from stages.artifact.schema import TEXT_BYTES, Schema
from stages.interrupt import interrupts_later

__all__ = ["Column", "Scratch", "column_plan", "create_scratch", "open_scratch"]

TYPES = {"u1": "|u1", "f4": "<f4", "f8": "<f8", "bool": "|b1", "utf8": f"|S{TEXT_BYTES}"}

BOOKKEEPING = {
    "partial/crc": "<u4",  # CRC-32 of the row's bytes
    "partial/name": TYPES["utf8"],  # of a dropped row
    "partial/reason": TYPES["utf8"],  # of a dropped row
    "partial/state": "|u1",  # 0 pending, 1 done, 2 dropped
}


@dataclass(frozen=True)
class Column:
    """One preallocated dataset: its type, shape, and where in the file its bytes are."""

    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int = -1

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self.row_bytes

    def write(self, fd: int, row: int, array: np.ndarray) -> None:
        write_all(fd, np.ascontiguousarray(array).reshape(-1).view(np.uint8), self.offset + row * self.row_bytes)

    def read(self, fd: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        rows = len(range(*slice(start, stop).indices(self.shape[0])))
        array = np.empty((rows, *self.shape[1:]), self.dtype)
        rest, offset = memoryview(array.reshape(-1).view(np.uint8)), self.offset + start * self.row_bytes
        while rest:
            count = os.preadv(fd, [rest], offset)
            if count == 0:
                raise OSError(0, "unexpected end of file")
            rest, offset = rest[count:], offset + count
        return array

    def blocks(self, fd: int) -> Iterator[tuple[int, np.ndarray]]:
        """First row and contents of pieces of about BLOCK_BYTES."""
        step = max(1, BLOCK_BYTES // self.row_bytes)
        for start in range(0, self.shape[0], step):
            yield start, self.read(fd, start, start + step)


@dataclass(frozen=True)
class Scratch:
    identity: dict[str, Any]
    columns: dict[str, Column]

    def fits(self, plan: Mapping[str, Column]) -> bool:
        """True where every column is of the planned type and shape."""
        return {name: replace(column, offset=-1) for name, column in self.columns.items()} == dict(plan)


def column_plan(schema: Schema, count: int, dims: Mapping[str, int], fields: Sequence[str]) -> dict[str, Column]:
    """The columns of a partial: the wanted fields, and the state of each row. Raises ValueError for other fields."""
    lengths = {"N": count, **dims}
    plan = {name: Column(np.dtype(dtype), (count,)) for name, dtype in BOOKKEEPING.items()}
    for name in fields:
        field = schema.field(name)
        if field is None or not field.by_row:
            raise ValueError(f"{schema.name} has no '{name}' with one entry per row")
        shape = tuple(length if isinstance(length, int) else lengths[length] for length in field.dims or ())
        plan[name] = Column(np.dtype(TYPES[field.dtype]), shape)
    return plan


def create_scratch(fd: int, plan: Mapping[str, Column], identity: dict[str, Any]) -> dict[str, Column]:
    """Lay out an empty partial (a sparse file that reads as zeros) and say where its columns are. Raises OSError."""
    sink = Sink(fd)
    columns = {}
    try:
        with interrupts_later(), h5py.File(sink, "w") as file:
            for name, column in plan.items():
                dataset = create_fixed(file, name, column.shape, column.dtype)
                columns[name] = replace(column, offset=dataset.id.get_offset() or 0)
            write_meta(file, identity)
    finally:
        sink.check()
    os.fsync(fd)
    return columns


def open_scratch(fd: int) -> Scratch | None:
    """The partial that an earlier run left in this file; None when there is none, or none that can be used."""
    size = os.fstat(fd).st_size
    try:
        with interrupts_later(), h5py.File(Sink(fd), "r") as file:
            identity = read_meta(file)
            columns = {}
            for name, dataset in list_datasets(file).items():
                offset = dataset.id.get_offset()
                column = Column(dataset.dtype, dataset.shape, 0 if offset is None else offset)
                if column.offset + column.nbytes > size:
                    return None
                columns[name] = column
    except BROKEN:
        return None
    sound = identity.get("state") == "partial" and BOOKKEEPING.keys() <= columns.keys()
    return Scratch(identity, columns) if sound else None
