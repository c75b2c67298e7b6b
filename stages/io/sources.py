"""Where photographs come from: a folder, a zip, or a list of paths.

All three become the same thing: items in a fixed order, each with a name that is safe to print, and a way to read
one. A file that cannot be had is an item with a problem, never an exception that ends the run.
"""

import os
import stat
import threading
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from stages.errors import InputError

from .images import UnusableError

__all__ = ["LARGEST_FILE", "Item", "Source", "open_source", "printable"]

LARGEST_FILE = 2**28  # bytes of one image file, also after unzipping
LONGEST_LIST = 2**26  # bytes
MOST_LINES = 10**6
LONGEST_PATH = 2**15  # bytes; more than any system takes
DEEPEST = 100  # folders in each other
JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini"})  # what systems leave beside photographs, lower case


@dataclass(frozen=True)
class Item:
    """One candidate. ``name`` is printable, not necessarily unique; ``problem`` says why it cannot even be read."""

    name: str
    handle: Path | zipfile.ZipInfo
    problem: str = ""


@dataclass(frozen=True)
class Source:
    """``read(item)`` gives the bytes of one file and raises UnusableError; it may be called from any thread."""

    path: Path
    items: tuple[Item, ...]
    read: Callable[[Item], bytes]


@contextmanager
def open_source(path: Path, exclude: Collection[Path] = ()) -> Iterator[Source]:
    """The candidates of a folder (nested, sorted, hidden files left out), a zip (read in place) or a list file.

    Args:
        path: folder; zip; or text file with one path per line, relative to the folder that the list is in.
        exclude: files and folders that are no candidates, such as the result that is written into the same folder.

    Raises:
        InputError: nothing there, not one of the three, or no file in it.
    """
    try:
        kind = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise InputError(printable(str(path)), _reason(error), "name a folder, a zip or a list of paths") from None
    if stat.S_ISDIR(kind):
        yield _filled(Source(path, _walk(path, {_real(p) for p in exclude}), _read_file), "folder holds no file")
    elif not stat.S_ISREG(kind):
        raise InputError(printable(str(path)), "is not a regular file", "name a folder, a zip or a list of paths")
    elif _is_zip(path):
        with _zip(path) as archive:
            lock = threading.Lock()  # ZipFile counts its open members without one
            again = _overlapping(archive)
            problem = "damaged in the zip: overlaps another file"
            items = tuple(
                Item(printable(info.filename), info, problem if info.header_offset in again else "")
                for info in _members(archive)
            )

            def read(item: Item) -> bytes:
                with lock:
                    return _read_member(archive, item.handle)

            yield _filled(Source(path, items, read), "zip holds no file")
    else:
        yield _filled(Source(path, _lines(path), _read_file), "list names no file")


def printable(name: str) -> str:
    """``name`` with everything that a terminal or a UTF-8 file could choke on written as an escape."""
    text = name.encode("utf-8", "surrogateescape" if _from_bytes(name) else "backslashreplace")
    text = text.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _from_bytes(name: str) -> bool:
    """True where every lone surrogate stands for a byte of a file name that is not UTF-8 (PEP 383)."""
    return all(not "\ud800" <= c <= "\udfff" or "\udc80" <= c <= "\udcff" for c in name)


def _filled(source: Source, complaint: str) -> Source:
    if not source.items:
        raise InputError(printable(str(source.path)), complaint, "give it some photographs")
    return source


def _hidden(parts: Collection[str]) -> bool:
    return any((part.startswith(".") and part not in (".", "..")) or part.lower() in JUNK for part in parts)


def _real(path: Path) -> str:
    return os.path.realpath(path)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, PermissionError):
        return "may not be read (no permission)"
    return getattr(error, "strerror", None) or printable(str(error))


# -- folders ----------------------------------------------------------------------------------------------------------


def _walk(root: Path, exclude: Collection[str]) -> tuple[Item, ...]:
    home = _real(root)
    found: list[tuple[list[bytes], Item]] = []

    def add(path: str, problem: str = "") -> None:
        relative = os.path.relpath(path, root)
        item = Item(printable(relative), Path(path), problem)
        found.append(([os.fsencode(part) for part in relative.split(os.sep)], item))

    def unreadable(error: OSError) -> None:
        if os.path.samefile(error.filename, root):
            raise InputError(printable(str(root)), _reason(error), "make the folder readable") from None
        add(error.filename, f"unreadable folder: {_reason(error)}")

    for folder, folders, files in os.walk(root, onerror=unreadable):
        folders[:] = [
            name for name in folders if not _hidden([name]) and _real(os.path.join(folder, name)) not in exclude
        ]
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                add(os.path.join(folder, name), "link to a folder: not followed")
        if len(Path(folder).relative_to(root).parts) == DEEPEST:  # walk is recursive
            for name in folders:
                add(os.path.join(folder, name), f"folder in more than {DEEPEST} others: not looked into")
            folders.clear()
        for name in files:
            path = os.path.join(folder, name)
            target = _real(path)
            if _hidden([name]) or target in exclude:
                continue
            outside = os.path.islink(path) and os.path.commonpath([home, target]) != home
            add(path, "link that leads out of the folder: not followed" if outside else "")
    return tuple(item for _, item in sorted(found, key=lambda entry: entry[0]))


def _read_file(item: Item) -> bytes:
    try:
        # O_NONBLOCK: a named pipe must not make us wait for somebody to write into it.
        descriptor = os.open(item.handle, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as stream:
            state = os.fstat(stream.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise UnusableError("not a file")
            if state.st_size > LARGEST_FILE:
                raise UnusableError(_too_large())
            return _bounded(stream)
    except (OSError, ValueError) as error:
        raise UnusableError(f"unreadable file: {_reason(error)}") from None


def _bounded(stream) -> bytes:
    content = stream.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise UnusableError(_too_large())
    return content


def _too_large() -> str:
    return f"too large: more than {LARGEST_FILE // 2**20} MiB"


# -- zips -------------------------------------------------------------------------------------------------------------


def _is_zip(path: Path) -> bool:
    try:
        with open(path, "rb") as stream:
            return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06") or zipfile.is_zipfile(stream)
    except OSError as error:
        raise InputError(printable(str(path)), _reason(error), "make the file readable") from None


def _zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # zipfile lets several kinds through on damaged archives
        raise InputError(printable(str(path)), f"is a damaged zip ({printable(str(error))})", "pack it anew") from None


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    named = (info for info in archive.infolist() if info.filename and not info.is_dir())
    members = [info for info in named if not _hidden(info.filename.split("/"))]
    return sorted(members, key=lambda info: (info.filename.split("/"), info.header_offset))


def _overlapping(archive: zipfile.ZipFile) -> set[int]:
    """Where files begin that share bytes with the next: a small zip of very many such would keep us unpacking for days.

    Python looks itself from 3.11.8 and 3.12.2 on.
    """
    entries = sorted((info.header_offset, len(info.orig_filename), info.compress_size) for info in archive.infolist())
    header = 30  # bytes, without the name
    return {start for (start, name, size), (after, *_) in pairwise(entries) if start + header + name + size > after}


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Whatever size the archive claims, no more than LARGEST_FILE bytes are ever unpacked."""
    if info.file_size > LARGEST_FILE:
        raise UnusableError(_too_large())
    if info.flag_bits & 1:
        raise UnusableError("encrypted")
    try:
        with archive.open(info) as stream:
            return _bounded(stream)
    except UnusableError:
        raise
    except Exception as error:  # as in _zip
        raise UnusableError(f"damaged in the zip: {printable(str(error))}") from None


# -- lists ------------------------------------------------------------------------------------------------------------


def _lines(path: Path) -> tuple[Item, ...]:
    try:
        with open(path, "rb") as stream:
            content = stream.read(LONGEST_LIST + 1)
    except OSError as error:
        raise InputError(printable(str(path)), _reason(error), "make the file readable") from None
    if b"\0" in content:
        raise InputError(printable(str(path)), "is no folder, zip or list of paths", "put it into a folder")
    lines = [line.strip(b"\r") for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    if len(content) > LONGEST_LIST or len(lines) > MOST_LINES:
        what = f"is longer than a list may be ({MOST_LINES:,} lines, {LONGEST_LIST // 2**20} MiB)"
        raise InputError(printable(str(path)), what, "split it, or name their folder")
    if any(len(line) > LONGEST_PATH for line in lines):
        raise InputError(printable(str(path)), "has a line too long for a path", "write one path a line")
    names = [os.fsdecode(line) for line in lines]
    return tuple(Item(printable(name), path.parent / name) for name in names)
