"""Is a set of pictures one that the method can learn from? Figures that need no labels, and what they mean.

Most are of *edge maps*: how much brightness changes around each of 16 × 16 places, less its mean, of unit length. They
show where a thing's parts are and hardly depend on its colours or its light. Cut into the part that a mirror leaves
alone and the part that it reverses, they tell how things are turned.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["COMPARED", "WANTED", "Finding", "evenly", "grade", "measure"]

COMPARED = 16000  # pictures that are looked for among each other; more would take minutes
MEASURED = 4000  # pictures that all else is measured on
SIDE, MAP = 64, 16  # pixels that pictures are judged at, and of their maps
DUPLICATE = 0.97  # correlation of what two pictures have beside what all share, from which they count as one
BLURRED = 0.03  # variance of the Laplacian, of the picture's, below which nothing is sharp


@dataclass(frozen=True)
class Finding:
    """One figure of a data set. trouble and remedy are what to expect and what to do, empty where all is well."""

    check: str
    figure: float
    wanted: str
    trouble: str = ""
    remedy: str = ""

    @property
    def shown(self) -> str:
        """The figure as people read it."""
        return f"{self.figure:.0f}" if self.figure >= 1000 else f"{self.figure:.3g}"

    @property
    def ok(self) -> bool:
        return not self.trouble


@dataclass(frozen=True)
class _Limit:
    wanted: str
    holds: Callable[[float], bool]
    trouble: str
    remedy: str


# The limits stand between the figures of good and of spoilt sets in docs/your-own-category.md.
WANTED = {
    "pictures": _Limit(
        "1000 or more",
        lambda figure: figure >= 1000,
        "the networks will learn these pictures by heart and not the shape",
        "add pictures of other individuals, or start from a shipped model of a similar kind",
    ),
    "near duplicates": _Limit(
        "at most 0.05 of them",
        lambda figure: figure <= 0.05,
        "frames of one scene count as one picture, and copies in other splits flatter the scores",
        "keep one picture of each individual and scene",
    ),
    "blurred": _Limit(
        "at most 0.25 of them",
        lambda figure: figure <= 0.25,
        "detail that is not there cannot be learned: shapes stay smooth",
        "leave out small and blurred pictures, or cut closer from larger ones",
    ),
    "noise": _Limit(
        "at most 8",
        lambda figure: figure <= 8,
        "pictures are mostly grain, text or fine pattern, which no shape explains",
        "use photographs of the thing itself, larger and with less noise",
    ),
    "framing": _Limit(
        "0.25 or more",
        lambda figure: figure >= 0.25,
        "the thing is in another place or size in each picture, and the shape becomes the average blur",
        "cut all pictures alike: --crop with a detector or a fraction, or by hand",
    ),
    "place": _Limit(
        "at most 0.09 of the side",
        lambda figure: figure <= 0.09,
        "the thing is now here and now there, and the shape becomes the average blur",
        "cut all pictures alike: --crop with a detector, or by hand",
    ),
    "size": _Limit(
        "at most 0.16",
        lambda figure: figure <= 0.16,
        "the thing is large in some pictures and small in others, and the shape becomes the average blur",
        "cut all pictures alike: --crop with a detector, or by hand",
    ),
    "pose spread": _Limit(
        "0.42 or more",
        lambda figure: figure >= 0.42,
        "seen from one direction only, depth can be anything, and will be flat",
        "add pictures turned up to 45 degrees to the left and right, or lit from the side",
    ),
    "one-sidedness": _Limit(
        "at most 0.05",
        lambda figure: figure <= 0.05,
        "all are turned to the same side or lopsided in the same way, and the plane of symmetry will lie askew",
        "add pictures turned to the other side, and leave out or cut off what is always on one side, such as text",
    ),
    "asymmetry": _Limit(
        "at most 0.52",
        lambda figure: figure <= 0.52,
        "not even the straightest views look like their mirror image, so symmetry will teach nothing or nonsense",
        "see that the thing is symmetric left to right, upright and in the middle, and fills the picture",
    ),
}


def grade(images: np.ndarray, count: int) -> list[Finding]:
    """Judge a set of `count` pictures by some of them, uint8 (N, S, S, 3): each figure against what is wanted."""
    findings = []
    for check, figure in {"pictures": float(count), **measure(images)}.items():
        limit = WANTED[check]
        words = ("", "") if limit.holds(figure) else (limit.trouble, limit.remedy)
        findings.append(Finding(check, figure, limit.wanted, *words))
    return findings


def measure(images: np.ndarray) -> dict[str, float]:
    """The figures of pictures, uint8 (N, S, S, 3), by the names in WANTED; none of fewer than two.

    near duplicates: share of them to which another looks the same. blurred: share without anything sharp. noise: median
    variance of the Laplacian, of that of the picture. framing: median correlation of an edge map with the mean one.
    place: standard deviation of the middle of all edges, as a share of the side. size: that of their distance from it,
    of the mean distance. pose spread: variance of the maps' reversed part, of that of the other. one-sidedness: how
    much of the reversed part is the same in all. asymmetry: length of the reversed part in the most symmetric tenth.
    """
    if len(images) < 2:
        return {}
    grey = _grey(images)
    duplicates = float(_duplicates(_details(grey)).mean())
    grey = grey[evenly(len(grey), MEASURED)]
    sharpness = np.array([cv2.Laplacian(g, cv2.CV_32F).var() / max(g.var(), 1e-4) for g in grey])
    slopes = np.stack([cv2.magnitude(cv2.Sobel(g, cv2.CV_32F, 1, 0), cv2.Sobel(g, cv2.CV_32F, 0, 1)) for g in grey])
    place, size = _framing(slopes)
    edges = _edge_maps(slopes)
    flipped = edges.reshape(-1, MAP, MAP)[:, :, ::-1].reshape(edges.shape)
    kept, reversed_ = (edges + flipped) / 2, (edges - flipped) / 2
    length = np.linalg.norm(reversed_, axis=1)
    return {
        "near duplicates": duplicates,
        "blurred": float((sharpness < BLURRED).mean()),
        "noise": float(np.median(sharpness)),
        "framing": float(np.median(edges @ _unit(edges.mean(0)))),
        "place": place,
        "size": size,
        "pose spread": float((length**2).mean() / max(kept.var(0).sum(), 1e-9)),
        "one-sidedness": float((reversed_.mean(0) ** 2).sum() / max((length**2).mean(), 1e-9)),
        "asymmetry": float(np.quantile(length, 0.1)),
    }


def evenly(count: int, most: int) -> np.ndarray:
    """At most so many of the numbers below count, evenly spaced."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def _grey(images: np.ndarray) -> np.ndarray:
    """(N, SIDE, SIDE) in [0, 1]."""
    small = (cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images)
    return np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in small]).astype(np.float32) / 255


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows less their mean, of unit length; 0 where there is nothing in them."""
    rows = rows - rows.mean(-1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-3)


def _details(grey: np.ndarray) -> np.ndarray:
    """(N, MAP²): what is left of pictures when their broad light and dark is taken away."""
    small = (cv2.resize(g, (MAP, MAP), interpolation=cv2.INTER_AREA) for g in grey)
    return np.stack([(g - cv2.GaussianBlur(g, (0, 0), 2.7)).ravel() for g in small])


def _duplicates(details: np.ndarray) -> np.ndarray:
    """Which of the rows have one like them. What all share is no sign of that, such as the outline of things that are
    cut alike, on white; unless they share all they have, being one scene."""
    shared = details.mean(0)
    return (_nearest(_unit(details - shared)) > DUPLICATE) | (_unit(details) @ _unit(shared) > DUPLICATE)


def _nearest(rows: np.ndarray, block: int = 1024) -> np.ndarray:
    """The largest correlation of each unit row with another one."""
    best = np.full(len(rows), -1, np.float32)
    for start in range(0, len(rows), block):
        close = rows[start : start + block] @ rows[start:].T
        np.fill_diagonal(close, -1)
        here, later = best[start : start + block], best[start:]
        np.maximum(later, close.max(0), out=later)
        np.maximum(here, close.max(1), out=here)
    return best


def _framing(slopes: np.ndarray) -> tuple[float, float]:
    """place and size, see above: of how the edges of each picture are spread over it."""
    slopes = slopes + 1e-6  # where there is no edge, all places are as good
    weights = slopes / slopes.sum((1, 2), keepdims=True)
    at = (np.arange(SIDE) + 0.5) / SIDE
    middle = np.stack([weights.sum(1) @ at, weights.sum(2) @ at])  # right and down
    square = np.stack([weights.sum(1) @ at**2, weights.sum(2) @ at**2])
    extent = np.sqrt((square - middle**2).sum(0).clip(1e-6))
    return float(np.sqrt(middle.var(1).mean())), float(extent.std() / extent.mean())


def _edge_maps(slopes: np.ndarray) -> np.ndarray:
    """(N, MAP²), see above."""
    blurred = (cv2.GaussianBlur(slope, (0, 0), 2) for slope in slopes)
    return _unit(np.stack([cv2.resize(b, (MAP, MAP), interpolation=cv2.INTER_AREA).ravel() for b in blurred]))
