"""sym3d composite: a relit or turned result goes back into its photograph."""

from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_json, print_lines
from sym3d_cli.options import Ambient, AsJson, Diffuse, Light, Rows, lamp

EXAMPLES = (
    "sym3d composite photo.sym3d/prediction.h5 photo.jpg --light -1,0.5 -o relit.png",
    "sym3d composite photo.sym3d/prediction.h5 photo.jpg --yaw 20 -o turned.png",
)


def main(
    context: typer.Context,
    prediction: Annotated[Path, typer.Argument(help="A sym3d.prediction file.")],
    photo: Annotated[Path, typer.Argument(help="The photograph that it was inferred from.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The picture to write, a PNG.")],
    light: Light = None,
    ambient: Ambient = None,
    diffuse: Diffuse = None,
    yaw: Annotated[
        float | None, typer.Option("--yaw", help="Turn by so many degrees, positive to the picture's right.")
    ] = None,
    rows: Rows = None,
    as_json: AsJson = False,
) -> None:
    """Relight or turn what was found in a photograph, within the photograph, at its full size."""
    from stages.composite import CompositeRequest, run

    request = CompositeRequest(prediction, photo, out, lamp(light), ambient, diffuse, yaw, tuple(rows or ()))
    result = run(request, report=context.obj)
    context.obj.note(f"changed {', '.join(result.names)}")
    print_json(result) if as_json else print_lines([result.picture])
