"""The seal: a SHA-256 of the whole file in its first 512 bytes, checked before HDF5 sees anything.

HDF5's own structures carry no checksums here, and one flipped bit in them can make the library loop or crash the
process instead of failing. Published files never change, so a seal over their bytes finds every such file first. The
512 bytes are an HDF5 user block, which every HDF5 reader skips.
"""

import hashlib
import os
import re
from pathlib import Path

import h5py

from stages.artifact.files import write_all
from stages.artifact.taste import VERIFY, taste
from stages.errors import InputError
from stages.progress import Report, Silent

__all__ = ["SEAL_BYTES", "check_seal", "write_seal"]

SEAL_BYTES = 512
SEAL = re.compile(rb"sym3d artifact\nsha256 ([0-9a-f]{64})\nbytes ([0-9]{1,18})\n\0*")
REMAKE = "take another copy or make it again"
CHUNK = 8 << 20  # bytes


def write_seal(fd: int) -> None:
    """Seal the finished file. Raises OSError."""
    text = f"sym3d artifact\nsha256 {_hash(fd)}\nbytes {os.fstat(fd).st_size}\n"
    write_all(fd, text.encode().ljust(SEAL_BYTES, b"\0"), 0)


def check_seal(fd: int, path: Path, report: Report = Silent()) -> None:
    """Raise InputError unless the open file is, to the byte, one that sym3d published. May raise OSError."""
    seal, size = SEAL.fullmatch(os.pread(fd, SEAL_BYTES, 0)), os.fstat(fd).st_size
    if seal and size < int(seal[2]):
        raise InputError(path, f"is cut short ({size} of {int(seal[2])} bytes)", REMAKE)
    if seal and size == int(seal[2]) and _hash(fd, path.name, report) == seal[1].decode():
        return
    if not h5py.is_hdf5(path):
        raise InputError(path, "is not an HDF5 file", "name a file that sym3d wrote")
    taste(fd, path, VERIFY)  # says what is wrong, if it is more than the seal
    raise InputError(path, "was changed after sym3d wrote it", REMAKE)


def _hash(fd: int, name: str = "", report: Report = Silent()) -> str:
    size, sha = os.fstat(fd).st_size - SEAL_BYTES, hashlib.sha256()
    os.lseek(fd, SEAL_BYTES, os.SEEK_SET)
    with open(fd, "rb", buffering=0, closefd=False) as file, report.task(f"checking {name}", -(-size // CHUNK)) as task:
        while chunk := file.read(CHUNK):
            sha.update(chunk)
            task.advance()
    return sha.hexdigest()
