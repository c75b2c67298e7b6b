"""sym3d synth: faces and cars that never were, with their true shape."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_json, print_lines
from sym3d_cli.options import AsJson, Overwrite, Perturb, Size

EXAMPLES = (
    "sym3d synth data/synfaces.h5 -n 20000 --seed 0",
    "sym3d synth data/cars.h5 --kind cars -n 10000",
    "sym3d synth data/cars-outside.h5 --kind cars -n 10000 --backgrounds",
    "sym3d synth faces128.h5 -n 500 --size 128 --device cuda",
    "sym3d synth data/bfm.h5 --morphable model2019_bfm.h5 -n 20000 --seed 0",
    "sym3d synth profiles.h5 -n 200 --seed 1 --hard pose=4",
    "sym3d synth dark.h5 -n 200 --morphable model2019_bfm.h5 --hard noise=4",
)


class Kind(StrEnum):
    faces = "faces"
    cars = "cars"


def main(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="The sym3d.images file to write.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many images.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same images.")] = 0,
    kind: Annotated[Kind, typer.Option("--kind", help="What to draw.")] = Kind.faces,
    size: Size = 64,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    morphable: Annotated[
        Path | None,
        typer.Option(
            "--morphable", metavar="FILE", help="Draw from a face model: Basel Face Model 2017 or 2019, HDF5."
        ),
    ] = None,
    backgrounds: Annotated[
        bool, typer.Option("--backgrounds", help="Cars before coloured backgrounds out of focus, instead of white.")
    ] = False,
    perturb: Perturb = False,
    hard: Annotated[
        str | None,
        typer.Option(
            "--hard", metavar="WHAT=LEVEL", help="Faces to fail on: light, noise or pose, and how hard, 0 to 4."
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Make synthetic faces or cars with true depth, viewpoint and light; the same command again resumes."""
    from stages.synth import SynthRequest, run

    request = SynthRequest(
        out,
        count=count,
        seed=seed,
        kind=kind.value,
        backgrounds=backgrounds,
        size=size,
        device=device,
        overwrite=overwrite,
        perturb=perturb,
        hard=hard,
        morphable=morphable,
    )
    result = run(request, report=context.obj)
    print_json(result) if as_json else print_lines([result.out])
