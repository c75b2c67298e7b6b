"""Reading artifacts: whole, of the right kind, unchanged since they were written, or an InputError."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from stages.artifact.check import BROKEN, check_attrs, check_fields, check_provenance, list_datasets
from stages.artifact.files import partial_path
from stages.artifact.layout import decode_text, file_digest, hash_blocks, read_blocks
from stages.artifact.meta import RESERVED, read_meta
from stages.artifact.schema import SCHEMAS
from stages.artifact.seal import check_seal
from stages.artifact.taste import LOOK, VERIFY, ready_taster, taste
from stages.errors import InputError
from stages.progress import Report, Silent, Task

__all__ = ["Artifact", "open_artifact", "reading", "take_file"]

REMAKE = "make it again or take another copy"


class Artifact:
    """An open, complete artifact, whose every byte was checked when it was opened.

    path, schema, version, digest: what it is. provenance: dict. attrs: its own attributes.
    count: rows (0 if it has none). names: dataset paths.
    """

    def __init__(self, path: Path, file: h5py.File):
        self.path = path
        self._file = file
        meta = _identify(path, file)
        self.schema: str = meta["schema"]
        self.version: int = meta["version"]
        self.state: str = meta["state"]
        self.digest: str = meta["digest"]
        self.provenance: dict = meta["provenance"]
        self.attrs: dict[str, Any] = {key: value for key, value in meta.items() if key not in RESERVED}
        self._datasets = list_datasets(file)
        schema = SCHEMAS[self.schema]
        check_fields(schema, self._datasets)
        check_attrs(schema, self.attrs)
        check_provenance(self.provenance)
        rows = [len(data) for name, data in self._datasets.items() if (field := schema.field(name)) and field.by_row]
        self.count: int = rows[0] if rows else 0
        self.names: tuple[str, ...] = tuple(self._datasets)
        self._sums = {name: _stated_sum(name, dataset) for name, dataset in self._datasets.items()}
        if self._manifest_digest() != self.digest:
            raise ValueError("its parts do not fit its digest")

    def __contains__(self, name: str) -> bool:
        return name in self._datasets

    def __getitem__(self, name: str) -> h5py.Dataset:
        """The dataset at a path; slicing it gives NumPy arrays. Raises InputError if there is none."""
        if name not in self._datasets:
            raise InputError(self.path, f"has no '{name}'", f"use a {self.schema} file that does")
        return self._datasets[name]

    def strings(self, name: str) -> list[str]:
        """A text dataset as a list."""
        return decode_text(self[name][:])

    def verify(self, report: Report = Silent(), most: float = math.inf) -> None:
        """Read the datasets, or as many as have no more than ``most`` bytes together, and compare them with the digest.

        Raises InputError when one differs.
        """
        chosen = []
        for name, dataset in self._datasets.items():
            if dataset.nbytes <= most:
                most -= dataset.nbytes
                chosen.append(name)
        rows = sum(len(self[name]) for name in chosen if self[name].ndim)
        with reading(self.path), report.task(f"verifying {self.path.name}", rows) as task:
            for name in chosen:
                if hash_blocks(_counted(read_blocks(self[name]), task)) != self._sums[name]:
                    raise ValueError(f"'{name}' does not fit its digest")

    def _manifest_digest(self) -> str:
        entries = {name: (data.dtype.str, list(data.shape), self._sums[name]) for name, data in self._datasets.items()}
        return file_digest(self.schema, self.version, str(self.provenance.get("recipe", "")), self.attrs, entries)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "Artifact":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _counted(blocks: Iterator[np.ndarray], task: Task) -> Iterator[np.ndarray]:
    for block in blocks:
        yield block
        task.advance(len(block) if block.ndim else 0)


def _stated_sum(name: str, dataset: h5py.Dataset) -> str:
    stated = dataset.attrs.get("sha256")
    if not isinstance(stated, str):
        raise ValueError(f"'{name}' has no SHA-256")
    return stated


def open_artifact(
    path: str | os.PathLike, schema: str | None = None, report: Report = Silent(), *, verify: bool = False
) -> Artifact:
    """Open a complete artifact for reading, of the named schema or of any; ``report`` hears how checking goes.

    With ``verify`` all of its data are compared with the digest before, in a process that may crash on them.
    Raises InputError when it is missing, a folder or a pipe, no HDF5, damaged, unfinished, of another schema, newer
    than this program, or has links, virtual data or sizes that no artifact has.
    """
    path = Path(path)
    with reading(path):
        if path.is_dir():
            fix = "make one of its pictures with sym3d prep" if schema == "sym3d.images" else "name a file in it"
            raise InputError(path, "is a folder, not an artifact", fix)
        if not path.exists():
            raise _missing(path)
        if not path.is_file():  # a named pipe would keep us waiting for somebody to write into it
            raise InputError(path, "is no regular file", "name a file that sym3d wrote")
        while (artifact := _open_checked(path, report, VERIFY if verify else LOOK)) is None:
            pass
        if schema is not None and artifact.schema != schema:
            artifact.close()
            what = f"is a {artifact.schema} file where a {schema} file is needed"
            raise InputError(path, what, "name another file")
        return artifact


def _open_checked(path: Path, report: Report, request: bytes) -> Artifact | None:
    """The artifact; None where, after it was checked, another file took its place."""
    with path.open("rb", buffering=0) as checked:
        ready_taster()
        check_seal(checked.fileno(), path, report)
        with report.task(f"verifying {path.name}", 1) as task:
            taste(checked.fileno(), path, request)
            task.advance()
        file = h5py.File(path, "r", locking=False)
        if os.path.sameopenfile(checked.fileno(), file.id.get_vfd_handle()):
            return take_file(path, file)
        file.close()
        return None


def take_file(path: Path, file: h5py.File) -> Artifact:
    """An open HDF5 file as an artifact, checked or not; what it raises where it is none, ``reading`` understands."""
    try:
        return Artifact(path, file)
    except BaseException:
        file.close()
        raise


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a damaged or hostile file makes HDF5 and its readers raise into an InputError of one line."""
    try:
        yield
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno:  # the system's own word, not HDF5's
            what, fix = f"cannot be read ({os.strerror(error.errno).lower()})", "check its permissions and its disk"
            raise InputError(path, what, fix) from error
        words = " ".join(str(error.args[0] if error.args else type(error).__name__).split())
        reason = "".join(letter if letter.isprintable() else "?" for letter in words)
        raise InputError(path, f"is damaged: {reason}", REMAKE) from error


def _missing(path: Path) -> InputError:
    if partial_path(path).exists():
        return InputError(path, "was never finished", "run the command that makes it again: it resumes")
    return InputError(path, "does not exist", "check the name")


def _identify(path: Path, file: h5py.File) -> dict[str, Any]:
    """Root attributes, once it is known that they are those of a complete artifact that this program can read."""
    if "schema" not in file.attrs or "version" not in file.attrs:
        raise InputError(path, "is HDF5, but not from sym3d", "name a file that sym3d wrote")
    meta = read_meta(file)
    schema, version = meta["schema"], meta["version"]
    if schema not in SCHEMAS:
        raise InputError(
            path, f"holds {schema!r}, which this sym3d does not know", "upgrade sym3d or name another file"
        )
    known = SCHEMAS[schema].version
    if type(version) is not int or version < 1:
        raise ValueError(f"version {version!r} is no version")
    if version > known:
        what = f"is version {version} of {schema}; this sym3d reads up to version {known}"
        raise InputError(path, what, "upgrade sym3d")
    if meta.get("state") != "complete":
        raise InputError(path, "is unfinished", "run the command that makes it again: it resumes")
    if not isinstance(meta.get("provenance"), dict) or not isinstance(meta.get("digest"), str):
        raise ValueError("it has no digest or provenance")
    return meta
