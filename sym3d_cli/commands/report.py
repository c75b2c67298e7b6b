"""sym3d report: results as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_json, print_lines
from sym3d_cli.options import AsJson, Looked, MostItems

EXAMPLES = (
    "sym3d report runs/cats -o cats.html",
    "sym3d report runs/faces faces.sym3d/prediction.h5 runs/faces/scores.h5 -o faces.html",
)


def main(
    context: typer.Context,
    inputs: Looked,
    out: Annotated[Path, typer.Option("-o", "--out", help="The HTML file to write; it is replaced.")] = Path(
        "report.html"
    ),
    most: MostItems = 500,
    as_json: AsJson = False,
) -> None:
    """Write one HTML file, which needs no network: sortable gallery, 3D viewer, curves, histograms, provenance."""
    from stages.report import ReportRequest, run

    result = run(ReportRequest(tuple(inputs), out, most), report=context.obj)
    context.obj.note(f"{result.items} of {result.total} items, {result.size_bytes / 1e6:.1f} MB")
    print_json(result) if as_json else print_lines([result.path])
