"""A tiny face model in the layout of the Basel Face Model: a mask of 21 × 23 vertices with a nose and an open mouth."""

from pathlib import Path

import h5py
import numpy as np

__all__ = ["COLUMNS", "ROWS", "tiny_arrays", "write_model"]

ROWS, COLUMNS = 23, 21
MOUTH = (17, 10)  # row and column of a vertex whose triangles are left out
# x (mirrored for the other side) and y of the 68 landmarks, in cm from the eyes' middle: y up here.
JAW = [(7.3, 0.2), (7.2, -1.8), (6.9, -3.8), (6.4, -5.8), (5.6, -7.9), (4.2, -9.6), (3.0, -10.3), (1.5, -10.6)]
HALVES = {
    "brow": [(5.8, 1.8), (4.9, 2.6), (3.8, 2.9), (2.4, 2.8), (1.2, 2.5)],
    "eye": [(4.5, 0.0), (3.9, 0.5), (2.8, 0.5), (1.8, -0.1), (2.7, -0.3), (3.9, -0.3)],
}


def _landmarks() -> list[tuple[float, float]]:
    def left(points: list) -> list:
        return [(-x, y) for x, y in points]

    right_eye = [HALVES["eye"][i] for i in (3, 2, 1, 0, 5, 4)]
    nose = [(0, 0.3), (0, -0.8), (0, -1.8), (0, -3.0), (-1.3, -4.5), (-0.6, -4.5), (0, -4.6), (0.6, -4.5), (1.3, -4.5)]
    outer = [(-2.5, -6.9), (-1.7, -6.1), (-0.7, -5.8), (0, -5.9), (0.7, -5.8), (1.7, -6.1), (2.5, -6.9)]
    outer += [(1.8, -7.5), (1.0, -7.7), (0, -7.8), (-1.0, -7.7), (-1.8, -7.5)]
    inner = [(-2.2, -6.9), (-1.0, -6.7), (0, -6.7), (1.0, -6.7), (2.2, -6.9), (1.0, -6.8), (0, -6.8), (-1.0, -6.8)]
    jaw = [*left(JAW), (0, -11.0), *JAW[::-1]]
    return [*jaw, *left(HALVES["brow"]), *HALVES["brow"][::-1], *nose, *left(HALVES["eye"]), *right_eye, *outer, *inner]


def tiny_arrays(*, colours: bool = False, names: bool = False) -> dict[str, np.ndarray]:
    """Datasets of a model in mm with two symmetric modes of identity and two of expression."""
    u, v = np.meshgrid((np.arange(COLUMNS) - COLUMNS // 2) / (COLUMNS // 2), np.linspace(-1, 1, ROWS))
    x, y = 78 * np.sin(u * np.pi / 2), -110 * v - 25
    z = 75 * np.sqrt(np.clip(1.05 - (0.98 * np.sin(u * np.pi / 2)) ** 2 - 0.45 * v**2, 0, None))
    z = z + 25 * np.exp(-((x / 14) ** 2) - ((y + 32) / 14) ** 2)
    mean = np.stack([x, y, z], -1).reshape(-1)
    rng = np.random.default_rng(0)
    wave = np.stack([np.cos(k * u * np.pi / 2) * np.cos(k * v + k) for k in (1, 2, 3, 4)], -1)
    moves = np.stack([np.sign(x)[..., None] * 0.3 * wave, wave, wave[..., ::-1]], 2).reshape(-1, 4)
    corner = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    here, right, below, across = corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]
    cells = np.stack([here, below, right, right, below, across], -1).reshape(-1, 3)
    cells = cells[(cells != corner[MOUTH]).all(1)]
    flat = mean.reshape(-1, 3)[:, :2]
    nearest = [int(((flat - 10 * np.array(p)) ** 2).sum(1).argmin()) for p in _landmarks()]
    arrays = {
        "shape/model/mean": mean,
        "shape/model/pcaBasis": moves[:, :2] / 10,
        "shape/model/pcaVariance": np.array([400.0, 225.0]),
        "shape/representer/cells": cells.T.astype(np.int32),
        "expression/model/mean": 0.1 * moves[:, 2],
        "expression/model/pcaBasis": moves[:, 2:],
        "expression/model/pcaVariance": np.array([4.0, 1.0]),
        "metadata/landmarks68": np.array(nearest, np.int32),
    }
    if colours:
        arrays |= {
            "color/model/mean": np.tile([0.8, 0.5, 0.4], ROWS * COLUMNS),
            "color/model/pcaBasis": rng.standard_normal((len(mean), 3)) * 0.01,
            "color/model/pcaVariance": np.array([4.0, 1.0, 1.0]),
        }
    arrays = {name: array.astype(np.float32) if array.dtype == float else array for name, array in arrays.items()}
    return arrays | ({"expression/names": np.array(["smile_L", "smile_R"], object)} if names else {})


def write_model(path: Path, arrays: dict) -> Path:
    """Write datasets into an HDF5 file; returns its path."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    return path
