"""The photographs that a prediction was made from: opened, found again by their content, and as textures."""

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stages.artifact import Artifact
from stages.core.texture import photo_texture
from stages.errors import InputError
from stages.io.images import UnusableError, decode
from stages.io.sources import LARGEST_FILE, Item, Source, open_source, printable

__all__ = ["LARGEST_TEXTURE", "Photographs", "check_box", "open_photographs", "place_of", "read_item", "texture_from"]

LISTS = (".txt", ".lst")
LARGEST_TEXTURE = 1024  # texels, side
AROUND = 0.5  # of the crop's side on each side: what a turned surface may reach over


@contextmanager
def open_photographs(path: Path, exclude: Path | None = None) -> Iterator[Source]:
    """One image as a source of one item; a folder, a zip or a list of paths as ``open_source`` has them."""
    if path.is_file() and path.suffix.lower() not in LISTS and not zipfile.is_zipfile(path):
        yield Source(path, (Item(printable(path.name), path),), lambda item: _read_photograph(item.handle))
    else:
        with open_source(path, exclude=[exclude] if exclude else []) as source:
            yield source


def _read_photograph(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UnusableError(f"too large: more than {LARGEST_FILE // 2**20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise UnusableError(f"unreadable file: {error.strerror}") from None


def read_item(source: Source, item: Item) -> bytes:
    """The content of a file. Raises UnusableError with the reason when there is none."""
    if item.problem:
        raise UnusableError(item.problem)
    return source.read(item)


class Photographs:
    """Finds the photographs of a prediction's rows by the SHA-256 of their content, whatever they are called now."""

    def __init__(self, sources: Sequence[Source]):
        self._unread = [(source, item) for source in sources for item in source.items]
        self._found: dict[str, tuple[Source, Item]] = {}

    def pixels(self, name: str, sha256: str, *, alpha: bool = False) -> np.ndarray:
        """uint8 H×W×3, upright, at full size, of the row of that name and content; ``alpha`` as in `decode`.

        Raises InputError when none of the files has this content.
        """
        if not self.holds(sha256, name):
            raise InputError(name, "its photograph is not there, or has changed", "name the file that was inferred")
        try:
            return decode(read_item(*self._found[sha256]), alpha=alpha)[0]
        except UnusableError as error:
            raise InputError(name, f"its photograph: {error}", "name the file that was inferred") from None

    def holds(self, sha256: str, name: str = "") -> bool:
        """True where one of the files has this content; those called ``name`` are looked at first."""
        self._unread.sort(key=lambda pair: pair[1].name in (name, name.rpartition("#")[0]))  # popped from the end
        while sha256 not in self._found and self._unread:
            source, item = self._unread.pop()
            try:
                self._found.setdefault(hashlib.sha256(read_item(source, item)).hexdigest(), (source, item))
            except UnusableError:
                continue  # a damaged file among them is nobody's photograph
        return sha256 in self._found


def texture_from(photographs: Photographs, prediction: Artifact, row: int) -> np.ndarray:
    """The texture of one row's mesh from its photograph, (S, S, 3) uint8, S the crop's own pixels up to 1024.

    Raises InputError when the prediction does not say where its rows are from, or the photograph is not there.
    """
    name, content, box = place_of(prediction, row)
    pixels = photographs.pixels(name, content)
    check_box(name, box, pixels)
    part, frame = cut_around(pixels, box)
    maps = {field: torch.from_numpy(prediction[field][row]) for field in ("canonical_depth", "view", "shading")}
    confidence = torch.from_numpy(prediction["confidence"][row]) if "confidence" in prediction else None
    size = max(2 * len(maps["canonical_depth"]), min(round(frame[2] - frame[0]), LARGEST_TEXTURE))
    fallback, fov = _unit(prediction["canonical_image"][row]), float(prediction.attrs["fov"])
    try:
        texture = photo_texture(_unit(part), frame, *maps.values(), fallback, confidence, fov=fov, size=size)
    except ValueError as error:
        raise InputError(name, str(error), "infer it again") from error
    return (texture.permute(1, 2, 0) * 255).round().byte().numpy()


def place_of(prediction: Artifact, row: int) -> tuple[str, str, tuple[float, ...]]:
    """Name, SHA-256 and box of one row. Raises InputError when the prediction does not hold them."""
    if "box" not in prediction or "sha256" not in prediction:
        what = "does not say where its images are in which photographs"
        raise InputError(prediction.path, what, "infer photographs, or choose another --texture")
    return (
        prediction.strings("name")[row],
        prediction.strings("sha256")[row],
        tuple(prediction["box"][row].tolist()),
    )


def check_box(name: str, box: Sequence[float], pixels: np.ndarray) -> None:
    """Raises InputError unless the box, of the item of that name, has an area and lies in the picture H×W×3."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= width + 1 and 0 <= y0 < y1 <= height + 1):  # decoded smaller, it may end a pixel further
        what = f"its box {tuple(box)} is not inside its photograph of {width}×{height} pixels"
        raise InputError(name, what, "infer it again")


def cut_around(pixels: np.ndarray, box: Sequence[float]) -> tuple[np.ndarray, tuple[float, ...]]:
    """The part of a picture uint8 H×W×3 around the box x0, y0, x1, y1 and where the box lies in that part.

    A large part is shrunk by a whole number, so that the box keeps 1 to 2 times LARGEST_TEXTURE pixels.
    """
    x0, y0, x1, y1 = box
    more = AROUND * max(x1 - x0, y1 - y0)
    left, top = max(0, int(x0 - more)), max(0, int(y0 - more))
    part = pixels[top : int(y1 + more) + 1, left : int(x1 + more) + 1]
    factor = max(1, int(max(x1 - x0, y1 - y0)) // LARGEST_TEXTURE)
    if factor > 1:
        part = np.asarray(Image.fromarray(part).reduce(factor))
    return part, tuple((edge - start) / factor for edge, start in zip(box, (left, top) * 2, strict=True))


def _unit(pixels: np.ndarray) -> torch.Tensor:
    """uint8 (H, W, 3) → float (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 255
