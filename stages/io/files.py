"""Files that appear whole or not at all, under names that are safe on every system."""

import fcntl
import hashlib
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, TextIO

from stages.errors import OutputError
from stages.outputs import check_output, no_room

__all__ = [
    "file_stems",
    "hold_file",
    "hold_folder",
    "make_folder",
    "safe_stem",
    "temporary_folder",
    "within_folder",
    "write_file",
]

LONGEST_STEM = 80
IMAGE_SUFFIX = re.compile(r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|ppm|pgm|avif|jp2)(?:#(\d+))?$", re.IGNORECASE)


def make_folder(folder: Path) -> Path:
    """Create ``folder`` with its parents. Raises OutputError when that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(folder, _reason(error), "name a folder that can be written") from error
    return folder


@contextmanager
def within_folder(folder: Path) -> Iterator[None]:
    """Inside, ``folder`` is there. Folders that had to be made for it go away again where nothing was put into them."""
    made = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    make_folder(folder)
    try:
        yield
    finally:
        with suppress(OSError):
            for each in made:
                each.rmdir()


def write_file(path: Path, content: bytes) -> Path:
    """Write ``content`` beside ``path`` and move it into place, so that nobody ever sees half a file.

    Raises OutputError on a full disk or a missing permission; what was at ``path`` before is then still there.
    """
    check_output(path)
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
            if not _is_at(temporary, stream):  # while this one waited, it has become the other's result
                continue
            try:
                stream.truncate(0)
                yield stream
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            return


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """For libraries that write nothing but files. Raises OutputError where it cannot be made, or is full."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    except OSError as error:
        raise no_room(error) from error


@contextmanager
def hold_folder(folder: Path) -> Iterator[Callable[[], None]]:
    """Make ``folder`` and keep other processes from holding it: two of them would overwrite each other's files.

    Yields a check for before each write of a long run, whose folder may be moved away and begun again meanwhile: where
    there is no lock, it makes and holds the folder anew; where the lock is another's, it raises OutputError.

    Raises OutputError when another process holds it or it cannot be written; before the first step, not after many.
    """
    with _hold(folder / ".lock", folder) as check:
        yield check


@contextmanager
def hold_file(path: Path, inputs: Iterable[Path] = ()) -> Iterator[None]:
    """The same for a file that takes long to make. Its folder is made too. Raises UsageError for one of ``inputs``."""
    check_output(path, inputs)
    with _hold(path.with_name(f".{path.name}.lock"), path):
        yield


@contextmanager
def _hold(lock: Path, output: Path) -> Iterator[Callable[[], None]]:
    """The operating system forgets a lock together with its process, so that none survives a crash."""
    with within_folder(lock.parent):
        yield from _holding(lock, output)


def _holding(lock: Path, output: Path) -> Iterator[Callable[[], None]]:
    file = _take(lock, output)

    def check() -> None:
        nonlocal file
        if _is_at(lock, file):
            return
        if os.path.exists(lock):
            fix = "go on from where it was moved to, with --name"
            raise OutputError(output, f"was taken away, and another process began there ({lock.name} is its)", fix)
        file.close()
        file = _take(lock, output)

    try:
        yield check
    finally:
        with suppress(OSError):
            if _is_at(lock, file):
                lock.unlink()
        file.close()


def _take(lock: Path, output: Path) -> TextIO:
    make_folder(lock.parent)
    with ExitStack() as stack:
        try:
            while True:
                file = stack.enter_context(open(lock, "w"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Between open and lock another process may have ended and taken the name away.
                if _is_at(lock, file):
                    stack.pop_all()
                    return file
        except BlockingIOError as error:
            fix = "wait for it to end, or choose another output or --name"
            raise OutputError(output, f"another process is writing it (it holds {lock.name})", fix) from error
        except OSError as error:
            raise OutputError(output, f"cannot be written ({error.strerror})", "choose another output") from error


def _is_at(path: Path, file: IO) -> bool:
    """Whether an open file still has that name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except OSError:  # it may lie where nobody may look any more
        return False


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

    Files may be called after a stem, a dot and more ("ann.frontal.png"), and the sheets beside them "sheet": so no stem
    is another one, or "sheet", with a dot and more.
    """
    stems, whole, starts = [], {"sheet"}, {"sheet"}
    for row, name in enumerate(names):
        stem = safe_stem(name)
        if stem.lower() in starts or whole & _starts(stem):
            stem = stem.replace(".", "_")
        while stem.lower() in starts:
            stem = f"{stem}-{row}"
        whole.add(stem.lower())
        starts |= _starts(stem)
        stems.append(stem)
    return stems


def _starts(stem: str) -> set[str]:
    """In lower case, the stem and all of it before each of its dots."""
    parts = stem.lower().split(".")
    return {".".join(parts[: count + 1]) for count in range(len(parts))}


def _reason(error: OSError) -> str:
    return f"could not be written ({error.strerror or error})"
