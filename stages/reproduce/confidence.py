"""A picture of what confidence maps make of perturbed images."""

from pathlib import Path

import cv2
import numpy as np

from stages.artifact import open_artifact
from stages.io.pictures import contact_sheet, write_png
from stages.loading import load_model
from stages.predict import predict, split_rows

__all__ = ["confidence_sheet"]

SHOWN = 8
RANGE = (1, 99)  # percentiles of all σ on the sheet between which colours run


def confidence_sheet(path: Path, run: Path, data: Path) -> Path:
    """A PNG of the first images of the data's test split: the image, its reconstruction, and σ and σ' in colours from
    dark blue, where the model is sure, to yellow; of a symmetric model σ alone, because only that was learned. Raises
    OutputError when it cannot be written."""
    model = load_model(run).model
    with open_artifact(data, "sym3d.images") as images:
        rows = split_rows(images, "test", model.size)[:SHOWN]
        found = predict(model, images["image"][rows])
        names = [images.strings("name")[row] for row in rows]
    sides = found["confidence"][:, : 1 if model.symmetric else 2]
    low, high = np.percentile(sides, RANGE)
    scaled = ((sides - low) / max(high - low, 1e-9)).clip(0, 1)
    titles = [f"sigma {low:.2f} to {high:.2f}", "sigma' (mirrored)"]  # the font has no σ
    lines = [
        {
            "perturbed": found["image"][at],
            "reconstruction": found["reconstruction"][at],
            **{title: _coloured(side) for title, side in zip(titles, scaled[at], strict=False)},
        }
        for at in range(len(rows))
    ]
    return write_png(path, contact_sheet(lines, names))


def _coloured(values: np.ndarray) -> np.ndarray:
    """(H, W) in [0, 1] → (H, W, 3) uint8."""
    return cv2.applyColorMap((values * 255).round().astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
