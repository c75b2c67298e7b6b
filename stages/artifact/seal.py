"""The seal: a SHA-256 of the whole file in its first 512 bytes, checked before HDF5 sees anything.

HDF5's own structures carry no checksums here, and one flipped bit in them can make the library loop or crash the
process instead of failing. Published files never change, so a seal over their bytes finds every such file first. The
512 bytes are an HDF5 user block, which every HDF5 reader skips.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py

from stages.artifact.files import write_all
from stages.errors import InputError
from stages.progress import Report, Silent

__all__ = ["SEAL_BYTES", "check_seal", "write_seal"]

SEAL_BYTES = 512
SEAL = re.compile(rb"sym3d artifact\nsha256 ([0-9a-f]{64})\nbytes ([0-9]{1,18})\n\0*")
DIAGNOSIS_SECONDS = 20
CHUNK = 8 << 20  # bytes


def write_seal(fd: int) -> None:
    """Seal the finished file. Raises OSError."""
    text = f"sym3d artifact\nsha256 {_hash(fd)}\nbytes {os.fstat(fd).st_size}\n"
    write_all(fd, text.encode().ljust(SEAL_BYTES, b"\0"), 0)


def check_seal(path: Path, report: Report = Silent()) -> None:
    """Raise InputError unless the file is, to the byte, one that sym3d published. May raise OSError."""
    with path.open("rb", buffering=0) as file:
        seal = SEAL.fullmatch(file.read(SEAL_BYTES))
        size = os.fstat(file.fileno()).st_size
        if seal and size < int(seal[2]):
            raise InputError(
                path, f"is cut short ({size} of {int(seal[2])} bytes)", "take another copy or make it again"
            )
        if seal and size == int(seal[2]) and _hash(file.fileno(), path.name, report) == seal[1].decode():
            return
    if not h5py.is_hdf5(path):
        raise InputError(path, "is not an HDF5 file", "name a file that sym3d wrote")
    raise InputError(path, *_diagnose(path))


def _hash(fd: int, name: str = "", report: Report = Silent()) -> str:
    size, sha = os.fstat(fd).st_size - SEAL_BYTES, hashlib.sha256()
    os.lseek(fd, SEAL_BYTES, os.SEEK_SET)
    with open(fd, "rb", buffering=0, closefd=False) as file, report.task(f"checking {name}", -(-size // CHUNK)) as task:
        while chunk := file.read(CHUNK):
            sha.update(chunk)
            task.advance()
    return sha.hexdigest()


def _diagnose(path: Path) -> tuple[str, str]:
    """What is wrong with an unsealed file, found out in a process of its own, since looking may crash it."""
    package_root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-m", "stages.artifact.diagnose", str(path.resolve())]
    environment = {**os.environ, "PYTHONPATH": package_root}
    try:
        run = subprocess.run(command, capture_output=True, timeout=DIAGNOSIS_SECONDS, env=environment)
        what, fix = json.loads(run.stdout)
        return str(what), str(fix)
    except (OSError, subprocess.SubprocessError, ValueError):
        return "is damaged", "take another copy or make it again"
