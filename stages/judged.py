"""What an evaluation judges: depth maps of a model or of a prediction, next to the truth of a data set."""

from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.artifact import Artifact, open_artifact
from stages.device import pick_device
from stages.errors import InputError, StaleError, UsageError
from stages.io.pictures import SHEET_FIELDS
from stages.loading import Loaded, load_model
from stages.predict import predict, predict_upscaled, split_rows
from stages.progress import Report
from stages.recipe import Recipe, find_images, parse_recipe
from stages.truth import open_truth

__all__ = ["Judged", "open_judged"]


@dataclass(frozen=True)
class Judged:
    """Something with depth maps: ``items(places)`` gives the fields of sym3d.prediction for ``rows[places]``."""

    path: Path
    parent: Artifact | dict
    data: Artifact
    rows: np.ndarray  # (K,) rows of the data set that are judged
    items: Callable[[np.ndarray], dict[str, np.ndarray]]
    depth_range: tuple[float, float]
    fov: float


def open_judged(
    path: Path,
    images: Path | None,
    split: str,
    truth: Collection[str],
    stack: ExitStack,
    report: Report,
    *,
    upscale: bool,
    ema: bool,
    device: str | None,
) -> Judged:
    """A checkpoint's or a prediction's depth maps of a split of the data set, which has these kinds of ``truth``.

    Files stay open for as long as the stack. Arguments and errors as in :mod:`stages.evaluate`.
    """
    artifact = stack.enter_context(open_artifact(path, report=report))
    if artifact.schema == "sym3d.prediction":
        if upscale:
            raise UsageError("--upscale", f"{path} is a prediction, of one size", "name its model instead")
        data = open_truth(images or find_images(_parent_recipe(artifact)), stack, truth, report)
        return _of_prediction(artifact, data, split)
    loaded = load_model(path, ema=ema)
    data = open_truth(images or find_images(loaded.recipe), stack, truth, report)
    if data.digest not in _ancestors(loaded.provenance):
        report.note(f"{path} was trained on other images than {data.path}")
    return _of_model(path, loaded, data, split, upscale, device)


def _of_model(path: Path, loaded: Loaded, data: Artifact, split: str, upscale: bool, device: str | None) -> Judged:
    size = data["image"].shape[1]
    larger = upscale and size > loaded.model.size and size % loaded.model.size == 0
    rows = split_rows(data, split, size if larger else loaded.model.size)
    model = loaded.model.to(pick_device(device))
    model.netC = None  # confidence serves the training loss only
    near_far = (model.depth_min, model.depth_max)
    images, answer = data["image"], predict_upscaled if larger else predict
    return Judged(path, loaded.parent, data, rows, lambda at: answer(model, images[rows[at]]), near_far, model.fov)


def _ancestors(provenance: dict) -> set[str]:
    """The digests of everything in the chain."""
    parents = provenance.get("parents", [])
    return set().union(*({p.get("digest")} | _ancestors(p.get("provenance", {})) for p in parents))


def _of_prediction(artifact: Artifact, data: Artifact, split: str) -> Judged:
    """A prediction's rows are found in the data set by name; it must have been made from this very data set."""
    parents = artifact.provenance.get("parents", [])
    if data.digest not in [parent.get("digest") for parent in parents]:
        made_from = ", ".join(str(parent.get("name")) for parent in parents[1:]) or "something else"
        what = f"was not made from {data.path}, or from an earlier version of it (but from {made_from})"
        raise StaleError(artifact.path, what, "infer that file, or name the data set it was made from")
    rows = split_rows(data, split, artifact["image"].shape[1])
    names = data.strings("name")
    if len(set(names)) < len(names):
        raise InputError(data.path, "has several rows of the same name", "evaluate the checkpoint instead")
    place = {name: index for index, name in enumerate(artifact.strings("name"))}
    rows = np.array([row for row in rows if names[row] in place], dtype=np.int64)
    if not len(rows):
        what = f"holds no image of the {split} split of {data.path}"
        raise InputError(artifact.path, what, f"infer with --split {split}, or evaluate another split")
    places = np.array([place[names[row]] for row in rows])

    fields = [*SHEET_FIELDS, *(["reliability"] if "reliability" in artifact else [])]  # older files have none

    def items(at: np.ndarray) -> dict[str, np.ndarray]:
        wanted, back = np.unique(places[at], return_inverse=True)  # HDF5 reads ascending rows
        return {field: artifact[field][wanted][back] for field in fields}

    near, far, fov = (float(artifact.attrs[key]) for key in ("depth_min", "depth_max", "fov"))
    return Judged(artifact.path, artifact, data, rows, items, (near, far), fov)


def _parent_recipe(artifact: Artifact) -> Recipe:
    for parent in artifact.provenance.get("parents", []):
        if parent.get("schema") == "sym3d.checkpoint":
            return parse_recipe(parent["provenance"].get("recipe") or "", where=f"{artifact.path}: its model's recipe")
    raise InputError(artifact.path, "does not say what it was made from", "name the data set as well")
