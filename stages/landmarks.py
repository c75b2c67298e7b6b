"""Pictures of faces that come with their key points: which belong together, and the crop about the points."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stages.data.three_dfaw import (
    LIST,
    depth_sign,
    face_box,
    pair_files,
    place_points,
    read_list,
    read_points,
    split_of,
)
from stages.errors import InputError
from stages.io.crops import Box, reach
from stages.io.images import UnusableError
from stages.io.sources import Source, printable

__all__ = ["Faces", "pair_faces"]

FIX = "name the folder or zip that holds train_img, train_lm, valid_img and valid_lm"


@dataclass(frozen=True)
class Faces:
    """For each picture its points (66, 3), x, y, z in its own pixels, or None, and its split code; the sign of z."""

    points: tuple[np.ndarray | None, ...]
    splits: tuple[int, ...]
    sign: float

    def box(self, row: int, pixels: np.ndarray, zoom: tuple[float, float]) -> tuple[np.ndarray, Box, Box]:
        """The square about a picture's points: see `reach`, for a picture decoded ``zoom`` times smaller."""
        x0, y0, x1, y1 = face_box(self.points[row])
        return reach(pixels, (x0 / zoom[0], y0 / zoom[1], x1 / zoom[0], y1 / zoom[1]))

    def placed(self, row: int, box: Box, size: int) -> np.ndarray:
        """The key points (66, 3) in the crop: u, v in pixels and depth in metres."""
        return place_points(self.points[row], box, size, self.sign)


def pair_faces(source: Source, sums: Sequence[str | UnusableError]) -> tuple[Source, list[str | UnusableError], Faces]:
    """The pictures among a source's files, their sums, and what their files of points say.

    A picture without readable points has the reason in the place of its sum. Raises InputError when there is none.
    """
    names = [item.name for item in source.items]
    pairs = pair_files(names)
    if not pairs:
        raise InputError(printable(str(source.path)), "has no folder of pictures as 3DFAW has them", FIX)
    listed = {}
    for item in source.items:
        if item.name.rpartition("/")[2] == LIST:
            listed = read_list(source.read(item))
    points, kept = [], []
    for picture, file in pairs.items():
        try:
            points.append(_points(source, sums, file))
            kept.append(sums[picture])
        except UnusableError as error:
            points.append(None)
            kept.append(error)
    sign = depth_sign([found for found in points if found is not None])
    faces = Faces(tuple(points), tuple(split_of(names[row], listed) for row in pairs), sign)
    return replace(source, items=tuple(source.items[row] for row in pairs)), kept, faces


def _points(source: Source, sums: Sequence[str | UnusableError], file: int | None) -> np.ndarray:
    if file is None:
        raise UnusableError("no key points: there is no file of them")
    if isinstance(sums[file], UnusableError):
        raise UnusableError(f"no key points: {sums[file]}")
    try:
        return read_points(source.read(source.items[file]))
    except ValueError as error:
        raise UnusableError(f"no key points: {error}") from None
