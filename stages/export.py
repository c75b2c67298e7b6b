"""From a prediction file to files for other programs: meshes, a turntable, a contact sheet."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.artifact import Artifact, open_artifact
from stages.errors import InputError, UsageError
from stages.io.files import file_stems, hold_folder
from stages.io.meshes import check_choices
from stages.io.pictures import contact_sheet, item_pictures, novel_views, write_png
from stages.io.video import swing_yaws, write_gif, write_mp4
from stages.meshing import MESH_FIELDS, export_meshes
from stages.photographs import Photographs, open_photographs
from stages.progress import Report, Silent

__all__ = ["ExportRequest", "ExportResult", "run"]

SHEET_FIELDS = (*MESH_FIELDS, "image", "reconstruction", "shading", "depth", "valid")
MOST_SHEET_ROWS = 40


@dataclass(frozen=True)
class ExportRequest:
    """What to write of which items.

    prediction: a sym3d.prediction file.
    formats:    of meshes: "obj", "glb", "ply"; empty for none.
    pose:       "canonical", or "input" for the input's viewpoint.
    rows, names: row numbers and item names; with both empty every item.
    texture:    "albedo", "shaded" for the canonical image under the input's light, or "photo" for the photograph.
    photos:     the photographs, for the last: images, folders, zips or lists of paths.
    turntable:  a GIF and an MP4 per item.
    sheet:      one contact sheet, sheet.png; truth: a sym3d.images file whose depth it shows beside ours.
    """

    prediction: Path
    out_dir: Path
    formats: tuple[str, ...] = ("obj",)
    pose: str = "canonical"
    rows: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    texture: str = "albedo"
    photos: tuple[Path, ...] = ()
    turntable: bool = False
    sheet: bool = False
    truth: Path | None = None


@dataclass(frozen=True)
class ExportResult:
    """Every path written, by kind and in row order; an item's MTL and PNG follow its meshes."""

    meshes: tuple[Path, ...]
    turntables: tuple[Path, ...]
    sheet: Path | None


def run(request: ExportRequest, *, report: Report = Silent()) -> ExportResult:
    """Write them; existing files of the same names are replaced.

    Raises UsageError on an unknown choice, row or name, InputError on a damaged file, OutputError when writing fails.
    """
    check_choices(request.formats, request.pose, request.texture)
    if not (request.formats or request.turntable or request.sheet):
        raise UsageError("export", "there is nothing to write", "add --format, --turntable or --sheet")
    if request.truth and not request.sheet:
        raise UsageError("--truth", "true depth is shown on the contact sheet only", "add --sheet")
    if (request.texture == "photo") != bool(request.photos):
        fix = "give both: --texture photo --photos FOLDER"
        raise UsageError("--photos", "photographs are for the texture photo, and it needs them", fix)
    with ExitStack() as stack:
        artifact = stack.enter_context(open_artifact(request.prediction, "sym3d.prediction"))
        truth = stack.enter_context(open_artifact(request.truth, "sym3d.images")) if request.truth else None
        names = artifact.strings("name")
        if not names:
            raise InputError(request.prediction, "it holds no items", "infer some images first")
        if truth is not None and "depth" not in truth:
            raise InputError(request.truth, "it holds no true depth", "leave out --truth")
        rows = select_rows(names, request.rows, request.names)
        stems = file_stems(names)
        stack.enter_context(hold_folder(request.out_dir))

        meshes, turntables, sheet = [], [], None
        if request.formats:
            choices = {"formats": request.formats, "pose": request.pose, "texture": request.texture}
            choices["photographs"] = Photographs([stack.enter_context(open_photographs(p)) for p in request.photos])
            meshes = export_meshes(artifact, rows, request.out_dir, **choices, report=report)
        if request.turntable:
            fov = float(artifact.attrs["fov"])
            with report.task("turntables", total=len(rows)) as task:
                for row in rows:
                    item = {field: artifact[field][row] for field in MESH_FIELDS}
                    frames = novel_views(item, names[row], swing_yaws(), size=256, fov=fov)
                    turntables.append(write_gif(request.out_dir / f"{stems[row]}.gif", frames))
                    turntables.append(write_mp4(request.out_dir / f"{stems[row]}.mp4", frames))
                    task.advance()
        if request.sheet:
            if truth is not None and not set(truth.strings("name")) & {names[row] for row in rows}:
                report.warn(f"{request.truth}: none of its images has the name of an item; no true depth is shown")
            if len(rows) > MOST_SHEET_ROWS:
                report.note(f"the sheet shows the first {MOST_SHEET_ROWS} of {len(rows)} items")
            sheet = write_png(request.out_dir / "sheet.png", draw_sheet(artifact, rows[:MOST_SHEET_ROWS], truth))
    return ExportResult(tuple(meshes), tuple(turntables), sheet)


def select_rows(names: Sequence[str], rows: Sequence[int], wanted: Sequence[str]) -> list[int]:
    """The row numbers asked for by number and by name, in the file's order; all of them when nothing is asked for."""
    if not rows and not wanted:
        return list(range(len(names)))
    for row in rows:
        if not 0 <= row < len(names):
            raise UsageError(f"--row {row}", "there is no such row", f"the file holds rows 0 to {len(names) - 1}")
    for name in wanted:
        if name not in names:
            raise UsageError(f"--only {name!r}", "no item has this name", f"the first one is {names[0]!r}")
    return sorted(set(rows) | {row for row, name in enumerate(names) if name in wanted})


def draw_sheet(artifact: Artifact, rows: Sequence[int], truth: Artifact | None) -> np.ndarray:
    """The contact sheet (·, ·, 3) uint8 of these rows; the true depth is found in ``truth`` by the item's name."""
    names = artifact.strings("name")
    true_row = {}
    if truth is not None:
        true_row = {name: row for row, name in enumerate(truth.strings("name"))}
    lines = []
    for row in rows:
        item = {field: artifact[field][row] for field in SHEET_FIELDS}
        lines.append(
            item_pictures(
                item,
                names[row],
                depth_range=(float(artifact.attrs["depth_min"]), float(artifact.attrs["depth_max"])),
                fov=float(artifact.attrs["fov"]),
                truth=truth["depth"][true_row[names[row]]] if names[row] in true_row else None,
            )
        )
    return contact_sheet(lines, [names[row] for row in rows])
