"""sym3d edit: the items of a prediction seen from the front, made symmetric, or blended into another."""

from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_json, print_lines
from sym3d_cli.options import AsJson, Background, Beside, Device, Meshes, Only, PictureSize, Rows, VideoFormats, names

EXAMPLES = (
    "sym3d edit faces.sym3d/prediction.h5 -o edited --frontal --symmetric",
    "sym3d edit faces.sym3d/prediction.h5 -o edited --symmetric --export glb",
    "sym3d edit faces.sym3d/prediction.h5 -o edited --only ann.png --towards bob.png --video-format webp",
)


def main(
    context: typer.Context,
    prediction: Annotated[Path, typer.Argument(help="A sym3d.prediction file.")],
    out_dir: Beside = None,
    frontal: Annotated[
        bool, typer.Option("--frontal", help="A picture of each item facing you, with the photograph's detail.")
    ] = False,
    symmetric: Annotated[
        bool,
        typer.Option("--symmetric", help="Likewise, and turning; the hidden half is the mirror image of the other."),
    ] = False,
    towards: Annotated[
        str | None,
        typer.Option("--towards", metavar="NAME", help="Blend each item into this one: a strip and a video."),
    ] = None,
    export: Meshes = "",
    rows: Rows = None,
    only: Only = None,
    video_format: VideoFormats = "mp4,gif",
    size: PictureSize = 512,
    background: Background = "#ebebeb",
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Turn items to the front, replace the half that the photograph hides, or blend one into another."""
    from stages.edit import EditRequest, run

    request = EditRequest(
        prediction,
        out_dir or prediction.parent / "edited",
        frontal=frontal,
        symmetric=symmetric,
        towards=towards,
        formats=names(export),
        rows=tuple(rows or ()),
        names=tuple(only or ()),
        video_formats=names(video_format),
        size=size,
        background=background,
        device=device,
    )
    result = run(request, report=context.obj)
    sheet = [result.sheet] if result.sheet else []
    paths = [*result.pictures, *result.videos, *sheet, *result.predictions, *result.meshes]
    print_json(result) if as_json else print_lines(paths)
