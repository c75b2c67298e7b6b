"""The items of a prediction edited: seen from the front, made symmetric, blended into another."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from stages.artifact import Artifact, open_artifact
from stages.core.scene import Scene, blend, lit, symmetric, with_photo
from stages.edited import edited_meshes, edited_prediction
from stages.errors import UsageError
from stages.io.claims import claim_stems
from stages.io.files import file_stems, hold_folder
from stages.io.meshes import check_choices
from stages.io.pictures import contact_sheet, write_png
from stages.io.video import write_video
from stages.motions import FRAMES, check_videos, swing
from stages.progress import Report, Silent
from stages.scenes import BACKGROUND, Canvas, make_canvas, usable_scenes
from stages.selection import item_names, select_rows, subset_mark

__all__ = ["EditRequest", "EditResult", "run"]

STRIP = 7  # pictures, and items, on the way from one item to another
MOST_SHEET_ROWS = 40


@dataclass(frozen=True)
class EditRequest:
    """Which items, and what to make of each.

    frontal:   facing the viewer, with the photograph's detail where it is seen and the model's albedo elsewhere.
    symmetric: likewise, but what the photograph hides is the mirror image of the other half.
    towards:   the name of an item that it is blended into, symmetric both: shape, albedo, light and viewpoint.
    formats:   of meshes of what comes of it, painted with its albedo; empty for none.
    """

    prediction: Path
    out_dir: Path
    frontal: bool = False
    symmetric: bool = False
    towards: str | None = None
    formats: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    video_formats: tuple[str, ...] = ("mp4", "gif")
    size: int = 512
    background: str = BACKGROUND
    device: str | None = None


@dataclass(frozen=True)
class EditResult:
    """Every path written; sheet: the input beside the frontal pictures, None when there is no such picture.

    predictions: for each edit a sym3d.prediction file of what came of it.
    """

    pictures: tuple[Path, ...]
    videos: tuple[Path, ...]
    sheet: Path | None
    predictions: tuple[Path, ...]
    meshes: tuple[Path, ...]


def run(request: EditRequest, *, report: Report = Silent()) -> EditResult:
    """Write ``<item>.frontal.png``; ``<item>.symmetric.png`` and its swing; ``<item>.towards_<other>.png``, a strip,
    and its video; a sheet; frontal.h5, symmetric.h5 and towards_<other>.h5, and meshes of their items.
    A second run replaces the files of the first, but not those of another prediction.

    Raises UsageError on an unknown choice, row or name, or when a file would replace the prediction, InputError on a
    damaged file, OutputError when writing fails.
    """
    canvas = make_canvas(request.size, request.background, request.device, report)
    moving = ("swing",) if request.symmetric or request.towards is not None else ()
    check_videos(moving, request.video_formats, request.size, report)
    if not (request.frontal or moving):
        raise UsageError("edit", "there is nothing to do", "add --frontal, --symmetric or --towards")
    check_choices(request.formats)
    with ExitStack() as stack:
        prediction = stack.enter_context(open_artifact(request.prediction, "sym3d.prediction", report))
        names = item_names(prediction)
        rows = select_rows(names, request.rows, request.names)
        stems = file_stems(names)
        other = _target(prediction, names, request.towards, report) if request.towards is not None else None
        way, some = f"towards_{stems[other[0]]}" if other else "", subset_mark(stems, rows)
        endings = {
            **({"frontal": ["frontal"]} if request.frontal else {}),
            **({"symmetric": ["symmetric"]} if request.symmetric else {}),
            **({way: [f"{way}.{step + 1}" for step in range(STRIP)]} if other else {}),
        }
        stack.enter_context(hold_folder(request.out_dir))
        source = prediction.path, prediction.digest
        sheets = ["sheet"] if request.frontal or request.symmetric else []
        claimed = stack.enter_context(claim_stems(request.out_dir, [*stems, *sheets, *endings], source, report))
        stems = [claimed[stem] for stem in stems]
        files = {change: request.out_dir / f"{claimed[change]}{some}.h5" for change in endings}
        pictures, videos, meshes, labels, lines = [], [], [], [], []
        with ExitStack() as writers, report.task("edit", total=len(rows)) as task:
            put = {}
            for change, path in files.items():
                items = [f"{stems[row]}.{ending}.png" for row in rows for ending in endings[change]]
                put[change] = writers.enter_context(edited_prediction(path, prediction, items, change, report))
            for row, scene in usable_scenes(prediction, rows, report):
                steps, stills, films = {}, {}, {}
                if request.frontal:
                    steps["frontal"] = [_facing(with_photo(scene))]
                    stills["frontal"] = _seen(*steps["frontal"], canvas)
                if request.symmetric:
                    steps["symmetric"] = [_facing(symmetric(scene))]
                    stills["symmetric"] = _seen(*steps["symmetric"], canvas)
                    films["symmetric.swing"] = swing(*steps["symmetric"], FRAMES, canvas)
                if stills and len(lines) < MOST_SHEET_ROWS:
                    labels.append(names[row])
                    lines.append({"input": canvas.photo(scene), **stills})
                if other:
                    ends = symmetric(scene), symmetric(other[1])
                    steps[way] = [blend(*ends, step / (STRIP - 1)) for step in range(STRIP)]
                    stills[way] = np.concatenate([_seen(step, canvas) for step in steps[way]], 1)
                    films[way] = _there_and_back(*ends, canvas)
                for change, scenes in steps.items():
                    for ending, made in zip(endings[change], scenes, strict=True):
                        put[change](f"{stems[row]}.{ending}.png", row, made)
                for name, picture in stills.items():
                    pictures.append(write_png(request.out_dir / f"{stems[row]}.{name}{canvas.mark}.png", picture))
                for name, frames in films.items():
                    name = f"{stems[row]}.{name}{canvas.mark}"
                    videos += write_video(request.out_dir, name, frames, request.video_formats)
                task.advance(1, stems[row])
        for path in files.values():
            meshes += edited_meshes(path, request.formats, "albedo", report)
        sheet = None
        if lines:
            drawn = contact_sheet(lines, labels, cell=min(192, request.size))
            shown = "_".join(title for title in lines[0] if title != "input")
            sheet = write_png(request.out_dir / f"{claimed['sheet']}.{shown}{some}{canvas.mark}.png", drawn)
    return EditResult(tuple(pictures), tuple(videos), sheet, tuple(files.values()), tuple(meshes))


def _target(prediction: Artifact, names: Sequence[str], wanted: str, report: Report) -> tuple[int, Scene]:
    if wanted not in names:
        raise UsageError(f"--towards {wanted!r}", "no item has this name", f"the first one is {names[0]!r}")
    return next(usable_scenes(prediction, [names.index(wanted)], report))


def _facing(scene: Scene) -> Scene:
    return replace(scene, view=torch.zeros(6))


def _there_and_back(first: Scene, second: Scene, canvas: Canvas) -> np.ndarray:
    """FRAMES frames from one to the other and back, each from its own viewpoint."""
    steps = FRAMES // 2
    amounts = 0.5 - 0.5 * np.cos(np.pi * np.arange(steps + 1) / steps)
    frames = []
    with canvas.report.task("blending", total=len(amounts)) as task:
        for amount in amounts.tolist():
            frames.append(_seen(blend(first, second, amount), canvas))
            task.advance()
    return np.concatenate([frames, frames[-2:0:-1]])


def _seen(scene: Scene, canvas: Canvas) -> np.ndarray:
    return canvas.draw(scene, scene.view[None], lit(scene), fov=scene.fov)[0]
