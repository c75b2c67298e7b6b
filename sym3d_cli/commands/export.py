"""sym3d export: a prediction file becomes meshes, videos, contact sheets."""

from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_json, print_lines
from sym3d_cli.options import (
    AsJson,
    Background,
    Device,
    Meshes,
    Only,
    PictureSize,
    Pose,
    Rows,
    Texture,
    VideoFormats,
    names,
)

EXAMPLES = (
    "sym3d export faces.sym3d/prediction.h5 -o meshes --format obj,glb",
    "sym3d export faces.sym3d/prediction.h5 -o meshes --format glb --texture photo --photos my-faces/",
    "sym3d export faces.sym3d/prediction.h5 -o pictures --sheet --truth data/synfaces.h5",
    "sym3d export faces.sym3d/prediction.h5 -o videos --video swing,light --video-format mp4,webp --size 512 --row 0",
)


def main(
    context: typer.Context,
    prediction: Annotated[Path, typer.Argument(help="A sym3d.prediction file.")],
    out_dir: Annotated[Path, typer.Option("-o", "--out", help="The folder to write into; it is made when needed.")],
    format: Meshes = "",
    pose: Pose = "canonical",
    texture: Texture = "albedo",
    photos: Annotated[
        list[Path] | None,
        typer.Option("--photos", help="The photographs, for --texture photo: an image, folder or zip; repeatable."),
    ] = None,
    rows: Rows = None,
    only: Only = None,
    video: Annotated[
        str,
        typer.Option(
            "--video",
            metavar="MOTIONS",
            help="Videos of each item, separated by commas: swing, turntable, frontal, wireframe, normals, light.",
        ),
    ] = "",
    video_format: VideoFormats = "mp4,gif",
    size: PictureSize = 512,
    background: Background = "#ebebeb",
    device: Device = None,
    sheet: Annotated[
        bool, typer.Option("--sheet", help="Write contact sheets: sheet.png, and more pages after 40 items.")
    ] = False,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="A sym3d.images file whose depth the sheet shows beside ours.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write meshes, videos and contact sheets; without --format, --video and --sheet: OBJ meshes."""
    from stages.export import ExportRequest, run

    wanted = names(format) or (() if video or sheet else ("obj",))
    request = ExportRequest(
        prediction,
        out_dir,
        formats=wanted,
        pose=str(pose),
        rows=tuple(rows or ()),
        names=tuple(only or ()),
        texture=str(texture),
        photos=tuple(photos or ()),
        videos=names(video),
        video_formats=names(video_format),
        size=size,
        background=background,
        device=device,
        sheet=sheet,
        truth=truth,
    )
    result = run(request, report=context.obj)
    print_json(result) if as_json else print_lines([*result.meshes, *result.videos, *result.sheets])
