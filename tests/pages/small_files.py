"""Small predictions, scores and runs to make pages of, with names that try to break out of them."""

from pathlib import Path

import numpy as np
from PIL import Image

from stages.artifact import make_provenance, open_artifact, write_artifact

HOSTILE = [
    "</script><script>window.broken = 1</script>",
    "<img src=x onerror='window.broken = 1'>",
    "two\nlines & \u2028 {{items}} <!--",
    "猫 '\"`${window.broken = 1}`.jpg",
]
SIZE = 32
LIGHT = (0.3, 0.5, 0.0, 0.0, 1.0)  # frontal: a flat surface is shaded by 0.8


def write_prediction(path: Path, names: list[str], **replaced) -> Path:
    """Item 0 is a flat grey sheet under LIGHT, the others are bumps, red on the left and blue on the right."""
    count, (v, u) = len(names), np.mgrid[:SIZE, :SIZE] / (SIZE - 1) * 2 - 1
    bump = (1.04 - 0.08 * np.exp(-2 * (u**2 + v**2))).astype(np.float32)
    albedo = np.where((u < 0)[..., None], (0.9, 0.1, 0.1), (0.1, 0.1, 0.9)).astype(np.float32)
    image = np.full((count, SIZE, SIZE, 3), 128, np.uint8)
    arrays = {
        "name": names,
        "image": image,
        "reconstruction": image - (10 * np.arange(count, dtype=np.uint8) % 100)[:, None, None, None],
        "canonical_image": image,
        "canonical_depth": np.stack([np.ones_like(bump), *[bump] * (count - 1)])[:count],
        "depth": np.repeat(bump[None], count, 0),
        "valid": np.ones((count, SIZE, SIZE), bool),
        "albedo": np.stack([np.full_like(albedo, 0.5), *[albedo] * (count - 1)])[:count],
        "shading": np.ones((count, SIZE, SIZE), np.float32),
        "view": np.tile(np.float32([0.1, -0.5, 0.2, 0.01, 0.02, 0.03]), (count, 1)),
        "light": np.tile(np.float32(LIGHT), (count, 1)),
        "confidence": np.full((count, 2, SIZE, SIZE), np.log(2), np.float32),
    }
    attrs = {"depth_min": 0.9, "depth_max": 1.1, "fov": 10.0}
    write_artifact(path, "sym3d.prediction", arrays | replaced, provenance=make_provenance(), attrs=attrs)
    return path


def write_scores(path: Path, prediction: Path, names: list[str]) -> Path:
    """SIDE 0.01, 0.02 … in the order of the names; the trivial answer has 0.025 everywhere."""
    side = (np.arange(len(names), dtype=np.float32) + 1) / 100
    arrays = {
        "name": names,
        "side": side,
        "mad": side * 1000,
        "baseline/null-depth/side": np.full(len(names), 0.025, np.float32),
    }
    with open_artifact(prediction) as parent:
        write_artifact(
            path, "sym3d.scores", arrays, provenance=make_provenance(parents=[parent]), attrs={"summary": {}}
        )
    return path


def write_run(folder: Path, rows: int = 3, name: str = "checkpoint.h5") -> Path:
    """A run with a log of so many rows, step 10, 20 …, and a sample sheet."""
    steps = 10.0 * np.arange(1, rows + 1)
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 20), "red").save(folder / "samples" / f"step-{int(steps[-1]):07d}.png")
    side = np.where(np.arange(rows) % 2 == 0, np.nan, 1.5)
    arrays = {"model/a": np.zeros(2, np.float32), "log/step": steps, "log/total": 1 / steps, "log/side": side}
    attrs = {"step": int(steps[-1]), "steps": 1000, "size": 64, "seconds": 36.0}
    write_artifact(folder / name, "sym3d.checkpoint", arrays, provenance=make_provenance(recipe="<b>"), attrs=attrs)
    return folder
