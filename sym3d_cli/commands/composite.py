"""sym3d composite: a relit or turned result goes back into its photograph."""

import math
from pathlib import Path
from typing import Annotated

import typer

from stages.errors import UsageError
from sym3d_cli.console import print_lines

EXAMPLES = (
    "sym3d composite photo.sym3d/prediction.h5 photo.jpg --light -1,0.5 -o relit.png",
    "sym3d composite photo.sym3d/prediction.h5 photo.jpg --yaw 20 -o turned.png",
)


def main(
    context: typer.Context,
    prediction: Annotated[Path, typer.Argument(help="A sym3d.prediction file.")],
    photo: Annotated[Path, typer.Argument(help="The photograph that it was inferred from.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The picture to write, a PNG.")],
    light: Annotated[
        str | None,
        typer.Option(
            "--light",
            metavar="X,Y",
            help="Where the lamp stands: X to the right and Y up for each unit in front of the frontal view; 1,0 is "
            "45° from the right.",
        ),
    ] = None,
    ambient: Annotated[
        float | None, typer.Option("--ambient", min=0, max=4, help="Strength of the light from everywhere.")
    ] = None,
    diffuse: Annotated[float | None, typer.Option("--diffuse", min=0, max=4, help="Strength of the lamp.")] = None,
    yaw: Annotated[
        float | None, typer.Option("--yaw", help="Turn by so many degrees, positive to the picture's right.")
    ] = None,
    rows: Annotated[list[int] | None, typer.Option("--row", help="Only this row; may be repeated.")] = None,
) -> None:
    """Relight or turn what was found in a photograph, within the photograph, at its full size."""
    from stages.composite import CompositeRequest, run

    request = CompositeRequest(prediction, photo, out, _lamp(light), ambient, diffuse, yaw, tuple(rows or ()))
    result = run(request, report=context.obj)
    context.obj.note(f"changed {', '.join(result.names)}")
    print_lines([result.picture])


def _lamp(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        x, y = map(float, text.split(","))
    except ValueError:
        x = y = math.nan
    if not max(abs(x), abs(y)) <= 100:
        raise UsageError(f"--light {text}", "is no place for a lamp", "give two numbers up to 100, such as -1,0.5")
    return x, y
