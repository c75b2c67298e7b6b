"""Photographs or a data set in; all factors, a contact sheet and textured meshes out."""

import hashlib
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from stages.artifact import Artifact, RowWriter, make_provenance, open_artifact
from stages.core.inference import QuickSym3D
from stages.device import pick_device
from stages.errors import InputError, UsageError
from stages.io.crops import Crop, crop_box, cut, parse_crop, resize_squares
from stages.io.files import hold_folder, safe_stem
from stages.io.images import UnusableError, decode
from stages.io.meshes import check_choices
from stages.io.pictures import contact_sheet, item_pictures, write_png
from stages.io.sources import LARGEST_FILE, Item, Source, open_source, printable
from stages.loading import Loaded, load_model
from stages.meshing import MESH_FIELDS, export_meshes
from stages.predict import check_split, predict, prediction_fields, split_rows
from stages.progress import Report, Silent

__all__ = ["InferRequest", "InferResult", "run"]

MOST_SHEET_ROWS = 12
SHEET_FIELDS = (*MESH_FIELDS, "image", "reconstruction", "shading", "depth", "valid")
LISTS = (".txt", ".lst")
ARTIFACTS = (b"sym3d artifact", b"\x89HDF\r\n\x1a\n")  # how ours start, and any HDF5, which open_artifact judges


@dataclass(frozen=True)
class InferRequest:
    """checkpoint: a file, a run folder, or a shipped model's name. inputs: images, folders, zips, lists of paths (.txt)
    and sym3d.images files, of which ``split`` "all", "train", "val" or "test" is taken. out: the folder of results;
    None is ``<first input's stem>.sym3d`` in the working directory. formats: of meshes, "obj", "glb", "ply"; pose:
    "canonical" or "input"; texture: "albedo" or "shaded". crop: as in prep, for photographs. ema: take the averaged
    weights where there are some. device: None is CUDA where there is one. confidence: keep the confidence maps too,
    which serve the training loss; the network that makes them takes a fifth of the time.
    """

    checkpoint: Path | str
    inputs: tuple[Path, ...]
    out: Path | None = None
    formats: tuple[str, ...] = ()
    pose: str = "canonical"
    texture: str = "albedo"
    crop: str = "center"
    split: str = "all"
    batch: int = 16
    ema: bool = True
    device: str | None = None
    confidence: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class InferResult:
    """images: rows in the prediction. images_per_second: of those predicted now, from file to file; None when the
    prediction was already there. skipped: (name, reason) of inputs that could not be used."""

    prediction: Path
    images: int
    meshes: tuple[Path, ...]
    sheet: Path
    images_per_second: float | None
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Entry:
    """One image to be: ``load()`` gives uint8 (S, S, 3) or raises UnusableError, ``truth()`` depth (S, S) in metres."""

    name: str
    load: Callable[[], np.ndarray]
    truth: Callable[[], np.ndarray] | None = None


def run(request: InferRequest, *, report: Report = Silent()) -> InferResult:
    """Predict, resuming where an interrupted run stopped, then write the sheet and the meshes.

    Raises InputError when the checkpoint or an input is missing or damaged, when a data set has another size than the
    model, or when not one photograph can be used; StaleError when the output was made from something else; UsageError
    on unknown choices; OutputError when writing fails.
    """
    check_choices(request.formats, request.pose, request.texture)
    check_split(request.split)
    crop = parse_crop(request.crop)
    if not request.inputs:
        raise UsageError("infer", "there is nothing to infer", "name images, folders or a sym3d.images file")
    device = pick_device(request.device)
    loaded = load_model(request.checkpoint, ema=request.ema)
    if not request.confidence:
        loaded.model.netC = None
    out = request.out or Path(f"{_stem(request.inputs[0])}.sym3d")
    with ExitStack() as stack:
        entries, parents = _gather(request, crop, loaded, out, stack)
        _require_one(entries, request.inputs[0])
        stack.enter_context(hold_folder(out))
        writer = stack.enter_context(_writer(out / "prediction.h5", request, loaded, entries, parents))
        if writer.complete:
            report.note(f"{writer.path} is already complete")
        rate = _predict_rows(writer, entries, loaded, device, request.batch, report)
        writer.finish()
        prediction = stack.enter_context(open_artifact(writer.path, "sym3d.prediction"))
        skipped = zip(prediction.strings("skipped/name"), prediction.strings("skipped/reason"), strict=True)
        sheet = _write_sheet(out / "sheet.png", prediction, entries, report)
        meshes = []
        if request.formats:
            choices = {"formats": request.formats, "pose": request.pose, "texture": request.texture}
            meshes = export_meshes(prediction, range(prediction.count), out / "meshes", **choices, report=report)
        return InferResult(writer.path, prediction.count, tuple(meshes), sheet, rate, tuple(skipped))


# -- inputs -----------------------------------------------------------------------------------------------------------


def _gather(
    request: InferRequest, crop: Crop, loaded: Loaded, out: Path, stack: ExitStack
) -> tuple[list[_Entry], list[Artifact | dict]]:
    """Every image of every input, in order, and what the prediction is made from. Reads, but decodes nothing."""
    entries, parents = [], []
    size = loaded.model.size
    for path in request.inputs:
        if _is_artifact(path):
            images = stack.enter_context(open_artifact(path, "sym3d.images"))
            parents.append(images)
            entries += _data_set(images, request.split, size)
        else:
            source = _photograph(path) or stack.enter_context(open_source(path, exclude=[out]))
            parents.append({"name": printable(path.name), "schema": "photographs", "digest": _digest(source)})
            entries += [_Entry(item.name, partial(_square, source, item, crop, size)) for item in source.items]
    return entries, parents


def _data_set(images: Artifact, split: str, size: int) -> list[_Entry]:
    rows = split_rows(images, split, size)
    names = images.strings("name")
    truth = images["depth"] if "depth" in images else None  # noqa: SIM401 (an artifact is no dict)
    pictures = images["image"]
    return [
        _Entry(names[row], partial(pictures.__getitem__, row), truth and partial(truth.__getitem__, row))
        for row in rows.tolist()
    ]


def _photograph(path: Path) -> Source | None:
    """A single image as a source of one item; None for a folder, a zip or a list of paths."""
    if not path.is_file() or path.suffix.lower() in LISTS or zipfile.is_zipfile(path):
        return None
    return Source(path, (Item(printable(path.name), path),), lambda item: _read_photograph(item.handle))


def _read_photograph(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UnusableError(f"too large: more than {LARGEST_FILE // 2**20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise UnusableError(f"unreadable file: {error.strerror}") from None


def _is_artifact(path: Path) -> bool:
    if not path.is_file():  # a pipe would wait for a writer
        return False
    try:
        with path.open("rb") as file:
            return file.read(16).startswith(ARTIFACTS)
    except OSError:
        return False  # whoever opens it in earnest says why


def _read(source: Source, item: Item) -> bytes:
    if item.problem:
        raise UnusableError(item.problem)
    return source.read(item)


def _square(source: Source, item: Item, crop: Crop, size: int) -> np.ndarray:
    pixels, _ = decode(_read(source, item), crop.decoded_side(size))
    return resize_squares([cut(pixels, crop_box(pixels, crop), size)], size)[0]


def _digest(source: Source) -> str:
    """SHA-256 over all names and contents, so that another set of photographs is never taken for this one."""
    total = hashlib.sha256()
    for item in source.items:
        try:
            content = hashlib.sha256(_read(source, item)).hexdigest()
        except UnusableError as error:
            content = str(error)
        total.update(f"{item.name}\0{content}\0".encode())
    return total.hexdigest()


def _require_one(entries: Sequence[_Entry], first: Path) -> None:
    """Raises InputError when not one image can be used, before anything is written."""
    reasons = []
    for entry in entries:
        try:
            entry.load()
            return
        except UnusableError as error:
            reasons.append(str(error))
    if len(entries) == 1:
        raise InputError(printable(str(first)), reasons[0], _advice(reasons[0]))
    what = f"none of its {len(entries)} files can be used; the first ({entries[0].name}): {reasons[0]}"
    raise InputError(printable(str(first)), what.replace(";", ","), _advice(reasons[0]))


def _advice(reason: str) -> str:
    return "try --crop center" if reason.endswith("face found") else "give it photographs"


def _stem(path: Path) -> str:
    return safe_stem(path.resolve().stem or "images")


# -- outputs ----------------------------------------------------------------------------------------------------------


def _writer(
    path: Path, request: InferRequest, loaded: Loaded, entries: Sequence[_Entry], parents: Sequence[Artifact | dict]
) -> RowWriter:
    model, size = loaded.model, loaded.model.size
    options = f"crop = {request.crop}\nsplit = {request.split}\naveraged weights = {str(loaded.averaged).lower()}\n"
    return RowWriter(
        path,
        "sym3d.prediction",
        count=len(entries),
        dims={"H": size, "W": size},
        fields=(*prediction_fields(model), "name"),
        provenance=make_provenance(recipe=options, parents=[loaded.parent, *parents]),
        attrs={"depth_min": model.depth_min, "depth_max": model.depth_max, "fov": model.fov},
        overwrite=request.overwrite,
    )


def _predict_rows(
    writer: RowWriter, entries: Sequence[_Entry], loaded: Loaded, device: torch.device, batch: int, report: Report
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
            good, pictures = [], []
            for row in rows.tolist():
                try:
                    pictures.append(entries[row].load())
                    good.append(row)
                except UnusableError as error:
                    writer.drop(row, entries[row].name, str(error))
            if good:
                fields = predict(model, np.stack(pictures), batch)
                writer.write(good, {**fields, "name": [entries[row].name for row in good]})
            written += len(good)
            task.advance(len(rows))
    return written / (time.perf_counter() - start)


def _write_sheet(path: Path, prediction: Artifact, entries: Sequence[_Entry], report: Report) -> Path:
    names = prediction.strings("name")
    count = min(len(names), MOST_SHEET_ROWS)
    if count < len(names):
        report.note(f"the sheet shows the first {count} of {len(names)} images")
    near, far, fov = (float(prediction.attrs[key]) for key in ("depth_min", "depth_max", "fov"))
    lines = []
    for row in range(count):
        item = {field: prediction[field][row] for field in SHEET_FIELDS}
        # Rows and entries are the same only where none was skipped; data sets, which have the truth, lose none.
        truth = entries[row].truth if len(entries) == len(names) else None
        depth = truth() if truth else None
        lines.append(item_pictures(item, names[row], depth_range=(near, far), fov=fov, truth=depth))
    return write_png(path, contact_sheet(lines, names[:count]))
