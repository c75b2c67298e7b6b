"""The items of a prediction as one JSON document: a strip of pictures, a depth grid and the figures of each."""

import base64
import io
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image

from stages.artifact import Artifact, open_artifact
from stages.errors import InputError
from stages.io.pictures import colour_confidence, colour_depth, colour_normals, colour_shading
from stages.pages.figures import CAUSES, FIGURES, Figure, depth_limits, measure
from stages.progress import Report

__all__ = ["data_uri", "numbers", "read_items"]

LARGEST = 128  # px: pictures and depth grids of larger images are reduced to this
CODES = 65534  # a depth grid holds 0 for no depth and 1 + this many steps from the item's nearest to its farthest


def read_items(prediction: Path | None, scores: Sequence[Path], most: int, report: Report) -> dict:
    """The document, JSON-ready, of at most ``most`` items: the worst, the best, and an even pick of the others.

    Without a prediction it holds the names and figures of the first scores, without pictures; without both, nothing.
    Raises InputError when a file is damaged.
    """
    with ExitStack() as stack:
        if prediction is not None:
            artifact = stack.enter_context(open_artifact(prediction, "sym3d.prediction", report))
            names = artifact.strings("name")
            with report.task("figures", total=len(names)) as task:
                figures = measure(artifact, task) if names else {}
            figures |= {key: artifact[key][:] for key in _extra(artifact)}
        elif scores:
            artifact, figures = None, {}
            with open_artifact(scores[0], "sym3d.scores") as first:
                names = first.strings("name")
        else:
            return {"items": [], "columns": [], "pictures": [], "causes": [], "total": 0}
        figures |= _scores(scores, names)
        rows = _pick(figures, len(names), most)
        columns = _columns(figures)
        table = {column.key: figures[column.key] for column in columns}
        items = [
            {"name": names[row], "row": row, "figures": numbers([values[row] for values in table.values()], 4)}
            for row in rows
        ]
        document = {
            "columns": [vars(column) for column in columns],
            "causes": _causes(figures, rows),
            "total": len(names),
            "pictures": [],
            "items": items,
        }
        if artifact is None:
            return document
        with report.task("pictures", total=len(rows)) as task:
            for item in items:
                item |= _looks(artifact, item["row"])
                task.advance()
        return document | {"pictures": list(_pictures(artifact, 0)) if names else [], "fov": depth_limits(artifact)[2]}


# -- figures ----------------------------------------------------------------------------------------------------------


def _extra(artifact: Artifact) -> list[str]:
    """Datasets with one number for each item, such as a reliability."""
    return [n for n in artifact.names if artifact[n].shape == (artifact.count,) and artifact[n].dtype.kind == "f"]


def _scores(paths: Sequence[Path], names: list[str]) -> dict[str, np.ndarray]:
    """The first scores that know one of these names, brought into their order; NaN where a name is unknown."""
    for path in paths:
        with open_artifact(path, "sym3d.scores") as scores:
            theirs = scores.strings("name")
            place = {name: row for row, name in enumerate(theirs)}
            if theirs == names:
                rows = list(range(len(names)))
            else:  # a name that stands there twice says nothing about which of the two it is
                twice = {name for row, name in enumerate(theirs) if place[name] != row}
                rows = [-1 if name in twice else place.get(name, -1) for name in names]
            if not len(rows) or max(rows) < 0:
                continue
            rows = np.array(rows)
            found = {key: np.where(rows < 0, np.nan, scores[key][:][rows]) for key in _extra(scores)}
            figures = {key: values for key, values in found.items() if not key.startswith("baseline/")}
            if "side" in figures:
                figures["side"] = figures["side"] * 100
            if "baseline/null-depth/side" in found:
                figures["flat"] = found["baseline/null-depth/side"] * 100
            return figures
    return {}


def _pick(figures: dict[str, np.ndarray], count: int, most: int) -> list[int]:
    if count <= most:
        return list(range(count))
    ranked = next((figures[key] for key in ("side", "mad", "misfit") if key in figures), np.zeros(count))
    worst_first = np.argsort(-np.nan_to_num(ranked), kind="stable")
    ends = most // 4
    between = worst_first[ends : count - ends]
    even = between[np.linspace(0, len(between) - 1, most - 2 * ends).round().astype(int)]
    return sorted({*worst_first[:ends].tolist(), *worst_first[count - ends :].tolist(), *even.tolist()})


def _columns(figures: dict[str, np.ndarray]) -> list[Figure]:
    known = [figure for figure in FIGURES if figure.key in figures]
    other = [key for key in figures if key != "flat" and key not in {figure.key for figure in FIGURES}]
    return known + [Figure(key, key, "", f"the file's own figure {key}", 3) for key in other]


def _causes(figures: dict[str, np.ndarray], rows: Sequence[int]) -> list[dict]:
    """Each rule that can be judged here: for how many of all items it holds, which of those shown, and their SIDE."""
    found, at = [], np.array(rows, dtype=int)
    for cause in CAUSES:
        try:
            holds = cause.test(figures)
        except KeyError:  # needs a figure that these files do not have
            continue
        means = {}
        if "side" in figures:
            means = {"side": [_mean(figures["side"][holds]), _mean(figures["side"][~holds])]}
        shown = np.flatnonzero(holds[at]).tolist()
        found.append({"label": cause.label, "rule": cause.rule, "count": int(holds.sum()), "items": shown, **means})
    return found


def _mean(values: np.ndarray) -> float | None:
    values = values[np.isfinite(values)]
    return round(float(values.mean()), 4) if len(values) else None


def numbers(values: Sequence[float], digits: int) -> list[float | None]:
    """Rounded to significant digits; null where a number is not finite, because JSON has no word for that."""
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in map(float, values)]


# -- looks ------------------------------------------------------------------------------------------------------------


def _looks(artifact: Artifact, row: int) -> dict:
    """The strip of pictures, the depth grid, viewpoint and light of one item."""
    tiles = [_reduce(picture) for picture in _pictures(artifact, row).values()]
    strip = np.concatenate([np.asarray(tile) for tile in tiles], axis=1)
    looks = {
        "strip": data_uri(Image.fromarray(strip), quality=88),
        "view": numbers(np.nan_to_num(artifact["view"][row]), 5),
        "light": numbers(np.nan_to_num(artifact["light"][row]), 5),
    }
    depth = np.asarray(_reduce(artifact["canonical_depth"][row].astype(np.float32)))
    solid = np.isfinite(depth) & (depth > 0)
    if solid.any():
        near, far = float(depth[solid].min()), float(depth[solid].max())
        codes = np.where(solid, 1 + (depth - near) / max(far - near, 1e-9) * CODES + 0.5, 0).astype("<u2")
        looks |= {"grid": base64.b64encode(codes.tobytes()).decode(), "size": list(depth.shape), "range": [near, far]}
    return looks


def _pictures(artifact: Artifact, row: int) -> dict[str, np.ndarray]:
    """Title → (H, W, 3) uint8, the same titles for every row."""
    near, far, fov = depth_limits(artifact)
    shape = artifact["canonical_depth"][row]
    found = {
        "input": artifact["image"][row],
        "reconstruction": artifact["reconstruction"][row],
        "albedo": (np.nan_to_num(artifact["albedo"][row]).clip(0, 1) * 255 + 0.5).astype(np.uint8),
        "shading": colour_shading(artifact["shading"][row]),
        "depth": colour_depth(shape, near=near, far=far),
        "normals": colour_normals(np.nan_to_num(shape, nan=far, posinf=far), fov),
        "depth in view": colour_depth(artifact["depth"][row], artifact["valid"][row], near=near, far=far),
    }
    if "confidence" in artifact:
        sure, mirrored = artifact["confidence"][row]
        found |= {"confidence": colour_confidence(sure), "of the mirror image": colour_confidence(mirrored)}
    return found


def _reduce(values: np.ndarray) -> Image.Image:
    image = Image.fromarray(values)
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    return image


def data_uri(image: Image.Image, *, quality: int) -> str:
    """A lossy WebP in the URL itself. Raises InputError when the picture is larger than WebP can be."""
    stream = io.BytesIO()
    try:
        image.save(stream, format="WEBP", quality=quality, method=4)
    except (OSError, ValueError) as error:
        raise InputError("a picture", f"cannot be shown ({error})", "use smaller images") from error
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
