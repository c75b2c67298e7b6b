"""The items of a prediction under another light: pictures from the input's view and from the front, and sweeps."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from stages.artifact import open_artifact
from stages.core.scene import Scene, changed_light, lit, with_photo
from stages.edited import edited_meshes, edited_prediction
from stages.errors import UsageError
from stages.io.claims import claim_stems
from stages.io.files import file_stems, hold_folder
from stages.io.meshes import check_choices
from stages.io.pictures import contact_sheet, write_png
from stages.io.video import write_video
from stages.motions import FRAMES, check_videos, circling_lights, light
from stages.progress import Report, Silent
from stages.scenes import BACKGROUND, Canvas, make_canvas, usable_scenes
from stages.selection import item_names, select_rows, subset_mark

__all__ = ["RelightRequest", "RelightResult", "run"]

SIDES = ("from the left", "from above", "from the right", "from below")
MOST_SHEET_ROWS = 40


@dataclass(frozen=True)
class RelightRequest:
    """Which items, and what their light becomes.

    lamp:    (x, y), where it stands: x to the right and y up for each unit in front of the frontal view.
    ambient, diffuse: strengths, 1 shows the albedo as it is.
    source:  the name of an item whose light is taken. swap: the two items chosen take each other's.
    What is None stays as it is: the item's own, or that of ``source``.
    sweep:   also a lamp that circles, as a video for each item and as a sheet of all.
    photo:   keep the photograph's detail where it is seen; False is the model's albedo alone.
    formats: of meshes of the relit items, with that light in their texture; empty for none.
    """

    prediction: Path
    out_dir: Path
    lamp: tuple[float, float] | None = None
    ambient: float | None = None
    diffuse: float | None = None
    source: str | None = None
    swap: bool = False
    sweep: bool = False
    rows: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    photo: bool = True
    formats: tuple[str, ...] = ()
    video_formats: tuple[str, ...] = ("mp4", "gif")
    size: int = 512
    background: str = BACKGROUND
    device: str | None = None


@dataclass(frozen=True)
class RelightResult:
    """pictures: two for each item, the input's view first. sheet: None without a sweep.

    prediction: a sym3d.prediction file of the relit items; None when there is only a sweep.
    """

    pictures: tuple[Path, ...]
    videos: tuple[Path, ...]
    sheet: Path | None
    prediction: Path | None
    meshes: tuple[Path, ...]


def run(request: RelightRequest, *, report: Report = Silent()) -> RelightResult:
    """Write ``<item>.<change>.png``, ``<item>.<change>.frontal.png``, <change>.h5 and meshes of its items; for a sweep
    ``<item>.<change>.sweep.<format>`` and sheet.<change>.sweep.png. <change> is what is asked for, "light_1_0_albedo",
    and left out where that is only a sweep. A second run replaces the files of the first, but not those of another
    prediction.

    Raises UsageError on an unknown choice, row or name, or when a file would replace the prediction, InputError on a
    damaged file, OutputError when writing fails.
    """
    canvas = make_canvas(request.size, request.background, request.device, report)
    check_videos(("light",) if request.sweep else (), request.video_formats, request.size, report)
    check_choices(request.formats)
    changes = any(part is not None for part in (request.lamp, request.ambient, request.diffuse, request.source))
    changes = changes or request.swap
    if not (changes or request.sweep):
        raise UsageError("relight", "the light stays as it is", "add --light, --ambient, --diffuse, --from or --sweep")
    if request.swap and request.source is not None:
        raise UsageError("--swap", "the light cannot also come --from an item", "leave out one of them")
    if request.formats and not changes:
        raise UsageError("--export", "a sweep has many lights, and a mesh one", "add --light")
    with ExitStack() as stack:
        prediction = stack.enter_context(open_artifact(request.prediction, "sym3d.prediction", report))
        names = item_names(prediction)
        rows = select_rows(names, request.rows, request.names)
        givers = _givers(request, names, rows)
        stems = file_stems(names)
        change = {row: _change(request, stems[givers[row]]) for row in rows}
        whole = _change(request, "each_other") if request.swap else change[rows[0]]
        some, mark = subset_mark(stems, rows), canvas.mark
        stack.enter_context(hold_folder(request.out_dir))
        source = prediction.path, prediction.digest
        wanted = [*stems, *(["sheet"] if request.sweep else []), *([whole] if changes else [])]
        claimed = stack.enter_context(claim_stems(request.out_dir, wanted, source, report))
        stems = [claimed[stem] for stem in stems]
        path = request.out_dir / f"{claimed[whole]}{some}.h5" if changes else None
        pictures, videos, meshes, labels, lines = [], [], (), [], []
        with ExitStack() as writers, report.task("relight", total=len(rows)) as task:
            items = {row: f"{stems[row]}.{change[row]}.png" for row in rows}
            if path:
                put = writers.enter_context(edited_prediction(path, prediction, [*items.values()], whole, report))
            for row, scene in usable_scenes(prediction, rows, report):
                scene = with_photo(scene) if request.photo else scene
                given = torch.from_numpy(prediction["light"][givers[row]])
                relit = replace(scene, light=changed_light(given, request.lamp, request.ambient, request.diffuse))
                if path:
                    put(items[row], row, relit)
                    for title, view in (("", relit.view), (".frontal", torch.zeros(6))):
                        picture = canvas.draw(relit, view[None], lit(relit), fov=relit.fov)[0]
                        file = request.out_dir / f"{stems[row]}.{change[row]}{title}{mark}.png"
                        pictures.append(write_png(file, picture))
                if request.sweep:
                    frames, name = light(relit, FRAMES, canvas), _sweep(stems[row], change[row]) + mark
                    videos += write_video(request.out_dir, name, frames, request.video_formats)
                    if len(lines) < MOST_SHEET_ROWS:
                        labels.append(names[row])
                        lines.append(_line(scene, relit, canvas))
                task.advance(1, stems[row])
        if path:
            meshes = edited_meshes(path, request.formats, "shaded", report)
        sheet = None
        if lines:
            drawn = contact_sheet(lines, labels, cell=min(192, request.size))
            sheet = write_png(request.out_dir / f"{_sweep(claimed['sheet'], whole)}{some}{mark}.png", drawn)
    return RelightResult(tuple(pictures), tuple(videos), sheet, path, tuple(meshes))


def _givers(request: RelightRequest, names: Sequence[str], rows: Sequence[int]) -> dict[int, int]:
    """Row → the row that it takes its light from."""
    if request.swap:
        if len(rows) != 2:
            raise UsageError("--swap", f"needs two items, not {len(rows)}", "choose them with --only or --row")
        return {rows[0]: rows[1], rows[1]: rows[0]}
    if request.source is None:
        return {row: row for row in rows}
    if request.source not in names:
        raise UsageError(f"--from {request.source!r}", "no item has this name", f"the first one is {names[0]!r}")
    return dict.fromkeys(rows, names.index(request.source))


def _change(request: RelightRequest, giver: str) -> str:
    """What is other than in the input, for a file's name: other lights must not overwrite these pictures."""
    parts = [f"lit_as_{giver}"] if request.source is not None or request.swap else []
    parts += [f"light_{request.lamp[0]:g}_{request.lamp[1]:g}"] if request.lamp else []
    parts += [f"ambient_{request.ambient:g}"] if request.ambient is not None else []
    parts += [f"diffuse_{request.diffuse:g}"] if request.diffuse is not None else []
    parts += ["albedo"] if not request.photo else []
    return "_".join(parts)


def _sweep(stem: str, change: str) -> str:
    return ".".join(filter(None, [stem, change, "sweep"]))


def _line(scene: Scene, relit: Scene, canvas: Canvas) -> dict[str, np.ndarray]:
    """A row of the sheet, as in the paper's figure: the input, then the lamp on every side."""
    lights = torch.cat([scene.light[None], circling_lights(relit, len(SIDES))])
    front = canvas.draw(scene, torch.zeros(len(lights), 6), lit(scene, lights), fov=scene.fov)
    own = canvas.draw(scene, scene.view[None], lit(scene), fov=scene.fov)[0]
    titles = ("frontal", *SIDES)
    return {"input": canvas.photo(scene), "as it is": own} | dict(zip(titles, front, strict=True))
