"""Files that appear whole or not at all, under names that are safe on every system."""

import fcntl
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from stages.errors import OutputError

__all__ = ["file_stems", "hold_file", "hold_folder", "make_folder", "safe_stem", "write_file"]

LONGEST_STEM = 80
IMAGE_SUFFIX = re.compile(r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|ppm|pgm|avif|jp2)(?:#(\d+))?$", re.IGNORECASE)


def make_folder(folder: Path) -> Path:
    """Create ``folder`` with its parents. Raises OutputError when that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(folder, _reason(error), "name a folder that can be written") from error
    return folder


def write_file(path: Path, content: bytes) -> Path:
    """Write ``content`` beside ``path`` and move it into place, so that nobody ever sees half a file.

    Raises OutputError on a full disk or a missing permission; what was at ``path`` before is then still there.
    """
    try:
        with _temporary(path) as stream:
            stream.write(content)
            stream.flush()
            os.replace(stream.name, path)
    except OSError as error:
        raise OutputError(path, _reason(error), "free some space or choose another output folder") from error
    return path


@contextmanager
def _temporary(path: Path) -> Iterator[BinaryIO]:
    """An empty file beside ``path``, for this process alone, to be moved away. Its name is always the same, so that the
    next try uses up what a kill leaves behind; a second process waits for the first."""
    temporary = path.with_name(f".{path.name}.tmp")
    while True:
        with open(temporary, "ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            try:
                ours = os.path.samestat(os.stat(temporary), os.fstat(stream.fileno()))
            except FileNotFoundError:
                ours = False
            if not ours:  # while this one waited, it has become the other's result
                continue
            try:
                stream.truncate(0)
                yield stream
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            return


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Make ``folder`` and keep other processes from holding it: two of them would overwrite each other's files.

    Raises OutputError when another process holds it or it cannot be written; before the first step, not after many.
    """
    make_folder(folder)
    with _hold(folder / ".lock", folder):
        yield


@contextmanager
def hold_file(path: Path) -> Iterator[None]:
    """The same for a file that takes long to make. Its folder is made too."""
    make_folder(path.parent)
    with _hold(path.with_name(f".{path.name}.lock"), path):
        yield


@contextmanager
def _hold(lock: Path, output: Path) -> Iterator[None]:
    """The operating system forgets a lock together with its process, so that none survives a crash."""
    with ExitStack() as stack:
        try:
            while True:
                file = stack.enter_context(open(lock, "w"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Between open and lock another process may have ended and taken the name away.
                with suppress(FileNotFoundError):
                    if os.fstat(file.fileno()).st_ino == os.stat(lock).st_ino:
                        break
        except BlockingIOError as error:
            fix = "wait for it to end, or choose another output or --name"
            raise OutputError(output, f"another process is writing it (it holds {lock.name})", fix) from error
        except OSError as error:
            raise OutputError(output, f"cannot be written ({error.strerror})", "choose another output") from error
        try:
            yield
        finally:
            with suppress(OSError):
                lock.unlink()


def safe_stem(name: str) -> str:
    """A file stem made of [A-Za-z0-9._-] for any item name, the same every time.

    An image suffix goes, of "cats.jpg#2" the number stays ("cats-2"); folders are joined by underscores and accents
    fall away. Where anything else had to be replaced or cut, eight digits of the name's hash follow, so that two
    different names do not meet: "cats/tom.jpg" → "cats_tom", "猫.png" → "item-1c9f…".
    """
    bare = IMAGE_SUFFIX.sub(lambda found: f"-{found[1]}" if found[1] else "", name)
    joined = "_".join(part for part in re.split(r"[/\\]+", bare) if part not in ("", ".", ".."))
    joined = joined.replace(" ", "_")
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", unicodedata.normalize("NFKD", joined)).strip("._-")[:LONGEST_STEM]
    if stem and stem == joined:
        return stem
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{stem or 'item'}-{digest}"


def file_stems(names: Sequence[str]) -> list[str]:
    """One safe stem per name, all different even where case does not count: a repeated one gets its row number.

    No item is called "sheet", nor "sheet." and more: those are the sheets beside them.
    """
    stems, taken = [], set()
    for row, name in enumerate(names):
        stem = safe_stem(name)
        if stem.lower().split(".")[0] == "sheet":
            stem = f"item-{stem}"
        while stem.lower() in taken:
            stem = f"{stem}-{row}"
        taken.add(stem.lower())
        stems.append(stem)
    return stems


def _reason(error: OSError) -> str:
    return f"could not be written ({error.strerror or error})"
