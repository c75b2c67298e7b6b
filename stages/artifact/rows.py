"""Writing an artifact row by row, over hours and interruptions.

The work in progress, ``<output>.partial``, is an HDF5 file whose datasets all have their place from the start. Its
structure is written once; rows then go to their fixed offsets with plain writes, data first, then a checksum, then the
mark that the row is done. So no moment exists at which a kill could damage the file, and a full disk is an ordinary
error. ``finish`` copies the rows into the compact, compressed, digested form and publishes that in one step.
"""

import errno
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.artifact.files import lock_partial, output_errors, partial_path, publish, unlock
from stages.artifact.layout import decode_text, encode_text
from stages.artifact.meta import plain
from stages.artifact.reader import open_artifact
from stages.artifact.schema import SCHEMAS
from stages.artifact.scratch import Column, column_plan, create_scratch, open_scratch
from stages.artifact.stale import difference
from stages.artifact.writer import Source, as_array, write_file
from stages.errors import InputError, StaleError
from stages.progress import Report, Silent, Task

__all__ = ["RowWriter"]

PENDING, DONE, DROPPED = 0, 1, 2


class RowWriter:
    """Writes the rows of one artifact in any order; a context manager. Leaving it without ``finish`` keeps the work.

    count: rows. dims: lengths of the schema's axes, such as {"H": 64, "W": 64}. fields: the datasets with one entry per
    row that will be written. attrs: fixed from the start. overwrite: begin anew whatever is there.
    report: hears of what takes long before the first row and after the last.

    Work goes on where it stopped if recipe, seed, parents, attributes, fields and count are those of the ``.partial``.
    Raises StaleError when they are not, or when the output exists and was made from something else; OutputError when
    another process writes the same output, or it cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        schema: str,
        *,
        count: int,
        dims: Mapping[str, int],
        fields: Sequence[str],
        provenance: dict,
        attrs: dict | None = None,
        overwrite: bool = False,
        report: Report = Silent(),
    ):
        self.path, self.schema = Path(path), SCHEMAS[schema]
        self.provenance, self.attrs = provenance, plain(attrs)
        self.fields = tuple(sorted(fields))
        self.report = report
        self.complete = False
        self._plan = column_plan(self.schema, count, dims, self.fields)
        self._finishing = self.path.with_name(self.path.name + ".finishing.partial")
        self._state = np.zeros(count, np.uint8)
        self._columns: dict[str, Column] = {}
        self._fd = lock_partial(self.path)
        try:
            self._open(overwrite)
        except BaseException:
            self._remove_if_empty()
            self.close()
            raise

    def _open(self, overwrite: bool) -> None:
        with output_errors(self.path):
            self._finishing.unlink(missing_ok=True)  # of an earlier run that was killed
        stale = None
        if not overwrite and self.path.exists():
            stale = self._compare_output()
            if stale is None:
                self.complete = True
                self._state[:] = DONE
                partial_path(self.path).unlink()
                return
        found = None if overwrite else open_scratch(self._fd)
        if found is not None and found.columns["partial/state"].read(self._fd).any():
            change = difference(self._identity(), found.identity)
            if change is not None:
                stale = (partial_path(self.path), f"was made differently: {change}")
            elif found.fits(self._plan):
                self._columns = found.columns
                self._state = self._sound_rows()
                return
        if stale is not None:
            raise StaleError(*stale, "add --overwrite or choose another output")
        self._start()

    def _start(self) -> None:
        os.ftruncate(self._fd, 0)
        needed = sum(column.nbytes for name, column in self._plan.items() if name in self.fields)
        with output_errors(self.path):
            free = shutil.disk_usage(self.path.parent).free
            if needed > free:
                raise OSError(errno.ENOSPC, f"it needs {needed / 1e6:.1f} MB, {free / 1e6:.1f} MB are free")
            try:
                self._columns = create_scratch(self._fd, self._plan, self._identity())
            except BaseException:
                os.ftruncate(self._fd, 0)
                raise

    def _identity(self) -> dict[str, Any]:
        """What must agree for old rows to be worth keeping."""
        return {
            "schema": self.schema.name,
            "version": self.schema.version,
            "state": "partial",
            "provenance": self.provenance,
            "attrs": self.attrs,
            "shapes": {name: list(self._plan[name].shape) for name in self.fields},
        }

    def _compare_output(self) -> tuple[Path, str] | None:
        """None if the output is complete, sound and made from the same; else where and why not."""
        try:
            with open_artifact(self.path, self.schema.name, self.report) as artifact:
                artifact.verify(self.report)
                rows = artifact.count + (len(artifact["skipped/name"]) if "skipped/name" in artifact else 0)
                fields = [name for name in artifact.names if (field := self.schema.field(name)) and field.by_row]
                shapes = {name: [rows, *artifact[name].shape[1:]] for name in fields}
                there = {"provenance": artifact.provenance, "attrs": artifact.attrs, "shapes": shapes}
        except InputError as error:
            return self.path, f"exists and {error.what}"
        wanted = self._identity()
        change = difference(wanted, {**wanted, **there})
        return None if change is None else (self.path, f"was made differently: {change}")

    def pending(self) -> np.ndarray:
        """Indices of the rows that are neither written nor dropped, ascending."""
        return np.flatnonzero(self._state == PENDING)

    def write(self, rows: int | Sequence[int] | np.ndarray, values: Mapping[str, Any]) -> None:
        """Write some rows: every field at once, each with one entry per row (one row may be given as an int)."""
        rows = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        if set(values) != set(self.fields):
            raise ValueError(f"expected the fields {self.fields}, got {sorted(values)}")
        arrays = {name: self._fitting(name, values[name], len(rows)) for name in self.fields}
        self._commit(rows, arrays, DONE)

    def drop(self, row: int, name: str, reason: str) -> None:
        """Give up on one row: it goes to the table of skipped sources, and the published file closes the gap."""
        columns = {"partial/name": name, "partial/reason": reason}
        arrays = {key: encode_text([text]).astype(self._plan[key].dtype) for key, text in columns.items()}
        self._commit(np.array([row]), arrays, DROPPED)

    @property
    def written(self) -> int:
        """Number of rows that have been written, in this run or before."""
        return int((self._state == DONE).sum())

    def skipped(self) -> list[tuple[str, str]]:
        """Name and reason of each row that was dropped, in this run or before."""
        rows = np.flatnonzero(self._state == DROPPED).tolist()
        if not rows:
            return []
        columns = [self._columns[name] for name in ("partial/name", "partial/reason")]
        texts = [decode_text(np.array([c.read(self._fd, row, row + 1)[0] for row in rows])) for c in columns]
        return list(zip(*texts, strict=True))

    def discard(self) -> None:
        """Give the work up: remove what was written so far. An output that was there before stays."""
        partial_path(self.path).unlink()
        self.close()

    def finish(self) -> None:
        """Publish the artifact. Raises OutputError when it cannot be written; the rows then stay for another try."""
        if self.complete:
            return
        if len(self.pending()):
            raise ValueError(f"{len(self.pending())} rows are still pending")
        sources = {name: self._source(name) for name in self.fields}
        if "skipped/name" in self.schema.fields:
            skipped = self.skipped()
            sources |= {
                "skipped/name": Source.of([name for name, _ in skipped]),
                "skipped/reason": Source.of([reason for _, reason in skipped]),
            }
        try:
            with (
                output_errors(self.path),
                self._finishing.open("w+b", buffering=0) as file,
                self.report.task(f"writing {self.path.name}", len(self.fields) * self.written) as task,
            ):
                sources |= {name: _counted(sources[name], task) for name in self.fields}
                write_file(file.fileno(), self.schema.name, sources, self.provenance, self.attrs)
                publish(file.fileno(), self._finishing, self.path)
                partial_path(self.path).unlink()
        finally:
            self._finishing.unlink(missing_ok=True)
        self.complete = True

    def close(self) -> None:
        """Let go of the output; rows that are written stay for the next time."""
        unlock(self._fd)

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fitting(self, name: str, value: Any, rows: int) -> np.ndarray:
        column = self._plan[name]
        array = as_array([value] if isinstance(value, str) else value)
        if column.dtype.kind == "S" and array.dtype.kind != "S":
            raise ValueError(f"'{name}' takes text, not {array.dtype}")
        if array.shape != (rows, *column.shape[1:]):
            raise ValueError(f"'{name}' needs shape {(rows, *column.shape[1:])}, got {array.shape}")
        return array.astype(column.dtype, casting="same_kind")

    def _commit(self, rows: np.ndarray, arrays: Mapping[str, np.ndarray], mark: int) -> None:
        if len(rows) == 0:
            return
        if rows.min() < 0 or rows.max() >= len(self._state):
            raise ValueError(f"rows {rows.min()} to {rows.max()} of {len(self._state)}")
        sums = _checksums(arrays, len(rows))
        marks = np.full(len(rows), mark, np.uint8)
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        with output_errors(self.path):
            for part in np.split(np.arange(len(rows)), breaks):
                for name, array in {**arrays, "partial/crc": sums, "partial/state": marks}.items():
                    self._columns[name].write(self._fd, int(rows[part[0]]), array[part[0] : part[-1] + 1])
        self._state[rows] = mark

    def _sound_rows(self) -> np.ndarray:
        """States of the rows found; a row whose bytes do not fit its checksum (after a power cut) is pending again."""
        state = self._columns["partial/state"].read(self._fd)
        sums = self._columns["partial/crc"].read(self._fd)
        for mark, names in ((DONE, self.fields), (DROPPED, ("partial/name", "partial/reason"))):
            widest = max(self._columns[name].row_bytes for name in names)
            step = max(1, (8 << 20) // widest)
            for start in range(0, len(state), step):
                part = slice(start, start + step)
                if (state[part] == mark).any():
                    arrays = {name: self._columns[name].read(self._fd, start, start + step) for name in names}
                    wrong = (state[part] == mark) & (_checksums(arrays, len(state[part])) != sums[part])
                    state[part][wrong] = PENDING
        state[state > DROPPED] = PENDING
        return state

    def _source(self, name: str) -> Source:
        """The kept rows of one column; text as narrow as it can be."""
        column, kept = self._columns[name], self._state == DONE

        def blocks() -> Iterator[np.ndarray]:
            for start, block in column.blocks(self._fd):
                yield block[kept[start : start + len(block)]]

        dtype = column.dtype
        if dtype.kind != "S":
            return Source((int(kept.sum()), *column.shape[1:]), dtype, blocks)
        width = max((int(np.char.str_len(block).max(initial=1)) for block in blocks()), default=1)
        narrow = np.dtype(f"S{width}")
        return Source((int(kept.sum()),), narrow, lambda: (block.astype(narrow) for block in blocks()))

    def _remove_if_empty(self) -> None:
        if os.fstat(self._fd).st_size == 0:
            partial_path(self.path).unlink(missing_ok=True)


def _counted(source: Source, task: Task) -> Source:
    def blocks() -> Iterator[np.ndarray]:
        for block in source.blocks():
            yield block
            task.advance(len(block))

    return replace(source, blocks=blocks)


def _checksums(arrays: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
    """CRC-32 of each row over all its fields, in the order of their names."""
    sums = np.zeros(rows, np.uint32)
    for name in sorted(arrays):
        flat = np.ascontiguousarray(arrays[name]).reshape(rows, -1).view(np.uint8)
        for row in range(rows):
            sums[row] = zlib.crc32(flat[row], int(sums[row]))
    return sums
