"""Writing an artifact in one go."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from stages.artifact.check import check_attrs, check_fields
from stages.artifact.files import Sink, lock_partial, output_errors, partial_path, publish, unlock
from stages.artifact.layout import create, encode_text, file_digest, hash_blocks
from stages.artifact.meta import plain, write_meta
from stages.artifact.schema import SCHEMAS
from stages.artifact.seal import SEAL_BYTES, write_seal
from stages.interrupt import interrupts_later

__all__ = ["Source", "as_array", "copy_artifact", "write_artifact", "write_file"]


@dataclass(frozen=True)
class Source:
    """An array to be written that need not be in memory: ``blocks()`` yields it in pieces along its first axis."""

    shape: tuple[int, ...]
    dtype: np.dtype
    blocks: Callable[[], Iterable[np.ndarray]]

    @classmethod
    def of(cls, value: Any) -> "Source":
        array = as_array(value)
        return cls(array.shape, array.dtype, lambda: [array])


def write_artifact(
    path: str | os.PathLike,
    schema: str,
    arrays: Mapping[str, np.ndarray | list[str]],
    *,
    provenance: dict,
    attrs: dict | None = None,
) -> str:
    """Write a complete artifact, replacing what is at ``path`` only once everything is safely on disk.

    arrays: dataset path -> array, or list of strings. Returns the digest.
    Raises OutputError when it cannot be written (what was there stays, nothing is left behind) and ValueError when the
    arrays are not what the schema says, which is the caller's mistake.
    """
    sources = {name: Source.of(value) for name, value in arrays.items()}
    values = plain(attrs)
    with _appearing(Path(path)) as fd:
        return write_file(fd, schema, sources, provenance, values)


def copy_artifact(path: Path, copy: Path) -> None:
    """Give a complete artifact a second name, under which it stays when the first is replaced. Raises OutputError."""
    with _appearing(copy) as fd, path.open("rb") as source, os.fdopen(os.dup(fd), "wb") as target:
        target.truncate(0)
        shutil.copyfileobj(source, target)


@contextmanager
def _appearing(path: Path) -> Iterator[int]:
    """A descriptor to write to; what was written is at ``path`` at the end, and nothing of it when something fails."""
    partial = partial_path(path)
    fd = lock_partial(path)
    try:
        with output_errors(path):
            yield fd
            publish(fd, partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        unlock(fd)


def as_array(value: Any) -> np.ndarray:
    """A native, C-order array; lists of strings become fixed-width UTF-8."""
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return encode_text(value)
    array = np.asarray(value, order="C")
    if array.dtype.kind not in "buifS":
        raise ValueError(f"an artifact cannot hold {array.dtype}")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def write_file(fd: int, schema: str, sources: Mapping[str, Source], provenance: dict, attrs: dict) -> str:
    """Fill an open file with a complete artifact; returns the digest.

    Raises OSError, and ValueError for what the schema does not allow.
    """
    unknown = [name for name in sources if SCHEMAS[schema].field(name) is None]
    if unknown:
        raise ValueError(f"{schema} has no field {unknown}")
    check_fields(SCHEMAS[schema], sources)
    check_attrs(SCHEMAS[schema], attrs)
    os.ftruncate(fd, 0)
    sink = Sink(fd)
    entries: dict[str, tuple[str, list[int], str]] = {}
    try:
        with interrupts_later(), h5py.File(sink, "w", userblock_size=SEAL_BYTES) as file:
            for name, source in sorted(sources.items()):
                dataset = create(file, name, source.shape, source.dtype, SCHEMAS[schema].field(name))
                dataset.attrs["sha256"] = total = hash_blocks(_copying(dataset, source.blocks()))
                entries[name] = (source.dtype.str, list(source.shape), total)
            version = SCHEMAS[schema].version
            digest = file_digest(schema, version, str(provenance.get("recipe", "")), attrs, entries)
            head = {"schema": schema, "version": version, "state": "complete", "digest": digest}
            write_meta(file, {**head, "provenance": provenance, **attrs})
    finally:
        sink.check()
    write_seal(fd)
    return digest


def _copying(dataset: h5py.Dataset, blocks: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    """Pass blocks on while writing them into a dataset, one after another."""
    start = 0
    for block in blocks:
        if block.ndim == 0:
            dataset[()] = block
        elif block.size:
            dataset[start : start + len(block)] = block.view(dataset.dtype)  # marks text as UTF-8
            start += len(block)
        yield block
