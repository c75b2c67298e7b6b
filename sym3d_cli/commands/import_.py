"""sym3d import: the reference implementation's checkpoint becomes ours."""

from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_json, print_lines
from sym3d_cli.options import AsJson, Overwrite

EXAMPLES = ("sym3d import checkpoint030.pth faces.h5 --like faces", "sym3d import cats.pth cats.h5 --like cats")


def main(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A .pth checkpoint of the reference implementation.")],
    out: Annotated[Path, typer.Argument(help="The sym3d.checkpoint file to write.")],
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            help="The recipe whose model section gives what the checkpoint does not hold, such as the "
            "ranges of depth and movement: faces, cats, cars, or a file; left out: the reference's own defaults.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Read a checkpoint of the reference implementation, without unpickling anything."""
    from stages.convert import ImportRequest, run
    from stages.recipe import load_recipe

    settings = {"like": load_recipe(like).model} if like else {}
    result = run(ImportRequest(source, out, overwrite=overwrite, **settings), report=context.obj)
    if result.left_out:
        context.obj.note(f"left out: {', '.join(result.left_out)}")
    context.obj.note(f"next: sym3d infer {result.checkpoint} photo.png --export obj")
    print_json(result) if as_json else print_lines([result.checkpoint])
