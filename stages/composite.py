"""Composite: a relit or turned result put back into the photograph that it came from, at the photograph's size."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from stages.artifact import Artifact, open_artifact
from stages.core.blend import picture_scale, relit_factor, turned_picture
from stages.core.scene import changed_light
from stages.errors import InputError, UsageError
from stages.io.files import hold_file
from stages.io.meshes import build_mesh
from stages.io.pictures import write_png
from stages.photographs import LARGEST_TEXTURE, Photographs, check_box, open_photographs, place_of, texture_from
from stages.progress import Report, Silent

__all__ = ["CompositeRequest", "CompositeResult", "run"]

MOST_YAW = 60.0  # degrees
LARGEST_LAYER = 2**28  # pixels, of what is laid over the photograph


@dataclass(frozen=True)
class CompositeRequest:
    """prediction: a sym3d.prediction file. photo: the photograph that some of its rows are from; out: a PNG.

    lamp: where it stands, to the right and up for each unit in front of the canonical view; ambient, diffuse: strength
    of the light; None leaves each as it is. yaw: degrees to turn by, up to 60, positive to the picture's right. Either
    light or yaw. rows: only these; empty is all that are from the photograph.
    """

    prediction: Path
    photo: Path
    out: Path
    lamp: tuple[float, float] | None = None
    ambient: float | None = None
    diffuse: float | None = None
    yaw: float | None = None
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class CompositeResult:
    """names: of the items that were put into the picture."""

    picture: Path
    names: tuple[str, ...]


def run(request: CompositeRequest, *, report: Report = Silent()) -> CompositeResult:
    """Write the photograph with every one of its items changed, the smallest last. It is as transparent as before.

    Raises UsageError when it is not clear what to change, InputError when the prediction does not know the photograph
    or an item holds no surface, OutputError when writing fails.
    """
    light = (request.lamp, request.ambient, request.diffuse)
    if (request.yaw is None) == (light == (None, None, None)):
        raise UsageError("composite", "either the light or the viewpoint changes", "add --light X,Y or --yaw DEGREES")
    if request.yaw is not None and not abs(request.yaw) <= MOST_YAW:
        raise UsageError(f"--yaw {request.yaw:g}", "is too far round", f"use -{MOST_YAW:g} to {MOST_YAW:g} degrees")
    with ExitStack() as stack:
        prediction = stack.enter_context(open_artifact(request.prediction, "sym3d.prediction"))
        source = stack.enter_context(open_photographs(request.photo))
        photographs = Photographs([source])
        rows = _rows_of(request, prediction, photographs)
        stack.enter_context(hold_file(request.out, [request.prediction, request.photo]))
        if request.out.suffix.lower() != ".png":
            raise UsageError(request.out, "is no name for a PNG, which is what is written", "let it end in .png")
        whole = photographs.pixels(*place_of(prediction, rows[0])[:2], alpha=True)
        picture = whole[..., :3]  # how opaque the photograph is stays as it was
        names = prediction.strings("name")
        with report.task("composite", total=len(rows)) as task:
            for row in rows:
                check_box(names[row], place_of(prediction, row)[2], picture)
                if request.yaw is None:
                    _relight(picture, prediction, row, request)
                else:
                    _turn(picture, prediction, row, request.yaw, photographs)
                task.advance()
        return CompositeResult(write_png(request.out, whole), tuple(names[row] for row in rows))


def _rows_of(request: CompositeRequest, prediction: Artifact, photographs: Photographs) -> list[int]:
    """The rows that are asked for and from the photograph, the largest first."""
    for row in request.rows:
        if not 0 <= row < prediction.count:
            fix = f"the file holds rows 0 to {prediction.count - 1}"
            raise UsageError(f"--row {row}", "there is no such row", fix)
    places = {row: place_of(prediction, row) for row in request.rows or range(prediction.count)}
    rows = [row for row, (_, content, _) in places.items() if photographs.holds(content)]
    if not rows:
        what = "none of the prediction's images is from this photograph, as it is now"
        raise InputError(request.photo, what, "name the file that was inferred, or infer this one")
    return sorted(rows, key=lambda row: places[row][2][0] - places[row][2][2])


def _relight(picture: np.ndarray, prediction: Artifact, row: int, request: CompositeRequest) -> None:
    fields = ("canonical_depth", "depth", "valid", "view", "light")
    *maps, old = (torch.from_numpy(prediction[field][row]) for field in fields)
    new = changed_light(old, request.lamp, request.ambient, request.diffuse)
    factor = relit_factor(*maps, old, new, float(prediction.attrs["fov"])).numpy()
    window, (grown,) = _fit(picture, place_of(prediction, row)[2], 1.0, factor)
    window[:] = (window * grown[..., None]).clip(0, 255).round()


def _turn(picture: np.ndarray, prediction: Artifact, row: int, yaw: float, photographs: Photographs) -> None:
    name, _, box = place_of(prediction, row)
    fov, side = float(prediction.attrs["fov"]), prediction["canonical_depth"].shape[1]
    item = {field: prediction[field][row] for field in ("canonical_depth", "view")}
    item["photo_texture"] = texture_from(photographs, prediction, row)
    mesh, texture = build_mesh(item, name, pose="input", texture="photo", fov=fov)
    colours = torch.from_numpy(texture).permute(2, 0, 1).float() / 255
    size = max(2 * side, min(round(1.3 * (box[2] - box[0])), LARGEST_TEXTURE))
    drawn, opacity = turned_picture(mesh, colours, torch.from_numpy(item["view"]), yaw, size=size)
    scale = picture_scale(side, fov, size)
    if not scale * scale * (box[2] - box[0]) * (box[3] - box[1]) <= LARGEST_LAYER:
        what = f"with a field of view of {fov:g}° it cannot be turned within its photograph"
        raise InputError(name, what, "infer it again")
    window, (front, weight) = _fit(picture, box, scale, drawn.permute(1, 2, 0).numpy(), opacity.numpy())
    weight = weight[..., None]
    window[:] = (window * (1 - weight) + 255 * weight * front).clip(0, 255).round()


def _fit(
    picture: np.ndarray, box: tuple[float, ...], scale: float, *layers: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The part of the picture under ``scale`` times the box, and the layers as they lie over it."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = box
    across, down = (x1 - x0) * scale, (y1 - y0) * scale
    left, top = round((x0 + x1 - across) / 2), round((y0 + y1 - down) / 2)
    shape = max(1, round(across)), max(1, round(down))
    inside = slice(max(0, -top), height - top), slice(max(0, -left), width - left)
    fitted = [cv2.resize(layer, shape, interpolation=cv2.INTER_CUBIC)[inside] for layer in layers]
    return picture[max(0, top) :, max(0, left) :][: fitted[0].shape[0], : fitted[0].shape[1]], fitted
