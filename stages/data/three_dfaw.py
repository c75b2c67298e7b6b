"""The files of the 3DFAW challenge (Jeni et al., 2016): pictures of faces, each with 66 points in three dimensions.

Its folders are ``<part>_img`` and ``<part>_lm``, part being train, valid or test: ``valid_img/NAME.jpg`` goes with
``valid_lm/NAME_lm.csv``. Any extension will do, and ``_lm`` at the end of the name may be missing. A file of points has
a line ``x,y,z`` for each, in pixels of the picture; blanks may part the numbers, and other lines are passed over.
``list_valid_test.txt``, from DepthNet's authors, has lines ``NAME,valid|test,…`` for the pictures of ``valid_img``.
"""

import math
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from stages.core.camera import FOV

__all__ = [
    "LIST",
    "WIDE",
    "depth_sign",
    "face_box",
    "pair_files",
    "place_points",
    "read_list",
    "read_points",
    "split_of",
]

LIST = "list_valid_test.txt"
POINTS = 66
WIDE = 8 / 7  # the box about the points, so much larger: the paper's authors widened their tight crop by that
NOSE, EARS = 30, (0, 16)
TRAIN, VALIDATION, TEST = 0, 1, 2
FARTHEST = 1e6  # pixels: no picture is as large
LARGEST = 2**16  # bytes of a file of points


def pair_files(names: Sequence[str]) -> dict[int, int | None]:
    """Place of each picture among the names → that of its points, or None; all other files are left out."""
    points = {key: place for place, name in enumerate(names) if (key := _key(name, "_lm"))}
    return {place: points.get(key) for place, name in enumerate(names) if (key := _key(name, "_img"))}


def _key(name: str, kind: str) -> tuple[str, str, str] | None:
    """(folder above, part, name) of a file in a folder ``<part><kind>``."""
    path = PurePosixPath(name)
    if not path.parent.name.endswith(kind):
        return None
    stem = path.stem.removesuffix("_lm") if kind == "_lm" else path.stem
    return str(path.parent.parent), path.parent.name.removesuffix(kind), stem


def read_points(content: bytes) -> np.ndarray:
    """x, y, z (66, 3) of a file. Raises ValueError when these are not 66 lines of three numbers."""
    if len(content) > LARGEST:
        raise ValueError("the file is too large")
    rows = [re.split(r"[\s,;]+", line.strip(" \t\r,;")) for line in content.decode("latin-1").splitlines()]
    points = [numbers for row in rows if len(row) == 3 and (numbers := _numbers(row))]
    if len(points) != POINTS:
        raise ValueError(f"{len(points)} points instead of {POINTS}")
    return np.array(points)


def _numbers(words: Sequence[str]) -> list[float] | None:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return None
    return numbers if all(abs(number) < FARTHEST for number in numbers) else None


def read_list(content: bytes) -> dict[str, str]:
    """Name → "valid" or "test", of a list such as DepthNet's."""
    rows = [line.split(",") for line in content.decode("utf-8", "replace").splitlines()]
    return {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}


def split_of(name: str, listed: dict[str, str]) -> int:
    """Split code of a picture: train by its folder; of the others those listed as test are, or all without a list."""
    path = PurePosixPath(name)
    if path.parent.name.startswith("train"):
        return TRAIN
    return TEST if not listed or listed.get(path.stem) == "test" else VALIDATION


def depth_sign(faces: Sequence[np.ndarray]) -> float:
    """1 where the z of most faces points away from the camera, or -1: noses are nearer than ears."""
    ahead = [points[NOSE, 2] - points[list(EARS), 2].mean() for points in faces]
    return -1.0 if ahead and np.median(ahead) > 0 else 1.0


def face_box(points: np.ndarray) -> tuple[float, float, float, float]:
    """The square x0, y0, x1, y1 that a face is cropped to: about the middle of the box of its points (66, 3), 8/7 as
    wide as its longer side. Pixel (u, v) covers [u, u+1) × [v, v+1)."""
    low, high = points[:, :2].min(0) + 0.5, points[:, :2].max(0) + 0.5
    half = max(WIDE * float((high - low).max()), 1.0) / 2
    x, y = ((low + high) / 2).tolist()
    return x - half, y - half, x + half, y + half


def place_points(points: np.ndarray, box: Sequence[float], size: int, sign: float) -> np.ndarray:
    """Points (66, 3) of a picture → u and v in pixels of its crop, and depth in metres, on a scale where a pixel is as
    deep as it is wide at one metre; the mean is put there."""
    scale = size / (np.array(box[2:]) - np.array(box[:2]))
    uv = (points[:, :2] + 0.5 - np.array(box[:2])) * scale - 0.5
    pixel = 2 * math.tan(math.radians(FOV) / 2) / (size - 1)
    z = sign * (points[:, 2] - points[:, 2].mean()) * scale.mean() * pixel + 1
    return np.concatenate([uv, z[:, None]], 1).astype(np.float32)
