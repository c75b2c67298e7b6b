"""sym3d features: a feature extractor for the perceptual loss, learned from the images themselves."""

from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_json, print_lines
from sym3d_cli.options import AsJson, Device, Overwrite

EXAMPLES = (
    "sym3d features data/cats.h5 data/cats.features.h5",
    "sym3d features faces.h5 faces.features.h5 --width 1 --steps 10000 --device cuda",
)


def main(
    context: typer.Context,
    images: Annotated[Path, typer.Argument(help="The sym3d.images file to learn from; no labels are needed.")],
    out: Annotated[Path, typer.Argument(help="The sym3d.features file to write.")],
    width: Annotated[float, typer.Option("--width", help="Multiplies the channels; 1 is as wide as VGG16.")] = 0.25,
    steps: Annotated[int, typer.Option("--steps", min=1, help="How long to train.")] = 1000,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images per step, each seen twice.")] = 32,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Same seed, same features (on a CPU).")] = 0,
    device: Device = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Learn features for the perceptual loss from unlabelled images; the same command again resumes."""
    from stages.features import FeaturesRequest, run

    request = FeaturesRequest(
        images, out, width=width, steps=steps, batch=batch, seed=seed, overwrite=overwrite, device=device
    )
    result = run(request, report=context.obj)
    if not result.trained:
        context.obj.note(f"{result.out} was already complete")
    found = f"{result.accuracy:.1%} of the places in held-out pictures again in another light"
    context.obj.note(f"finds {found} ({result.chance:.2%} by chance)")
    context.obj.note(f"next: sym3d train RECIPE -s loss.features=self -s loss.features_path={result.out}")
    print_json(result) if as_json else print_lines([result.out])
