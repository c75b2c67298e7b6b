"""sym3d grade: will these pictures do?"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_json, print_table
from sym3d_cli.options import AsJson

EXAMPLES = ("sym3d grade data/cars.h5", "sym3d grade data/cats.h5 --json")


def main(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A sym3d.images file.")],
    as_json: AsJson = False,
) -> None:
    """Judge pictures before training: number, duplicates, sharpness, framing, pose, symmetry; and how to mend them."""
    from stages.grade import GradeRequest, run

    result = run(GradeRequest(file), report=context.obj)
    if as_json:
        print_json(asdict(result))
        return
    rows = [[f.check, f.shown, f.wanted, "ok" if f.ok else "warn"] for f in result.findings]
    print_table(["check", "figure", "wanted", "verdict"], rows)
