"""sym3d export: a prediction file becomes meshes, turntables, a contact sheet."""

from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_lines
from sym3d_cli.options import Meshes, Pose, Texture, names

EXAMPLES = (
    "sym3d export faces.sym3d/prediction.h5 -o meshes --format obj,glb",
    "sym3d export faces.sym3d/prediction.h5 -o meshes --format glb --texture photo --photos my-faces/",
    "sym3d export faces.sym3d/prediction.h5 -o pictures --turntable --sheet --truth data/synfaces.h5",
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
    rows: Annotated[list[int] | None, typer.Option("--row", help="Only this row; may be repeated.")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only the item of this name; repeatable.")] = None,
    turntable: Annotated[bool, typer.Option("--turntable", help="Write a GIF and an MP4 of each item.")] = False,
    sheet: Annotated[bool, typer.Option("--sheet", help="Write one contact sheet, sheet.png.")] = False,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="A sym3d.images file whose depth the sheet shows beside ours.")
    ] = None,
) -> None:
    """Write meshes, turntables and a contact sheet; without --format, --turntable and --sheet: OBJ meshes."""
    from stages.export import ExportRequest, run

    wanted = names(format) or (() if turntable or sheet else ("obj",))
    request = ExportRequest(
        prediction,
        out_dir,
        formats=wanted,
        pose=str(pose),
        rows=tuple(rows or ()),
        names=tuple(only or ()),
        texture=str(texture),
        photos=tuple(photos or ()),
        turntable=turntable,
        sheet=sheet,
        truth=truth,
    )
    result = run(request, report=context.obj)
    print_lines([*result.meshes, *result.turntables, *([result.sheet] if result.sheet else [])])
