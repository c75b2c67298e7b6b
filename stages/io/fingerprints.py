"""What the files of a source are, by their content: duplicates, and whether an earlier result still holds."""

import hashlib
from collections.abc import Sequence

from stages.progress import Report

from .images import UnusableError
from .sources import Item, Source, printable
from .threads import Threads, chunks

__all__ = ["fingerprint", "hash_all", "problems"]

CHUNK = 64  # files: one job of one thread


def hash_all(source: Source, threads: Threads, report: Report) -> list[str | UnusableError]:
    """SHA-256 of every file in hexadecimal, or why it cannot be read."""

    def hash_chunk(items: Sequence[Item]) -> list[str | UnusableError]:
        sums: list[str | UnusableError] = []
        for item in items:
            threads.check()
            try:
                if item.problem:
                    raise UnusableError(item.problem)
                sums.append(hashlib.sha256(source.read(item)).hexdigest())
            except UnusableError as error:
                sums.append(error)
        return sums

    sums: list[str | UnusableError] = []
    with report.task("reading", total=len(source.items)) as task:
        for part in threads.in_order(hash_chunk, chunks(source.items, CHUNK)):
            sums += part
            task.advance(len(part))
    return sums


def problems(items: Sequence[Item], sums: Sequence[str | UnusableError]) -> dict[int, str]:
    """Row → why it can be no picture: unreadable, or the same content as an earlier one."""
    found, first = {}, {}
    for row, (item, value) in enumerate(zip(items, sums, strict=True)):
        if isinstance(value, UnusableError):
            found[row] = str(value)
        elif value in first:
            found[row] = f"duplicate: same content as {first[value]}"
        else:
            first[value] = item.name
    return found


def fingerprint(source: Source, sums: Sequence[str | UnusableError]) -> dict[str, str]:
    """Names and contents of all files, as one digest: where it agrees, finished rows are still true."""
    digest = hashlib.sha256()
    for item, value in zip(source.items, sums, strict=True):
        digest.update(f"{item.name}\n{value}\n".encode())
    return {"name": printable(source.path.resolve().name), "digest": digest.hexdigest()}
