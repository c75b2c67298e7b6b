"""sym3d relight: the items of a prediction under another light."""

from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_json, print_lines
from sym3d_cli.options import (
    Ambient,
    AsJson,
    Background,
    Beside,
    Device,
    Diffuse,
    Light,
    Meshes,
    Only,
    PictureSize,
    Rows,
    VideoFormats,
    lamp,
    names,
)

EXAMPLES = (
    "sym3d relight faces.sym3d/prediction.h5 -o relit --row 0 --light -1,0.5 --ambient 0.2 --diffuse 0.8",
    "sym3d relight faces.sym3d/prediction.h5 -o relit --light 1,0 --export glb",
    "sym3d relight faces.sym3d/prediction.h5 --sweep",
    "sym3d relight faces.sym3d/prediction.h5 -o relit --only ann.png --from bob.png",
    "sym3d relight faces.sym3d/prediction.h5 -o relit --only ann.png --only bob.png --swap",
)


def main(
    context: typer.Context,
    prediction: Annotated[Path, typer.Argument(help="A sym3d.prediction file.")],
    out_dir: Beside = None,
    light: Light = None,
    ambient: Ambient = None,
    diffuse: Diffuse = None,
    source: Annotated[str | None, typer.Option("--from", metavar="NAME", help="Take the light of this item.")] = None,
    swap: Annotated[bool, typer.Option("--swap", help="The two items chosen take each other's light.")] = False,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="A lamp that circles: a video of each item, and a sheet of all.")
    ] = False,
    rows: Rows = None,
    only: Only = None,
    photo: Annotated[bool, typer.Option(help="Keep the photograph's detail, or show the model's albedo alone.")] = True,
    export: Meshes = "",
    video_format: VideoFormats = "mp4,gif",
    size: PictureSize = 512,
    background: Background = "#ebebeb",
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Relight items, seen as in the input and from the front; what is not given of the light stays as it is."""
    from stages.relight import RelightRequest, run

    request = RelightRequest(
        prediction,
        out_dir or prediction.parent / "relit",
        lamp=lamp(light),
        ambient=ambient,
        diffuse=diffuse,
        source=source,
        swap=swap,
        sweep=sweep,
        rows=tuple(rows or ()),
        names=tuple(only or ()),
        photo=photo,
        formats=names(export),
        video_formats=names(video_format),
        size=size,
        background=background,
        device=device,
    )
    result = run(request, report=context.obj)
    rest = [path for path in (result.sheet, result.prediction) if path]
    paths = [*result.pictures, *result.videos, *rest, *result.meshes]
    print_json(result) if as_json else print_lines(paths)
