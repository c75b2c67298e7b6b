"""Photographs of every kind and state → uint8 RGB. Whatever is wrong with a file becomes one short reason.

Pictures come from strangers: nothing in here trusts a header, and nothing a decoder raises gets past ``decode``.
"""

import logging
import re
import threading
import warnings
from contextlib import nullcontext
from io import BytesIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile, UnidentifiedImageError

__all__ = ["LARGEST_PICTURE", "SMALLEST_SIDE", "UnusableError", "decode"]

LARGEST_PICTURE = 2**27  # pixels, 134 million: above what cameras make, below what fills the memory
LARGE_PICTURE = 2**24  # such pictures are decoded one at a time, whatever the number of threads
BLOCK = 2**20  # pixels that are converted at a time, so that numbers of 64 bits take little memory
SMALLEST_SIDE = 8  # pixels: below that there is no picture to see
MOST_SCANS = 100  # of a progressive JPEG: writers make ten or so, and each costs time for the whole picture
PAPER = (255, 255, 255)  # what shows through transparent pixels: white, as on a page

UPRIGHT = {  # EXIF orientation → what undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # in coded data 0xff is followed by 0 or a restart marker
ALONE, END, SCAN = (0x01, 0xD8), 0xD9, 0xDA

SIDEWAYS = frozenset(UPRIGHT[orientation] for orientation in (5, 6, 7, 8))

# Pillow's remarks about strange files would land in the middle of a progress bar; what matters becomes a reason. A
# context manager would not do: filters are shared by all threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.ERROR)

_large = threading.Lock()
_lab = threading.local()


class UnusableError(Exception):
    """A file that cannot become a picture; ``str`` is the reason, its part before ":" the same for all such files."""


def decode(content: bytes, shrink_to: int | None = None, *, alpha: bool = False) -> tuple[np.ndarray, tuple[int, int]]:
    """One picture from the bytes of a file, whatever its name says it is.

    The first frame of an animation; turned upright as its EXIF orientation says; grey, palette, CMYK, Lab and 16 or
    32 bit pictures become 8 bit RGB; transparent pixels are blended over white unless ``alpha``.

    Args:
        content: the file.
        shrink_to: pixels. A JPEG whose sides are at least 2, 4 or 8 times this may come back that much smaller, which
            saves most of its decoding time. None: always full size.
        alpha: leave colours as they are, and give opacity as a fourth channel, where there are transparent pixels.

    Returns:
        pixels uint8 H×W×3 RGB (H×W×4 with opacity), and the (width, height) in pixels that the upright picture has in
        the file.

    Raises:
        UnusableError: with the reason: not an image, truncated, too large, too small, …
    """
    if not content:
        raise UnusableError("empty file")
    try:
        image = Image.open(BytesIO(content))
        if image.format == "EPS":  # Pillow would start Ghostscript on it
            raise UnusableError("unsafe kind of image: EPS is a program; convert it to PNG")
        if isinstance(image, ImageFile.StubImageFile):  # HDF5 and others that Pillow names but cannot read
            raise UnusableError("not an image")
        _check_size(*image.size)
        if image.format in ("JPEG", "MPO") and _scans(content) > MOST_SCANS:
            raise UnusableError(f"too many scans: a JPEG of more than {MOST_SCANS} would take minutes")
        with _large if image.width * image.height > LARGE_PICTURE else nullcontext():
            return _upright_rgb(image, shrink_to, alpha)
    except UnusableError:
        raise
    except UnidentifiedImageError:
        raise UnusableError("not an image") from None
    except Image.DecompressionBombError:
        raise UnusableError(f"too large: more than {LARGEST_PICTURE / 1e6:.0f} million pixels") from None
    except MemoryError:
        raise UnusableError("too large: not enough memory") from None
    except Exception as error:  # a decoder may raise anything at all on a hostile or damaged file
        if "truncated" in str(error).lower() or isinstance(error, EOFError):
            raise UnusableError("truncated image") from None
        raise UnusableError(f"damaged image: {_one_line(error)}") from None


def _check_size(width: int, height: int) -> None:
    if width * height > LARGEST_PICTURE:
        raise UnusableError(f"too large: {width}×{height} is more than {LARGEST_PICTURE / 1e6:.0f} million pixels")
    if min(width, height) < SMALLEST_SIDE:
        raise UnusableError(f"too small: {width}×{height} pixels, at least {SMALLEST_SIDE}×{SMALLEST_SIDE} are needed")


def _scans(jpeg: bytes) -> int:
    """How often the decoder would go over the picture."""
    at, scans = 0, 0
    while found := JPEG_MARKER.search(jpeg, at):
        at, marker = found.end(), jpeg[found.end() - 1]
        if marker == END:
            break
        if marker not in ALONE:  # all others are followed by a length
            scans += marker == SCAN
            at += int.from_bytes(jpeg[at : at + 2], "big")
    return scans


def _upright_rgb(image: Image.Image, shrink_to: int | None, alpha: bool) -> tuple[np.ndarray, tuple[int, int]]:
    stored = None
    if shrink_to is not None and image.format in ("JPEG", "MPO"):
        stored = image.size
        image.draft(None, (shrink_to, shrink_to))
    image.load()
    if stored is None:
        stored = image.size
        _check_size(*stored)  # some formats only know it now
    turn = _orientation(image)
    if turn is not None:
        image = image.transpose(turn)
        stored = stored[::-1] if turn in SIDEWAYS else stored
    return _to_rgb(image, alpha), stored


def _orientation(image: Image.Image) -> Image.Transpose | None:
    """What turns the picture upright; a damaged EXIF block is no reason to lose a sound picture."""
    try:
        return UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # as in decode
        return None


def _to_rgb(image: Image.Image, alpha: bool) -> np.ndarray:
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        grey = _eight_bits(np.asarray(image), sixteen=image.mode.startswith("I;16"))
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if alpha:
            return np.array(image)
        paper = Image.new("RGBA", image.size, (*PAPER, 255))
        image = Image.alpha_composite(paper, image)
    elif image.mode == "LAB":
        image = ImageCms.applyTransform(image, _lab_to_srgb())
    return np.array(image.convert("RGB"))


def _eight_bits(values: np.ndarray, *, sixteen: bool) -> np.ndarray:
    """Any greyscale H×W → uint8. Full scale is 65535 for 16 bit files; else the first of 1, 255, 65535 that fits."""
    flat = values.reshape(-1)
    blocks = [slice(start, start + BLOCK) for start in range(0, len(flat), BLOCK)]
    top = max(_finite(flat[block]).max(initial=0.0) for block in blocks)
    full = 65535.0 if sixteen else next((scale for scale in (1.0, 255.0, 65535.0) if top <= scale), top)
    grey = np.empty(len(flat), np.uint8)
    for block in blocks:
        grey[block] = np.rint(np.clip(_finite(flat[block]) / full, 0, 1) * 255)
    return grey.reshape(values.shape)


def _finite(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    if not hasattr(_lab, "transform"):  # not shared between threads
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        _lab.transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
    return _lab.transform


def _one_line(error: Exception) -> str:
    text = " ".join(f"{error}".split()) or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in text)[:120]
