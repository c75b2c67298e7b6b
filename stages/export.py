"""From a prediction file to files for other programs: meshes, maps, videos, contact sheets."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.artifact import Artifact, open_artifact
from stages.errors import InputError, UsageError
from stages.io.claims import claim_stems
from stages.io.files import file_stems, hold_folder
from stages.io.maps import DEPTHS
from stages.io.meshes import check_choices
from stages.io.pictures import SHEET_FIELDS, contact_sheet, item_pictures, write_png
from stages.io.threads import chunks
from stages.meshing import check_maps, export_maps, export_meshes, mesh_choices
from stages.motions import check_videos, export_videos
from stages.photographs import Photographs, open_photographs
from stages.progress import Report, Silent
from stages.scenes import BACKGROUND, make_canvas
from stages.selection import item_names, select_rows, subset_mark

__all__ = ["ExportRequest", "ExportResult", "draw_sheet", "run"]

SHEET_ROWS = 40  # on a page


@dataclass(frozen=True)
class ExportRequest:
    """What to write of which items.

    prediction: a sym3d.prediction file.
    formats:    of meshes: "obj", "glb", "ply", "stl", "usdz", or "points" for the vertices alone; empty for none.
    pose:       "canonical", or "input" for the input's viewpoint.
    rows, names: row numbers and item names; with both empty every item.
    texture:    "albedo", "shaded" for the canonical image under the input's light, or "photo" for the photograph, which
                videos show too.
    photos:     the photographs, for the last: images, folders, zips or lists of paths.
    resolution: vertices along each side of a mesh, 16 to 512, and the size of maps; None: the prediction's own.
    triangles:  at most so many in a mesh, 100 or more; None for all.
    solid:      meshes closed by a flat back.
    depth:      maps of depth: "png16", "exr", "npy"; empty for none.
    normals:    a map of normals.
    videos:     of stages.motions.MOTIONS, in each of video_formats (stages.io.video.VIDEO_FORMATS) with frames of
                size × size pixels.
    sheet:      contact sheets, sheet.png and further pages sheet.2.png, …, of some items sheet+ann.png; truth: a
                sym3d.images file whose depth they show beside ours.
    """

    prediction: Path
    out_dir: Path
    formats: tuple[str, ...] = ("obj",)
    pose: str = "canonical"
    rows: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    texture: str = "albedo"
    photos: tuple[Path, ...] = ()
    resolution: int | None = None
    triangles: int | None = None
    solid: bool = False
    depth: tuple[str, ...] = ()
    normals: bool = False
    videos: tuple[str, ...] = ()
    video_formats: tuple[str, ...] = ("mp4", "gif")
    size: int = 512
    background: str = BACKGROUND
    device: str | None = None
    sheet: bool = False
    truth: Path | None = None


@dataclass(frozen=True)
class ExportResult:
    """Every path written, by kind and in row order; an item's MTL and PNG follow its meshes."""

    meshes: tuple[Path, ...]
    maps: tuple[Path, ...]
    videos: tuple[Path, ...]
    sheets: tuple[Path, ...]


def run(request: ExportRequest, *, report: Report = Silent()) -> ExportResult:
    """Write them. A second run replaces the files of the first, but not those of another prediction.

    Raises UsageError on an unknown choice, row or name, InputError on a damaged file, MissingPartError for a format
    whose library is not installed, OutputError when writing fails.
    """
    choices = mesh_choices(request)
    check_choices(**choices)
    for kind in request.depth:
        if kind not in DEPTHS:
            raise UsageError(f"--depth {kind}", "there is no such choice", f"choose from {', '.join(DEPTHS)}")
    check_videos(request.videos, request.video_formats, request.size, report)
    canvas = make_canvas(request.size, request.background, request.device, report)
    maps_wanted = bool(request.depth or request.normals)
    if not (request.formats or maps_wanted or request.videos or request.sheet):
        fix = "add --format, --depth, --normals, --video or --sheet"
        raise UsageError("export", "there is nothing to write", fix)
    if (request.solid or request.triangles is not None) and not request.formats:
        raise UsageError("--solid and --triangles", "they are for meshes, and none is written", "add --format")
    if request.truth and not request.sheet:
        raise UsageError("--truth", "true depth is shown on the contact sheet only", "add --sheet")
    if (request.texture == "photo") != bool(request.photos):
        fix = "give both: --texture photo --photos FOLDER"
        raise UsageError("--photos", "photographs are for the texture photo, and it needs them", fix)
    with ExitStack() as stack:
        artifact = stack.enter_context(open_artifact(request.prediction, "sym3d.prediction", report))
        truth = stack.enter_context(open_artifact(request.truth, "sym3d.images")) if request.truth else None
        names = item_names(artifact)
        if truth is not None and "depth" not in truth:
            raise InputError(request.truth, "it holds no true depth", "leave out --truth")
        rows = select_rows(names, request.rows, request.names)
        drawn = {
            "depth": request.depth,
            "normals": request.normals,
            "pose": request.pose,
            "resolution": request.resolution,
        }
        stems = file_stems(names)
        if request.formats and maps_wanted:
            check_maps(artifact, rows, stems=stems, **drawn)
        stack.enter_context(hold_folder(request.out_dir))
        source = artifact.path, artifact.digest
        wanted = [*stems, "sheet"] if request.sheet else stems
        claimed = stack.enter_context(claim_stems(request.out_dir, wanted, source, report))
        stems = [claimed[stem] for stem in stems]

        meshes, maps, videos, sheets = [], [], [], []
        photographs = Photographs([stack.enter_context(open_photographs(p)) for p in request.photos])
        if request.formats:
            choices["photographs"] = photographs
            meshes = export_meshes(artifact, rows, request.out_dir, stems=stems, **choices, report=report)
        if maps_wanted:
            maps = export_maps(artifact, rows, request.out_dir, stems=stems, **drawn, report=report)
        if request.videos:
            films = {"motions": request.videos, "formats": request.video_formats, "canvas": canvas}
            films["photographs"] = photographs if request.photos else None
            videos = export_videos(artifact, rows, request.out_dir, stems=stems, **films, report=report)
        if request.sheet:
            if truth is not None and not set(truth.strings("name")) & {names[row] for row in rows}:
                report.warn(f"{request.truth}: none of its images has the name of an item; no true depth is shown")
            pages = list(chunks(rows, SHEET_ROWS))
            name = f"{claimed['sheet']}{subset_mark(stems, rows)}{'+truth' if truth else ''}"
            with report.task("sheets", total=len(pages)) as task:
                for page, some in enumerate(pages, 1):
                    path = request.out_dir / (f"{name}.png" if page == 1 else f"{name}.{page}.png")
                    sheets.append(write_png(path, draw_sheet(artifact, some, truth)))
                    task.advance()
    return ExportResult(tuple(meshes), tuple(maps), tuple(videos), tuple(sheets))


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
