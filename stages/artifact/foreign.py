"""Reading HDF5 files that sym3d did not write: named arrays only, copied out by a process that may crash.

Nothing vouches for such a file, and one flipped bit in HDF5's own structures can make the library loop or crash; so the
copying is done by a child with little memory and a time limit, which follows no link and calls no plug-in.
"""

import errno
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import h5py
import numpy as np

from stages.artifact.child import own_environment, own_module
from stages.errors import InputError
from stages.outputs import no_room

__all__ = ["file_sha256", "read_foreign"]

SECONDS = 180
FIX = "take another copy"
FULL = 74  # the child's exit status when its copies find no room


def file_sha256(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a regular file's bytes. Raises InputError when it cannot be read."""
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
        raise InputError(path, what, "check the name")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror or error})", "check the file") from error


def read_foreign(path: str | os.PathLike, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Those of the named datasets that the HDF5 file has, whole: numbers as stored, texts as fixed-width bytes.

    Raises InputError when it is no HDF5 file, when one of these is a link, a group, compressed by an unknown filter,
    kept outside the file or larger than the file can hold (or than a gigabyte in all), and when HDF5 gives up on it;
    OutputError when there is no room for temporary files.
    """
    path = Path(path)
    if not h5py.is_hdf5(path):
        raise InputError(path, "is not an HDF5 file", "name one that is")
    command = own_module("stages.artifact.foreign_copy", str(path.resolve()), *names)
    with _temporary_file() as copies:
        try:
            run = subprocess.run(
                command,
                stdout=copies,
                stderr=subprocess.PIPE,
                timeout=SECONDS,
                env=own_environment(),
            )
            if run.returncode == FULL:
                raise no_room(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            if run.returncode:
                raise InputError(path, *_complaint(run.stderr))
            copies.seek(0)
            found = json.loads(copies.readline())
            return {name: np.load(copies, allow_pickle=False) for name in found}
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise InputError(path, "is damaged", FIX) from error


def _temporary_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise no_room(error) from error


def _complaint(stderr: bytes) -> tuple[str, str]:
    """What the child said in its last line, if it lived to say it."""
    try:
        return str(json.loads(stderr.splitlines()[-1])), FIX
    except (ValueError, IndexError):
        return "is damaged", FIX
