"""The items of a prediction edited: seen from the front, made symmetric, blended into another."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stages.artifact import Artifact, open_artifact
from stages.core.scene import Scene, blend, lit, symmetric, with_photo
from stages.errors import UsageError
from stages.io.files import file_stems, hold_folder
from stages.io.pictures import contact_sheet, write_png
from stages.io.video import write_video
from stages.motions import FRAMES, check_videos, swing
from stages.progress import Report, Silent
from stages.scenes import BACKGROUND, Canvas, make_canvas, usable_scenes
from stages.selection import item_names, select_rows

__all__ = ["EditRequest", "EditResult", "run"]

STRIP = 7  # pictures on the way from one item to another
MOST_SHEET_ROWS = 40


@dataclass(frozen=True)
class EditRequest:
    """Which items, and what to make of each.

    frontal:   facing the viewer, with the photograph's detail where it is seen and the model's albedo elsewhere.
    symmetric: likewise, but what the photograph hides is the mirror image of the other half.
    towards:   the name of an item that it is blended into, symmetric both: shape, albedo, light and viewpoint.
    """

    prediction: Path
    out_dir: Path
    frontal: bool = False
    symmetric: bool = False
    towards: str | None = None
    rows: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    video_formats: tuple[str, ...] = ("mp4", "gif")
    size: int = 512
    background: str = BACKGROUND
    device: str | None = None


@dataclass(frozen=True)
class EditResult:
    """Every path written; sheet: the input beside the frontal pictures, None when there is no such picture."""

    pictures: tuple[Path, ...]
    videos: tuple[Path, ...]
    sheet: Path | None


def run(request: EditRequest, *, report: Report = Silent()) -> EditResult:
    """Write ``<item>.frontal.png``; ``<item>.symmetric.png`` and its swing; ``<item>.towards_<other>.png``, a strip,
    and its video; and sheet.frontal.png. Existing files of the same names are replaced.

    Raises UsageError on an unknown choice, row or name, InputError on a damaged file, OutputError when writing fails.
    """
    canvas = make_canvas(request.size, request.background, request.device, report)
    moving = ("swing",) if request.symmetric or request.towards is not None else ()
    check_videos(moving, request.video_formats)
    if not (request.frontal or moving):
        raise UsageError("edit", "there is nothing to do", "add --frontal, --symmetric or --towards")
    with open_artifact(request.prediction, "sym3d.prediction", report) as prediction:
        names = item_names(prediction)
        rows = select_rows(names, request.rows, request.names)
        stems = file_stems(names)
        other = _target(prediction, names, request.towards, report) if request.towards is not None else None
        pictures, videos, labels, lines = [], [], [], []
        with hold_folder(request.out_dir), report.task("edit", total=len(rows)) as task:
            for row, scene in usable_scenes(prediction, rows, report):
                stills, films = {}, {}
                if request.frontal:
                    stills["frontal"] = _front(with_photo(scene), canvas)
                if request.symmetric:
                    whole = symmetric(scene)
                    stills["symmetric"], films["symmetric.swing"] = _front(whole, canvas), swing(whole, FRAMES, canvas)
                if stills and len(lines) < MOST_SHEET_ROWS:
                    labels.append(names[row])
                    lines.append({"input": canvas.photo(scene), **stills})
                if other:
                    name = f"towards_{stems[other[0]]}"
                    stills[name], films[name] = _way(symmetric(scene), symmetric(other[1]), canvas)
                for name, picture in stills.items():
                    pictures.append(write_png(request.out_dir / f"{stems[row]}.{name}.png", picture))
                for name, frames in films.items():
                    videos += write_video(request.out_dir, f"{stems[row]}.{name}", frames, request.video_formats)
                task.advance(1, stems[row])
            sheet = None
            if lines:
                drawn = contact_sheet(lines, labels, cell=min(192, request.size))
                sheet = write_png(request.out_dir / "sheet.frontal.png", drawn)
    return EditResult(tuple(pictures), tuple(videos), sheet)


def _target(prediction: Artifact, names: Sequence[str], wanted: str, report: Report) -> tuple[int, Scene]:
    if wanted not in names:
        raise UsageError(f"--towards {wanted!r}", "no item has this name", f"the first one is {names[0]!r}")
    return next(usable_scenes(prediction, [names.index(wanted)], report))


def _front(scene: Scene, canvas: Canvas) -> np.ndarray:
    return canvas.draw(scene, torch.zeros(1, 6), lit(scene), fov=scene.fov)[0]


def _way(first: Scene, second: Scene, canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """From one to the other, each picture from its own viewpoint: a strip of STRIP pictures, and FRAMES frames that go
    there and back."""
    steps = FRAMES // 2
    amounts = 0.5 - 0.5 * np.cos(np.pi * np.arange(steps + 1) / steps)
    frames = []
    with canvas.report.task("blending", total=len(amounts)) as task:
        for amount in amounts.tolist():
            frames.append(_seen(blend(first, second, amount), canvas))
            task.advance()
    frames = np.stack(frames)
    strip = [_seen(blend(first, second, step / (STRIP - 1)), canvas) for step in range(STRIP)]
    return np.concatenate(strip, 1), np.concatenate([frames, frames[-2:0:-1]])


def _seen(scene: Scene, canvas: Canvas) -> np.ndarray:
    return canvas.draw(scene, scene.view[None], lit(scene), fov=scene.fov)[0]
