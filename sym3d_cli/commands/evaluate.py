"""sym3d eval: how far a model is from the truth."""

from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_json, print_table
from sym3d_cli.options import AsJson, names

EXAMPLES = (
    "sym3d eval --metric side,mad",
    "sym3d eval runs/small data/synfaces.h5 --baseline null-depth,average-depth",
    "sym3d eval faces.sym3d/prediction.h5 data/synfaces.h5 --json",
)


def main(
    context: typer.Context,
    target: Annotated[
        str | None, typer.Argument(help="A checkpoint, run folder or prediction file; left out: the newest run.")
    ] = None,
    data: Annotated[
        Path | None, typer.Argument(help="A sym3d.images file with true depth; left out: the recipe's own.")
    ] = None,
    metric: Annotated[str, typer.Option("--metric", help="Metrics, separated by commas.")] = "side,mad",
    baseline: Annotated[
        str, typer.Option("--baseline", help="Baselines on the same images: null-depth, average-depth.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Compare predicted with true depth: mean and deviation over the test images."""
    from stages.evaluate import EvaluateRequest, run

    result = run(EvaluateRequest(target, data, metrics=names(metric), baselines=names(baseline)), report=context.obj)
    if as_json:
        print_json(result)
    else:
        print_table(["metric"], [[result]])
