"""sym3d info: what an artifact holds and where it came from."""

from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_json, print_table, print_wrapped
from sym3d_cli.options import AsJson

EXAMPLES = ("sym3d info data/cats.h5", "sym3d info runs/cats --verify", "sym3d info cats.sym3d/prediction.h5 --json")


def main(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="An artifact of sym3d, a run's folder, or the name of a shipped model.")],
    verify: Annotated[bool, typer.Option("--verify", help="Recompute the digest from the content.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show an artifact's schema, shapes, attributes and the chain of what it was made from."""
    from stages.inspect import InfoRequest, run

    if not file.exists():
        from stages.shipped import shipped_models

        file = shipped_models().get(str(file), file)
    file = file / "checkpoint.h5" if (file / "checkpoint.h5").is_file() else file
    result = run(InfoRequest(file, verify=verify), report=context.obj)
    if as_json:
        print_json(result)
        return
    checked = " (verified)" if verify else ""
    print_table(
        ["file", result.path],
        [
            ["schema", f"{result.schema} version {result.version}, {result.state}"],
            ["rows", result.count],
            ["bytes", f"{result.size_bytes:,}"],
            ["digest", f"{result.digest}{checked}"],
            *([key, value] for key, value in result.attrs.items()),
        ],
    )
    print()
    print_table(
        ["dataset", "shape", "type", "axes", "unit", "range", "frame"],
        [
            [d.name, "×".join(map(str, d.shape)) or "one", d.dtype, d.axes, d.unit, d.range, d.frame]
            for d in result.datasets
        ],
        spare=("frame", "range", "unit"),
    )
    print("\nmade from")
    for depth, link in result.origin.walk():
        about = [link.schema, link.digest[:12], link.created, link.revision, link.command]
        print_wrapped(["  " * depth + f"{link.name}  " + " · ".join(part for part in about if part)])
