"""sym3d export: a prediction file becomes meshes, maps, videos, contact sheets."""

from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_lines
from sym3d_cli.options import (
    Background,
    DepthMaps,
    Device,
    Meshes,
    NormalMap,
    Only,
    PictureSize,
    Pose,
    Resolution,
    Rows,
    Solid,
    Texture,
    Triangles,
    VideoFormats,
    names,
)

EXAMPLES = (
    "sym3d export faces.sym3d/prediction.h5 -o meshes --format obj,glb",
    "sym3d export faces.sym3d/prediction.h5 -o meshes --format glb --texture photo --photos my-faces/",
    "sym3d export faces.sym3d/prediction.h5 -o print --format stl --solid --resolution 256 --triangles 50000",
    "sym3d export faces.sym3d/prediction.h5 -o maps --depth png16,exr --normals --pose input",
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
    resolution: Resolution = None,
    triangles: Triangles = None,
    solid: Solid = False,
    depth: DepthMaps = "",
    normals: NormalMap = False,
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
) -> None:
    """Write meshes, maps, videos and contact sheets; OBJ meshes when nothing is named. Names hold the choices."""
    from stages.export import ExportRequest, run

    request = ExportRequest(
        prediction,
        out_dir,
        formats=names(format) or (() if depth or normals or video or sheet else ("obj",)),
        pose=str(pose),
        rows=tuple(rows or ()),
        names=tuple(only or ()),
        texture=str(texture),
        photos=tuple(photos or ()),
        resolution=resolution,
        triangles=triangles,
        solid=solid,
        depth=names(depth),
        normals=normals,
        videos=names(video),
        video_formats=names(video_format),
        size=size,
        background=background,
        device=device,
        sheet=sheet,
        truth=truth,
    )
    result = run(request, report=context.obj)
    print_lines([*result.meshes, *result.maps, *result.videos, *result.sheets])
