"""What is to be inferred: every image of every input, in order, each read and cut when its turn comes."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from stages.artifact import Artifact, open_artifact
from stages.errors import InputError, UsageError
from stages.io.crops import Box, Crop, crop_boxes, cut, resize_squares
from stages.io.images import UnusableError, decode
from stages.io.sources import Item, Source, printable
from stages.photographs import open_photographs, read_item
from stages.predict import split_rows
from stages.progress import Report

__all__ = ["Entry", "Inputs", "Square", "gather", "require_one"]

ARTIFACTS = (b"sym3d artifact", b"\x89HDF\r\n\x1a\n")  # how ours start, and any HDF5, which open_artifact judges


@dataclass(frozen=True)
class Square:
    """uint8 (S, S, 3), the SHA-256 of its source's content, and its place there in the source's upright pixels."""

    pixels: np.ndarray
    sha256: str
    box: Box | None


@dataclass(frozen=True)
class Entry:
    """One image to be: ``load()`` raises UnusableError where there is none, ``truth()`` is depth (S, S) in metres.
    ``placed``: its square will have a box."""

    name: str
    load: Callable[[], Square]
    truth: Callable[[], np.ndarray] | None = None
    placed: bool = True


@dataclass(frozen=True)
class Inputs:
    """entries: in order. parents: what they come from, for the provenance. photographs: the sources among these."""

    entries: tuple[Entry, ...]
    parents: tuple[Artifact | dict, ...]
    photographs: tuple[Source, ...]


def gather(
    paths: Sequence[Path],
    *,
    size: int,
    crop: Crop,
    split: str,
    every: bool,
    exclude: Path,
    stack: ExitStack,
    report: Report,
) -> Inputs:
    """Every image of images, folders, zips, lists of paths (.txt) and sym3d.images files, of which ``split`` is taken.

    ``every`` makes an entry of each face in a photograph, called name#1, name#2, …, the largest first; for that all of
    them are searched now. Otherwise photographs are read, but not decoded. What is opened stays so until ``stack``
    ends. Raises InputError when an input is missing or damaged, or a data set has no ``size`` pixels; UsageError for
    ``every`` with a crop that finds nothing.
    """
    if every and not crop.finds:
        raise UsageError(f"--all with --crop {crop.text}", "this crop looks for nothing", "use --crop face or cat")
    entries, parents, photographs = [], [], []
    for path in paths:
        if _is_artifact(path):
            images = stack.enter_context(open_artifact(path, "sym3d.images", report))
            parents.append(images)
            entries += _data_set(images, split, size)
        else:
            source = stack.enter_context(open_photographs(path, exclude))
            photographs.append(source)
            parents.append({"name": printable(path.name), "schema": "photographs", "digest": _digest(source, report)})
            if every:
                with report.task("search", total=len(source.items)) as task:
                    for item in source.items:
                        entries += _faces(source, item, crop, size)
                        task.advance()
            else:
                entries += [Entry(item.name, partial(_square, source, item, crop, size)) for item in source.items]
    return Inputs(tuple(entries), tuple(parents), tuple(photographs))


def require_one(entries: Sequence[Entry], first: Path) -> None:
    """Raises InputError when not one image can be used, before anything is written."""
    reasons = []
    for entry in entries:
        try:
            entry.load()
            return
        except UnusableError as error:
            reasons.append(str(error))
    if len(entries) == 1:
        raise InputError(printable(str(first)), reasons[0], _advice(reasons[0]))
    what = f"none of its {len(entries)} files can be used; the first ({entries[0].name}): {reasons[0]}"
    raise InputError(printable(str(first)), what.replace(";", ","), _advice(reasons[0]))


def _advice(reason: str) -> str:
    return "try --crop center" if reason.endswith("face found") else "give it photographs"


# -- data sets --------------------------------------------------------------------------------------------------------


def _data_set(images: Artifact, split: str, size: int) -> Iterator[Entry]:
    pictures, names, sums = images["image"], images.strings("name"), images.strings("sha256")
    truth = images["depth"] if "depth" in images else None  # noqa: SIM401 (an artifact is no dict)
    boxes = images["box"][:] if "box" in images else None

    def load(row: int) -> Square:
        return Square(pictures[row], sums[row], None if boxes is None else tuple(boxes[row].tolist()))

    for row in split_rows(images, split, size).tolist():
        yield Entry(names[row], partial(load, row), truth and partial(truth.__getitem__, row), boxes is not None)


def _is_artifact(path: Path) -> bool:
    if not path.is_file():  # a pipe would wait for a writer
        return False
    try:
        with path.open("rb") as file:
            return file.read(16).startswith(ARTIFACTS)
    except OSError:
        return False  # whoever opens it in earnest says why


# -- photographs ------------------------------------------------------------------------------------------------------


def _faces(source: Source, item: Item, crop: Crop, size: int) -> list[Entry]:
    """An entry for each face; one that says why there is none where there is none."""
    try:
        count = len(_read_boxes(source, item, crop, size)[2])
    except UnusableError:
        return [Entry(item.name, partial(_square, source, item, crop, size))]
    return [Entry(f"{item.name}#{at + 1}", partial(_square, source, item, crop, size, at)) for at in range(count)]


def _square(source: Source, item: Item, crop: Crop, size: int, at: int = 0) -> Square:
    content, pixels, boxes, scale = _read_boxes(source, item, crop, size)
    if at >= len(boxes):
        raise UnusableError("changed while it was read")
    square = resize_squares([cut(pixels, boxes[at], size)], size)[0]
    box = tuple(edge * factor for edge, factor in zip(boxes[at], scale * 2, strict=True))
    return Square(square, hashlib.sha256(content).hexdigest(), box)


def _read_boxes(
    source: Source, item: Item, crop: Crop, size: int
) -> tuple[bytes, np.ndarray, list[Box], tuple[float, float]]:
    """The file, its pixels, the boxes in these, and how much larger the file's own pixels count, across and down."""
    content = read_item(source, item)
    pixels, (width, height) = decode(content, crop.decoded_side(size))
    return content, pixels, crop_boxes(pixels, crop), (width / pixels.shape[1], height / pixels.shape[0])


def _digest(source: Source, report: Report) -> str:
    """SHA-256 over all names and contents, so that another set of photographs is never taken for this one."""
    total = hashlib.sha256()
    with report.task("reading", total=len(source.items)) as task:
        for item in source.items:
            try:
                content = hashlib.sha256(read_item(source, item)).hexdigest()
            except UnusableError as error:
                content = str(error)
            total.update(f"{item.name}\0{content}\0".encode())
            task.advance()
    return total.hexdigest()
