"""sym3d prep: photographs become one file of square images."""

from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_table
from sym3d_cli.options import Crop, Overwrite, Perturb, Size

EXAMPLES = (
    "sym3d prep cats/ data/cats.h5 --crop cat",
    "sym3d prep photos.zip faces.h5 --size 128 --crop face",
    "sym3d prep 3dfaw/ data/3dfaw.h5 --layout 3dfaw",
)


def main(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A folder, a zip file, or a text file that lists images.")],
    out: Annotated[Path, typer.Argument(help="The sym3d.images file to write.")],
    size: Size = 64,
    crop: Crop = "center",
    layout: Annotated[
        str,
        typer.Option("--layout", help="photographs; or 3dfaw: faces with key points, as that challenge has them."),
    ] = "photographs",
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Threads; left out: one per core.")] = None,
    perturb: Perturb = False,
    overwrite: Overwrite = False,
) -> None:
    """Crop, resize and split photographs into a sym3d.images file, and grade it; the same command again resumes."""
    from stages import grade
    from stages.prep import PrepRequest, run

    request = PrepRequest(source, out, size, crop, workers, overwrite, perturb, layout)
    result = run(request, report=context.obj)
    if result.already_complete:
        context.obj.note(f"{result.path} was already complete")
    graded = grade.run(grade.GradeRequest(result.path), report=context.obj).findings
    well = sum(finding.ok for finding in graded)
    context.obj.note(f"{well} of {len(graded)} checks went well; sym3d grade {result.path} shows their figures")
    skipped = [(f"skipped: {reason}", number) for reason, number in result.reasons.items()]
    print_table(["file", result.path], [("images", result.count), *result.splits.items(), *skipped])
