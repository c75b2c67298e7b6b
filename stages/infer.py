"""Photographs or a data set in; all factors, a contact sheet and textured meshes out."""

import time
import tomllib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stages.artifact import Artifact, RowWriter, make_provenance, open_artifact
from stages.core.inference import QuickSym3D
from stages.device import pick_device
from stages.entries import Entry, Inputs, gather, require_one
from stages.errors import InputError, UsageError
from stages.io.crops import Crop, parse_crop
from stages.io.files import file_stems, hold_folder, safe_stem
from stages.io.images import UnusableError
from stages.io.meshes import check_choices
from stages.io.pictures import SHEET_FIELDS, contact_sheet, item_pictures, write_png
from stages.loading import Loaded, load_model
from stages.meshing import export_meshes, mesh_choices
from stages.photographs import Photographs
from stages.predict import check_split, predict, prediction_fields
from stages.progress import Report, Silent

__all__ = ["InferRequest", "InferResult", "crop_of", "run"]

MOST_SHEET_ROWS = 12


@dataclass(frozen=True)
class InferRequest:
    """checkpoint: a file, a run folder, or a shipped model's name. inputs: images, folders, zips, lists of paths (.txt)
    and sym3d.images files, of which ``split`` "all", "train", "val" or "test" is taken. out: the folder of results;
    None is ``<first input's stem>.sym3d`` in the working directory. formats, pose, texture, resolution, triangles,
    solid: of meshes, as in export. crop: of photographs, as parse_crop takes it; None is the model's own. every: all
    faces of a photograph that the crop finds, not only the largest. ema: take the averaged weights where there are
    some. device: None is CUDA where there is one. confidence: keep the confidence maps too, which serve the training
    loss; the network that makes them takes a fifth of the time.
    """

    checkpoint: Path | str
    inputs: tuple[Path, ...]
    out: Path | None = None
    formats: tuple[str, ...] = ()
    pose: str = "canonical"
    texture: str = "albedo"
    resolution: int | None = None
    triangles: int | None = None
    solid: bool = False
    crop: str | None = None
    every: bool = False
    split: str = "all"
    batch: int = 16
    ema: bool = True
    device: str | None = None
    confidence: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class InferResult:
    """images: rows in the prediction. reliability: (name, score in [0, 1]) of each, the least reliable first.
    images_per_second: of those predicted now, from file to file; None when the prediction was already there.
    skipped: (name, reason) of inputs that could not be used."""

    prediction: Path
    images: int
    reliability: tuple[tuple[str, float], ...]
    meshes: tuple[Path, ...]
    sheet: Path
    images_per_second: float | None
    skipped: tuple[tuple[str, str], ...]


def run(request: InferRequest, *, report: Report = Silent()) -> InferResult:
    """Predict, resuming where an interrupted run stopped, then write the sheet and the meshes.

    Raises InputError when the checkpoint or an input is missing or damaged, when a data set has another size than the
    model, or when not one photograph can be used; StaleError when the output was made from something else; UsageError
    on unknown choices; MissingPartError for a format whose library is not installed; OutputError when writing fails.
    """
    check_choices(**mesh_choices(request))
    check_split(request.split)
    crop = None if request.crop is None else parse_crop(request.crop)
    if not request.inputs:
        raise UsageError("infer", "there is nothing to infer", "name images, folders or a sym3d.images file")
    device = pick_device(request.device)
    loaded = load_model(request.checkpoint, ema=request.ema)
    if not request.confidence:
        loaded.model.netC = None
    elif loaded.model.netC is None:
        report.note(f"{request.checkpoint} has no confidence maps to keep: it was trained without")
    crop = crop or crop_of(loaded)
    out = request.out or Path(f"{_stem(request.inputs[0])}.sym3d")
    with ExitStack() as stack:
        inputs = gather(
            request.inputs,
            size=loaded.model.size,
            crop=crop,
            split=request.split,
            every=request.every,
            exclude=out,
            stack=stack,
            report=report,
        )
        entries = inputs.entries
        require_one(entries, request.inputs[0])
        if request.formats and request.texture == "photo" and not inputs.photographs:
            what = "holds pictures that were cut from no photograph"
            raise InputError(request.inputs[0], what, "choose another --texture")
        if inputs.photographs and request.crop is None:
            report.note(f"photographs are cut with --crop {crop.text}, as far as is known of the model's training")
        stack.enter_context(hold_folder(out))
        writer = stack.enter_context(_writer(out / "prediction.h5", request, crop, loaded, inputs, report))
        if writer.complete:
            report.note(f"{writer.path} is already complete")
        rate = _predict_rows(writer, entries, loaded, device, request.batch, report)
        writer.finish()
        prediction = stack.enter_context(open_artifact(writer.path, "sym3d.prediction", report))
        skipped = zip(prediction.strings("skipped/name"), prediction.strings("skipped/reason"), strict=True)
        sheet = _write_sheet(out / "sheet.png", prediction, entries, report)
        meshes = []
        if request.formats:
            choices = mesh_choices(request) | {"photographs": Photographs(inputs.photographs)}
            choices["stems"] = file_stems(prediction.strings("name"))
            meshes = export_meshes(prediction, range(prediction.count), out / "meshes", **choices, report=report)
        scores = zip(prediction.strings("name"), prediction["reliability"][:].tolist(), strict=True)
        ranked = tuple(sorted(scores, key=lambda item: item[1]))
        return InferResult(writer.path, prediction.count, ranked, tuple(meshes), sheet, rate, tuple(skipped))


def crop_of(loaded: Loaded) -> Crop:
    """How photographs are cut for a model: as its recipe says in ``data.crop``, else as its training images were.

    Raises InputError when that is no crop.
    """
    stated = loaded.recipe.data.crop or _prepared_crop(loaded.provenance)
    try:
        return parse_crop(stated)
    except UsageError as error:
        raise InputError(loaded.path, f"its own crop, {stated!r}, is no crop", "add --crop") from error


def _prepared_crop(provenance: dict) -> str:
    """The crop that ``sym3d prep`` made a checkpoint's training images with; center where that is unknown, and for
    "none", which says only that the pictures had been cut before."""
    for parent in provenance.get("parents", ()):
        try:
            options = tomllib.loads(parent["provenance"]["recipe"])
            kind, fraction, down = options["crop"], options["fraction"], options.get("down", 0.0)
        except (KeyError, TypeError, tomllib.TOMLDecodeError):
            continue  # made by something else
        return "center" if kind == "none" else str(fraction) if kind == "center" else f"{kind}:{fraction}:{down}"
    return "center"


def _stem(path: Path) -> str:
    return safe_stem(path.resolve().stem or "images")


# -- outputs ----------------------------------------------------------------------------------------------------------


def _writer(path: Path, request: InferRequest, crop: Crop, loaded: Loaded, inputs: Inputs, report: Report) -> RowWriter:
    model, size = loaded.model, loaded.model.size
    every = "all = true\n" if request.every else ""
    averaged = str(loaded.averaged).lower()
    options = f"crop = {crop.text}\n{every}split = {request.split}\naveraged weights = {averaged}\n"
    placed = ("box",) if all(entry.placed for entry in inputs.entries) else ()
    return RowWriter(
        path,
        "sym3d.prediction",
        count=len(inputs.entries),
        dims={"H": size, "W": size},
        fields=(*prediction_fields(model), "name", "sha256", *placed),
        provenance=make_provenance(recipe=options, parents=[loaded.parent, *inputs.parents]),
        attrs={"depth_min": model.depth_min, "depth_max": model.depth_max, "fov": model.fov},
        overwrite=request.overwrite,
        report=report,
    )


def _predict_rows(
    writer: RowWriter, entries: Sequence[Entry], loaded: Loaded, device: torch.device, batch: int, report: Report
) -> float | None:
    """Predict what is pending; returns images per second from file to file, None when nothing was."""
    pending = writer.pending()
    if not len(pending):
        return None
    model, written, start = loaded.model.to(device), 0, time.perf_counter()
    if batch == 1 and device.type == "cpu":
        model = QuickSym3D(model)
    with report.task("infer", total=len(entries), done=len(entries) - len(pending)) as task:
        for rows in np.split(pending, range(batch, len(pending), batch)):
            good, squares = [], []
            for row in rows.tolist():
                try:
                    squares.append(entries[row].load())
                    good.append(row)
                except UnusableError as error:
                    writer.drop(row, entries[row].name, str(error))
            if good:
                fields = predict(model, np.stack([square.pixels for square in squares]), batch)
                fields |= {
                    "name": [entries[row].name for row in good],
                    "sha256": [square.sha256 for square in squares],
                    "box": np.array([square.box for square in squares], np.float32),
                }
                writer.write(good, {name: fields[name] for name in writer.fields})
            written += len(good)
            task.advance(len(rows))
    return written / (time.perf_counter() - start)


def _write_sheet(path: Path, prediction: Artifact, entries: Sequence[Entry], report: Report) -> Path:
    names = prediction.strings("name")
    count = min(len(names), MOST_SHEET_ROWS)
    if count < len(names):
        report.note(f"the sheet shows the first {count} of {len(names)} images")
    near, far, fov = (float(prediction.attrs[key]) for key in ("depth_min", "depth_max", "fov"))
    lines = []
    with report.task("sheet", total=count) as task:
        for row in range(count):
            item = {field: prediction[field][row] for field in SHEET_FIELDS}
            # Rows and entries are the same only where none was skipped; data sets, which have the truth, lose none.
            truth = entries[row].truth if len(entries) == len(names) else None
            depth = truth() if truth else None
            lines.append(item_pictures(item, names[row], depth_range=(near, far), fov=fov, truth=depth))
            task.advance()
    trust = prediction["reliability"][:count]
    labels = [f"{name} · reliability {score:.2f}" for name, score in zip(names[:count], trust, strict=True)]
    return write_png(path, contact_sheet(lines, labels))
