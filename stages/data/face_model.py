"""A morphable face model: a mean face and the modes in which faces differ from it, read as the Basel Face Models
2017/2019 lay them out.

**Units:** metres in the method's camera frame, as large as heads are drawn. Numbers are rounded so that sums over modes
are exact in float64, in any order: so a face cannot depend on its batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from stages.data.model_skin import Placement, place
from stages.data.topology import close_holes, corner_lists

__all__ = ["DATASETS", "FaceModel", "Modes", "build_model"]

Arrays = Mapping[str, np.ndarray]

KINDS, PARTS = ("shape", "expression", "color"), ("mean", "pcaBasis", "pcaVariance")
CELLS, NAMES, LANDMARKS = "shape/representer/cells", "expression/names", "metadata/landmarks68"
DATASETS = (*(f"{kind}/model/{part}" for kind in KINDS for part in PARTS), CELLS, NAMES, LANDMARKS)
MAX_VERTICES, MAX_FACES, MAX_MODES = 500_000, 1_000_000, 1000
UNITS = (1.0, 1e-2, 1e-3)  # metres: which of them it is follows from how wide the mean face is
WIDTH = (0.1, 0.4)  # true metres, from the narrowest mask to head and shoulders
ZOOM = 0.88  # drawn size over true size
MIDDLE = 0.010  # true metres from the nose's tip down to what is drawn in the middle of the image
AXIS = 0.075  # and back to the axis of rotation, which runs just in front of the ears
FURTHEST = 1.0  # drawn metres from the nose that a vertex may be, or be moved by a mode at one standard deviation
STEP = 2.0**-36  # means and modes are multiples of it,
WEIGHT_STEP = 2.0**-12  # and weights of this
INSIDE = 0.12  # how bright what shows in a hole of the face is: between the lips
MOUTH_CORNERS = (60, 64)  # inside, of the 68 landmarks: not among the 66 key points


@dataclass(frozen=True)
class Modes:
    """mean: (3V,), basis: (3V, K) at one standard deviation, float64."""

    mean: Tensor
    basis: Tensor

    @property
    def count(self) -> int:
        return self.basis.shape[1]

    def mix(self, weights: Tensor) -> Tensor:
        """The mean plus modes weighted by (B, K): (B, V, 3) float32."""
        weights = (weights.double() / WEIGHT_STEP).round() * WEIGHT_STEP
        return (self.mean + weights @ self.basis.T).float().unflatten(1, (-1, 3))


@dataclass(frozen=True)
class FaceModel:
    """What faces are drawn from, holes closed: V vertices and one more in each hole.

    faces (F, 3), corners: as of a `Mesh`. shape: modes of identity, then of expression. dials (E,): which number
    each mode of expression follows, the same one for left and right. blend: modes of expression are blend shapes, of
    weight 0 to 1; otherwise standard normal. landmarks: (66,) the vertices of the key points, or None. colours: modes
    of albedo, or None where `skin` says how to paint it. bright (V,): a factor of all albedo, 1 but in holes.
    """

    faces: Tensor
    corners: tuple[tuple[Tensor, Tensor], ...]
    shape: Modes
    dials: Tensor
    blend: bool
    landmarks: Tensor | None
    colours: Modes | None
    skin: Placement | None
    bright: Tensor

    def to(self, device: torch.device | str) -> "FaceModel":
        return _to(self, device)


def _to(value, device: torch.device | str):
    """A dataclass with all tensors in it, however deep, on a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(_to(part, device) for part in value)
    if hasattr(value, "__dataclass_fields__"):
        return replace(value, **{name: _to(part, device) for name, part in vars(value).items()})
    return value


def build_model(arrays: Arrays) -> FaceModel:
    """The model in these datasets (see DATASETS), on the CPU.

    Raises ValueError, in words that follow the file's name, for what is missing, of a wrong shape or kind, not finite
    or beyond all measure.
    """
    mean, identity = _modes(arrays, "shape")
    vertices = len(mean) // 3
    faces = _cells(arrays, vertices)
    landmarks = _landmarks(arrays, vertices)
    still, expression = _modes(arrays, "expression", like=len(mean)) if _has(arrays, "expression") else (0, None)
    basis = identity if expression is None else np.concatenate([identity, expression], 1)
    dials = _dials(arrays, 0 if expression is None else expression.shape[1])
    points, basis = _placed((mean + still).reshape(-1, 3), basis.reshape(vertices, 3, -1))

    tip = points[:, 2].argmin()
    nose = faces[(faces == tip).any(1)]
    if np.cross(*(points[nose[:, i]] - points[nose[:, 0]] for i in (1, 2)))[:, 2].sum() > 0:
        faces = faces[:, ::-1]  # corners ran clockwise
    caps, rims = close_holes(faces, vertices)
    corners = corner_lists(faces, vertices)
    points, basis = (_with_middles(array, rims) for array in (points, basis))
    bright = np.ones(len(points), np.float32)
    if rims:
        bright[vertices:] = INSIDE
        bright[vertices + max(range(len(rims)), key=lambda i: np.ptp(points[rims[i]], 0).max())] = 1  # the outer edge

    colours = _colours(arrays, vertices, rims)
    if colours is None and landmarks is None:
        raise ValueError(f"has neither colours (color/model) nor {LANDMARKS}, by which to paint it")
    key_points = None if landmarks is None else torch.from_numpy(np.delete(landmarks, MOUTH_CORNERS))
    return FaceModel(
        faces=torch.from_numpy(np.concatenate([faces, caps])),
        corners=tuple(tuple(map(torch.from_numpy, pair)) for pair in corners),
        shape=_exact(points, basis),
        dials=torch.from_numpy(dials),
        blend=NAMES in arrays,
        landmarks=key_points,
        colours=colours,
        skin=place(points, points[landmarks]) if colours is None else None,
        bright=torch.from_numpy(bright),
    )


def _has(arrays: Arrays, kind: str) -> bool:
    return any(f"{kind}/model/{part}" in arrays for part in PARTS)


def _numbers(arrays: Arrays, name: str, kinds: str, dims: int) -> np.ndarray:
    if name not in arrays:
        raise ValueError(f"has no '{name}'")
    array = arrays[name]
    if array.dtype.kind not in kinds or array.ndim != dims:
        raise ValueError(f"'{name}' is {array.dtype} of shape {array.shape}, not {dims}-d numbers of the right kind")
    if not np.isfinite(array).all():
        raise ValueError(f"'{name}' has NaN or infinity in it")
    return array


def _modes(arrays: Arrays, kind: str, like: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean (3V,) and modes (3V, K) at one standard deviation, float64."""
    mean, basis, variance = (
        _numbers(arrays, f"{kind}/model/{part}", "fui", dims) for part, dims in zip(PARTS, (1, 2, 1), strict=True)
    )
    if len(mean) % 3 or not 0 < len(mean) // 3 <= MAX_VERTICES or (like is not None and len(mean) != like):
        raise ValueError(f"'{kind}/model/mean' has {len(mean)} numbers, not three for each vertex")
    if basis.shape != (len(mean), len(variance)) or len(variance) > MAX_MODES:
        raise ValueError(f"'{kind}/model/pcaBasis' has shape {basis.shape}, not ({len(mean)}, {len(variance)})")
    if (variance < 0).any():
        raise ValueError(f"'{kind}/model/pcaVariance' is negative")
    with np.errstate(over="ignore"):
        modes = basis.astype(np.float64) * np.sqrt(variance, dtype=np.float64)
    return mean.astype(np.float64), modes


def _cells(arrays: Arrays, vertices: int) -> np.ndarray:
    """(F, 3) int64."""
    cells = _numbers(arrays, CELLS, "ui", 2)
    if len(cells) != 3 or not 0 < cells.shape[1] <= MAX_FACES:
        raise ValueError(f"'{CELLS}' has shape {cells.shape}, not (3, triangles)")
    if cells.min() < 0 or cells.max() >= vertices:
        raise ValueError(f"'{CELLS}' names vertices {cells.min()} to {cells.max()} of {vertices}")
    return cells.T.astype(np.int64)


def _landmarks(arrays: Arrays, vertices: int) -> np.ndarray | None:
    if LANDMARKS not in arrays:
        return None
    found = _numbers(arrays, LANDMARKS, "ui", 1)
    if len(found) != 68 or found.min() < 0 or found.max() >= vertices:
        raise ValueError(f"'{LANDMARKS}' is no list of 68 vertices")
    return found.astype(np.int64)


def _dials(arrays: Arrays, modes: int) -> np.ndarray:
    if NAMES not in arrays:
        return np.arange(modes)
    names = arrays[NAMES]
    if names.shape != (modes,) or names.dtype.kind != "S":
        raise ValueError(f"'{NAMES}' is no list of {modes} names")
    both = [name.removesuffix(b"_L").removesuffix(b"_R") for name in names.tolist()]
    order = {name: i for i, name in enumerate(dict.fromkeys(both))}
    return np.array([order[name] for name in both], np.int64)


def _placed(points: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (V, 3) and modes (V, 3, K), of a file with y up and z to the viewer, as they are drawn."""
    wide = np.ptp(points[:, 0])
    unit = next((unit for unit in UNITS if WIDTH[0] <= wide * unit < WIDTH[1]), None)
    if unit is None:
        raise ValueError(f"its mean face is {wide:.3g} wide, which is no face in m, cm or mm")
    turn = np.array([1.0, -1.0, -1.0]) * (unit * ZOOM)
    points, basis = (points - points[points[:, 2].argmax()]) * turn, basis * turn[:, None]
    if not (np.abs(points).max() < FURTHEST and np.abs(basis).max(initial=0) < FURTHEST):
        raise ValueError("its vertices or modes reach a metre away from the face")
    return points - [0, MIDDLE * ZOOM, AXIS * ZOOM - 1], basis


def _with_middles(array: np.ndarray, rims: list[np.ndarray]) -> np.ndarray:
    """(V, …) with the mean over each rim behind."""
    return np.concatenate([array, *(array[rim].mean(0, keepdims=True) for rim in rims)])


def _exact(mean: np.ndarray, basis: np.ndarray) -> Modes:
    """Modes of (V, 3) and (V, 3, K), rounded."""
    parts = (mean.reshape(-1), basis.reshape(len(basis) * 3, -1))
    return Modes(*(torch.from_numpy(np.round(part / STEP) * STEP) for part in parts))


def _colours(arrays: Arrays, vertices: int, rims: list[np.ndarray]) -> Modes | None:
    if not _has(arrays, "color"):
        return None
    mean, basis = _modes(arrays, "color", like=3 * vertices)
    if mean.min() < -0.01 or mean.max() > 1.01 or np.abs(basis).max(initial=0) > 1:
        raise ValueError("'color/model' is not RGB from 0 to 1")
    return _exact(*(_with_middles(a.reshape(vertices, 3, *a.shape[1:]), rims) for a in (mean, basis)))
