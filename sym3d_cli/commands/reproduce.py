"""sym3d reproduce: a table of the paper, from trainings to figures."""

from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_json, print_lines, print_table
from sym3d_cli.options import AsJson

EXAMPLES = (
    "sym3d reproduce baselines data/synfaces.h5",
    "sym3d reproduce ablations data/synfaces.h5 --quick",
    "sym3d reproduce perturb data/synfaces.h5 --perturbed data/perturbed.h5 --quick --seeds 3",
    "sym3d reproduce depthcorr data/synfaces.h5 --pretrain-data data/mine.h5 --quick",
    "sym3d reproduce failures --checkpoint synfaces",
    "sym3d reproduce failures --checkpoint synfaces --morphable model2019_bfm.h5",
)


def main(
    context: typer.Context,
    table: Annotated[str, typer.Argument(help="baselines, ablations, perturb, failures, depthcorr or seeds.")],
    data: Annotated[
        Path | None, typer.Argument(help="A sym3d.images file with true depth (depthcorr: key points).")
    ] = None,
    perturbed: Annotated[
        Path | None, typer.Option("--perturbed", help="The same with perturbed images, for the table perturb.")
    ] = None,
    pretrain: Annotated[
        Path | None,
        typer.Option("--pretrain-data", help="Other faces to learn from first, for a row of the table depthcorr."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small runs, for two CPU cores.")] = False,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, max=100, help="Trainings of each row; left out: 3, or 1 when quick (seeds: 8)."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Steps of every training but DepthNet's; left out: the table's own."),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint", help="For the table failures: judge this run, file or shipped model, and train none."
        ),
    ] = None,
    morphable: Annotated[
        Path | None,
        typer.Option(
            "--morphable", metavar="FILE", help="For the table failures: draw its faces from this face model."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the table.")] = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Train and evaluate every row of a table of the paper, and write it next to the paper's figures."""
    from stages.reproduce import ReproduceRequest, run

    request = ReproduceRequest(table, data, perturbed, quick, seeds, steps, out, checkpoint, pretrain, morphable)
    result = run(request, report=context.obj)
    if as_json:
        print_json(result)
        return
    print_table(result.head, [line.cells() for line in result.lines])
    print_lines([*result.remarks, *result.files])
