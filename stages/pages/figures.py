"""Numbers that say how each item of a prediction went, and the simple rules that name a cause when it went badly."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from stages.artifact import Artifact
from stages.core.health import convexity
from stages.io.threads import chunks

__all__ = ["CAUSES", "FIGURES", "Cause", "Figure", "depth_limits", "measure"]

CHUNK = 128
Figures = dict[str, np.ndarray]  # key → (N,) float64, NaN where there is none


@dataclass(frozen=True)
class Figure:
    """How a number is shown. column: in the gallery's table, and not only beside the opened item."""

    key: str
    label: str
    unit: str
    doc: str
    digits: int = 1
    column: bool = True


FIGURES = (
    Figure("side", "SIDE", "×10⁻²", "scale-invariant error of the depth", 2),
    Figure("mad", "MAD", "°", "mean angle between predicted and true normals"),
    Figure("relief", "relief", "", "correlation of predicted with true depth; negative where the surface is hollow", 2),
    Figure("misfit", "misfit", "%", "mean difference of input and reconstruction, where the object is", 1),
    Figure("yaw", "yaw", "°", "turn to the side", 0),
    Figure("pitch", "pitch", "°", "turn up or down", 0, False),
    Figure("roll", "roll", "°", "turn in the picture", 0, False),
    Figure("light", "light", "°", "angle between the light and the line of sight", 0),
    Figure("ambient", "ambient", "", "ambient light", 2, False),
    Figure("diffuse", "diffuse", "", "directional light", 2, False),
    Figure("coverage", "covered", "%", "share of the picture that the object covers", 0),
    Figure("brightness", "bright", "%", "mean value of the input, where the object is", 0),
    Figure("span", "depth", "%", "standard deviation of canonical depth, of its range", 1, False),
    Figure("dome", "dome", "", "correlation of nearness with a dome; negative is hollow", 2, False),
    Figure("sure", "sure", "%", "mean confidence exp(-σ)", 0),
)


@dataclass(frozen=True)
class Cause:
    """A reason why an item may fail. test: figures → (N,) true where it holds; NaN compares as false."""

    label: str
    rule: str
    test: Callable[[Figures], np.ndarray]


CAUSES = (
    Cause("worse than flat", "SIDE is above that of a constant depth", lambda f: f["side"] > f["flat"]),
    Cause("picture not explained", "misfit above 10 %", lambda f: f["misfit"] > 10),
    Cause(
        "turned far",
        "yaw beyond 40°, pitch or roll beyond 25°",
        lambda f: (abs(f["yaw"]) > 40) | (abs(f["pitch"]) > 25) | (abs(f["roll"]) > 25),
    ),
    Cause("lit from the side", "light more than 45° off the line of sight", lambda f: f["light"] > 45),
    Cause("hardly any direct light", "diffuse below 0.1: shading says little", lambda f: f["diffuse"] < 0.1),
    Cause("dark picture", "mean value below 15 %", lambda f: f["brightness"] < 15),
    Cause("small in the picture", "covers less than 60 %", lambda f: f["coverage"] < 60),
    Cause("flat shape", "depth varies by less than 2 % of its range", lambda f: f["span"] < 2),
    Cause("hollow shape", "nearness correlates negatively with a dome", lambda f: f["dome"] < 0),
)


def depth_limits(prediction: Artifact) -> tuple[float, float, float]:
    """Near and far limit (m) and horizontal field of view (degrees)."""
    near, far, fov = (float(prediction.attrs[key]) for key in ("depth_min", "depth_max", "fov"))
    return near, far, fov


def measure(prediction: Artifact, task) -> Figures:
    """Every figure that the prediction alone gives, for all its rows; advances ``task`` by rows."""
    near, far, _ = depth_limits(prediction)
    parts = []
    for at in chunks(np.arange(prediction.count), CHUNK):
        rows = slice(at[0], at[-1] + 1)
        valid = prediction["valid"][rows]
        image, seen = (prediction[name][rows].astype(np.float32) / 2.55 for name in ("image", "reconstruction"))
        depth = np.nan_to_num(prediction["canonical_depth"][rows], nan=far, posinf=far, neginf=near)
        with np.errstate(invalid="ignore", divide="ignore"):  # an item that covers nothing has no mean
            inside = valid.sum((1, 2))
            part = {
                "misfit": (np.abs(image - seen).mean(-1) * valid).sum((1, 2)) / inside,
                "brightness": (image.mean(-1) * valid).sum((1, 2)) / inside,
                "coverage": 100 * valid.mean((1, 2)),
                "span": 100 * depth.std((1, 2)) / (far - near),
                "dome": convexity(torch.from_numpy(depth)).numpy(),
            }
        if "confidence" in prediction:
            part["sure"] = 100 * np.exp(-prediction["confidence"][rows][:, 0]).mean((1, 2))
        parts.append(part)
        task.advance(len(at))
    figures = {key: np.concatenate([part[key] for part in parts]).astype(np.float64) for key in parts[0]}
    view, light = prediction["view"][:].astype(np.float64), prediction["light"][:].astype(np.float64)
    with np.errstate(invalid="ignore"):
        pitch, yaw, roll = np.degrees(view[:, :3]).T
        off_axis = np.degrees(np.arccos(np.clip(light[:, 4], -1, 1)))
    return figures | {
        **{"yaw": yaw, "pitch": pitch, "roll": roll},
        **{"light": off_axis, "ambient": light[:, 0], "diffuse": light[:, 1]},
    }
