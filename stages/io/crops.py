"""Which square of a photograph is used, and how it becomes size×size pixels."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from kornia.geometry import resize
from PIL import Image

from stages.errors import UsageError

from .images import UnusableError
from .threads import chunks

__all__ = ["DETECTORS", "Box", "Crop", "crop_box", "crop_boxes", "cut", "parse_crop", "reach", "resize_squares"]

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels; pixel (u, v) covers [u, u+1) × [v, v+1)


@dataclass(frozen=True)
class Detector:
    """How a cascade's box becomes the method's tight crop: a square ``scale`` times as large, moved down by ``drop``
    of the box's side. Both were measured on the reference's own crops (its demo photographs)."""

    cascade: str
    scale: float
    drop: float


DETECTORS = {
    "face": Detector("haarcascade_frontalface_alt2.xml", scale=1.08, drop=0.10),
    "cat": Detector("haarcascade_frontalcatface_extended.xml", scale=1.21, drop=-0.09),
}
SEARCH_SIDE = (160, 640)  # pixels: the longer side that a picture is searched at
SEARCH_MARGIN = 0.25  # of the shorter side, replicated around the picture: cascades miss what touches the border
SEARCH_SMALLEST = 24  # pixels at the searched size
SEARCH_VOTES = 3
LEAST = 0.01  # of the shorter side: less would be a few pixels
FACTORS = (0.25, 4.0)  # what a detector's square may be multiplied by
FARTHEST = 1.0  # sides that it may be moved
BATCH_PIXELS = 2**22  # resized together: enough to be fast, 50 MB as floats

_cascades = threading.local()


@dataclass(frozen=True)
class Crop:
    """``kind`` center, none, face, cat, or landmarks where a layout has them. ``fraction``: of the shorter side, for
    center; for the others, what the square that is found is multiplied by. ``down``: how far the square is then moved,
    in its own sides, for face and cat.
    """

    kind: str
    fraction: float = 1.0
    down: float = 0.0

    @property
    def finds(self) -> bool:
        """True for crops that look for something, and may find none or several."""
        return self.kind in DETECTORS

    @property
    def text(self) -> str:
        """As ``parse_crop`` reads it."""
        if self.kind == "center" and self.fraction != 1:
            return repr(self.fraction)
        more = (self.fraction, self.down) if self.down else (self.fraction,) if self.fraction != 1 else ()
        return ":".join([self.kind, *map(repr, more)])

    def decoded_side(self, size: int) -> int:
        """The shortest side, pixels, that a picture needs so that nothing visible is lost in a crop of ``size``."""
        if self.finds or self.kind == "landmarks":
            return max(16 * size, SEARCH_SIDE[1])  # a face may be an eighth of the picture and still be sharp
        return int(np.ceil(4 * size / self.fraction))


def parse_crop(text: str) -> Crop:
    """``center``, ``none``, a fraction from 0.01 to 1, or ``face`` or ``cat`` with an optional factor and an optional
    shift down: ``cat``, ``cat:0.9``, ``cat:0.9:0.1``. Raises UsageError."""
    kind, *rest = text.split(":")
    try:
        numbers = [float(part) for part in rest]
        if text in ("center", "none"):
            return Crop(text)
        if kind in DETECTORS and len(numbers) <= 2:
            crop = Crop(kind, *numbers)
            if FACTORS[0] <= crop.fraction <= FACTORS[1] and abs(crop.down) <= FARTHEST:
                return crop
            fix = f"use a factor from {FACTORS[0]:g} to {FACTORS[1]:g} and a shift from {-FARTHEST:g} to {FARTHEST:g}"
            raise UsageError("--crop", f"{text!r} is out of range", fix)
        fraction = float(text)
    except ValueError:
        fraction = float("nan")
    if not LEAST <= fraction <= 1:
        fix = "use center, face, cat, none, a fraction such as 0.8, or a detector with a factor such as cat:0.9"
        raise UsageError("--crop", f"{text!r} is not a crop", fix)
    return Crop("center", fraction)


def crop_box(pixels: np.ndarray, crop: Crop) -> Box:
    """The first of ``crop_boxes``: of several faces the largest."""
    return crop_boxes(pixels, crop)[0]


def crop_boxes(pixels: np.ndarray, crop: Crop) -> list[Box]:
    """The parts of the picture uint8 H×W×3 that are used, in its own pixels; inside it, square except for none.

    center: a square of ``fraction`` × the shorter side about the middle. none: everything. face, cat: all that are
    found, the largest first; one whose centre lies in a larger one is left out. Raises UnusableError where none is.
    """
    height, width = pixels.shape[:2]
    if crop.kind == "none":
        return [(0.0, 0.0, float(width), float(height))]
    if crop.kind == "center":
        side = max(1, round(crop.fraction * min(height, width)))
        x0, y0 = (width - side) // 2, (height - side) // 2
        return [(float(x0), float(y0), float(x0 + side), float(y0 + side))]
    return [_inside(found, crop, height, width) for found in _search(pixels, crop.kind)]


def reach(pixels: np.ndarray, box: Box) -> tuple[np.ndarray, Box, Box]:
    """For a square that may reach over the picture's border: a picture to cut from, in which the border is repeated as
    far as needed, the square in whole pixels of the old picture, and in those of the new one.

    Raises UnusableError when its middle is outside or it is twice as large as the picture.
    """
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = box
    side, (x, y) = max(1, round(x1 - x0)), ((x0 + x1) / 2, (y0 + y1) / 2)
    if not (0 <= x <= width and 0 <= y <= height and side <= 2 * max(height, width)):
        raise UnusableError("key points outside the picture")
    left, top = round(x - side / 2), round(y - side / 2)
    before, after = (max(0, -top), max(0, -left)), (max(0, top + side - height), max(0, left + side - width))
    wider = np.pad(pixels, (*zip(before, after, strict=True), (0, 0)), mode="edge")
    inside = float(left + before[1]), float(top + before[0])
    return (
        wider,
        (float(left), float(top), float(left + side), float(top + side)),
        (*inside, inside[0] + side, inside[1] + side),
    )


def cut(pixels: np.ndarray, box: Box, size: int) -> np.ndarray:
    """The box, uint8, at most 8 × size wide: of larger ones each pixel is the mean of a block of k×k, which leaves
    the antialiasing of ``resize_squares`` a factor of 4 to 8."""
    x0, y0, x1, y1 = (round(edge) for edge in box)
    part = pixels[y0:y1, x0:x1]
    factor = tuple(max(1, side // (4 * size)) for side in (x1 - x0, y1 - y0))
    if max(factor) == 1:
        return part
    return np.asarray(Image.fromarray(part).reduce(factor))


def resize_squares(parts: Sequence[np.ndarray], size: int) -> np.ndarray:
    """uint8 h×w×3 each → uint8 N×size×size×3, bilinear with a Gaussian against aliasing (kornia). Equal shapes go
    through together, which is several times faster for small pictures."""
    result = np.empty((len(parts), size, size, 3), np.uint8)
    rows_of: dict[tuple[int, ...], list[int]] = {}
    for row, part in enumerate(parts):
        rows_of.setdefault(part.shape, []).append(row)
    for (height, width, _), rows in rows_of.items():
        for batch in chunks(rows, max(1, BATCH_PIXELS // (height * width))):
            stack = np.stack([parts[row] for row in batch])
            if (height, width) != (size, size):
                images = torch.from_numpy(stack).permute(0, 3, 1, 2).contiguous().float()
                images = resize(images, (size, size), interpolation="bilinear", align_corners=False, antialias=True)
                stack = images.round_().clamp_(0, 255).byte().permute(0, 2, 3, 1).numpy()
            result[batch] = stack
    return result


def _search(pixels: np.ndarray, kind: str) -> list[Box]:
    """The boxes of the cascade, the largest first, in pixels of the picture; they may reach over the border."""
    height, width = pixels.shape[:2]
    longer, shorter = max(height, width), min(height, width)
    zoom = min(max(longer, SEARCH_SIDE[0]), SEARCH_SIDE[1]) / longer
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    shrunk = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    grey = cv2.resize(grey, shrunk, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    margin = round(SEARCH_MARGIN * shorter * zoom)
    grey = cv2.copyMakeBorder(grey, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    smallest = (SEARCH_SMALLEST, SEARCH_SMALLEST)
    found = _cascade(kind).detectMultiScale(grey, 1.1, SEARCH_VOTES, minSize=smallest)
    if len(found) == 0:
        raise UnusableError(f"no {'cat face' if kind == 'cat' else 'face'} found")
    apart: list[list[int]] = []
    for box in sorted(found.tolist(), key=lambda box: (box[2] * box[3], box), reverse=True):
        if not any(_holds(larger, box) for larger in apart):
            apart.append(box)
    return [tuple((edge - margin) / zoom for edge in (x, y, x + w, y + h)) for x, y, w, h in apart]


def _holds(larger: Sequence[int], box: Sequence[int]) -> bool:
    """True where the centre of the second (x, y, width, height) lies in the first."""
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    return larger[0] <= x <= larger[0] + larger[2] and larger[1] <= y <= larger[1] + larger[3]


def _inside(found: Box, crop: Crop, height: int, width: int) -> Box:
    """The tight square for a detection, shrunk to fit the picture and moved so that it lies in it. Whole pixels."""
    x0, y0, x1, y1 = found
    detector = DETECTORS[crop.kind]
    square = detector.scale * crop.fraction * (x1 - x0)
    side = max(1, min(round(square), height, width))
    centre_x, centre_y = (x0 + x1) / 2, (y0 + y1) / 2 + detector.drop * (y1 - y0) + crop.down * square
    left = min(max(round(centre_x - side / 2), 0), width - side)
    top = min(max(round(centre_y - side / 2), 0), height - side)
    return float(left), float(top), float(left + side), float(top + side)


def _cascade(kind: str) -> cv2.CascadeClassifier:
    """A classifier of this thread's own (they are not safe to share)."""
    if not hasattr(_cascades, kind):
        cv2.setNumThreads(1)  # the photographs already keep every core busy; and results must not depend on cores
        setattr(_cascades, kind, cv2.CascadeClassifier(cv2.data.haarcascades + DETECTORS[kind].cascade))
    return getattr(_cascades, kind)
