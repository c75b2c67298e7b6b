"""sym3d bench: how fast this machine does each part of the work."""

from typing import Annotated

import typer

from stages.errors import UsageError
from sym3d_cli.console import print_json, print_table
from sym3d_cli.options import AsJson, Device, names

EXAMPLES = (
    "sym3d bench",
    "sym3d bench --part raster,step --size 64,128 --batch 8",
    "sym3d bench --device cuda --size 64,128,256 --json",
)


def main(
    context: typer.Context,
    size: Annotated[str, typer.Option("--size", help="Pixels: 64, 128, 256, or several with commas between.")] = "64",
    batch: Annotated[
        str | None,
        typer.Option(
            "--batch",
            help="Images per training step, or several with commas between: all parts are timed at the first, the "
            "growth of the step over all; left out: 64 on CUDA, 16 on a CPU.",
        ),
    ] = None,
    width: Annotated[
        float, typer.Option("--width", min=0.05, max=4, help="Multiplies the channels of all networks.")
    ] = 1.0,
    part: Annotated[
        str,
        typer.Option(
            "--part",
            help="What to time, separated by commas: raster, networks, perceptual, step, inference, loader, "
            "picture; left out: all.",
        ),
    ] = "",
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Time rasteriser, networks, losses, training, inference, loader and pictures, the ways to do each side by side.

    ratio: speed in that of the first way. GFLOP: per image. peak: part of what matrix products of the same precision
    reach here. MiB: memory at the peak. +bwd: with the backward pass. times: how many times as long as the first.
    """
    from stages.bench import BenchRequest, run

    request = BenchRequest(_counts("--size", size), _counts("--batch", batch), width, names(part), device)
    result = run(request, report=context.obj)
    if as_json:
        print_json(result)
        return
    speeds = {f"matmul {precision}": f"{speed:,.0f} GFLOP/s" for precision, speed in result.matmul.items()}
    print_table(["machine", "here"], list((result.machine | speeds).items()))
    print()
    print_table(
        ["part", "way", "px", "batch", "ms", "images/s", "ratio", "GFLOP", "peak", "MiB"],
        [
            [
                *(row.part, row.way, row.size, row.images),
                *map(_short, (row.ms, row.images_per_second, row.ratio, row.gflop)),
                "" if row.peak is None else f"{row.peak:.0%}",
                _whole(row.mib),
            ]
            for row in result.rows
        ],
        spare=("MiB", "peak", "GFLOP"),
    )
    if result.growth:
        print()
        print_table(
            ["growth of the step", "px", "batch", "ms", "images/s", "times", "MiB"],
            [
                [g.way, g.size, g.images, *map(_short, (g.ms, g.images_per_second, g.times)), _whole(g.mib)]
                for g in result.growth
            ],
        )


def _counts(option: str, text: str | None) -> tuple[int, ...]:
    for word in names(text):
        if not word.isdecimal() or int(word) < 1:
            raise UsageError(f"{option} {word}", "is not a count", "give whole numbers separated by commas")
    return tuple(map(int, names(text)))


def _short(value: float | None) -> str:
    """Three digits at least, and never more behind the point than say something."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
