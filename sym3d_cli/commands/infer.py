"""sym3d infer: images become depth, albedo, light and viewpoint, and textured meshes."""

from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_json, print_lines
from sym3d_cli.options import (
    AsJson,
    Batch,
    Checkpoint,
    Device,
    Ema,
    Meshes,
    ModelCrop,
    Overwrite,
    Pose,
    Resolution,
    Solid,
    Split,
    Texture,
    Triangles,
    names,
)

EXAMPLES = (
    "sym3d infer runs/cats photo.png --export obj",
    "sym3d infer synfaces data/synfaces.h5 -o faces --split test",
    "sym3d infer runs/cats photo.jpg --all --export glb --texture photo",
    "sym3d infer cats.h5 pictures/ --crop cat --export glb,ply --pose input",
    "sym3d infer synfaces photo.png --crop face --export stl --solid --resolution 256",
)

SHOWN = 10  # skipped inputs named on screen
LEAST = 5  # images whose reliability is shown: the lowest


def main(
    context: typer.Context,
    checkpoint: Checkpoint,
    inputs: Annotated[list[Path], typer.Argument(help="Images, folders, zips, or sym3d.images files.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The folder of results; left out: named after the first input.")
    ] = None,
    export: Meshes = "",
    pose: Pose = "canonical",
    texture: Texture = "albedo",
    resolution: Resolution = None,
    triangles: Triangles = None,
    solid: Solid = False,
    crop: ModelCrop = None,
    every: Annotated[bool, typer.Option("--all", help="Every face in a photograph, not only the largest.")] = False,
    split: Split = "all",
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Also keep the confidence maps; a quarter slower.")
    ] = False,
    ema: Ema = True,
    batch: Batch = 16,
    device: Device = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Predict depth, albedo, light and viewpoint of images; the same command again resumes."""
    from stages.infer import InferRequest, run

    request = InferRequest(
        checkpoint,
        tuple(inputs),
        out,
        formats=names(export),
        pose=str(pose),
        texture=str(texture),
        resolution=resolution,
        triangles=triangles,
        solid=solid,
        crop=crop,
        every=every,
        split=str(split),
        batch=batch,
        ema=ema,
        confidence=confidence,
        device=device,
        overwrite=overwrite,
    )
    result = run(request, report=context.obj)
    for name, reason in result.skipped[:SHOWN]:
        context.obj.warn(f"{name}: {reason}; skipped")
    if len(result.skipped) > SHOWN:
        context.obj.warn(f"and {len(result.skipped) - SHOWN} more; all are in the prediction's skipped table")
    lowest = ", ".join(f"{name} {score:.2f}" for name, score in result.reliability[:LEAST])
    if result.images > LEAST:
        median = result.reliability[result.images // 2][1]
        lowest = f"median {median:.2f}, lowest {lowest}"
    context.obj.note(f"reliability: {lowest}")
    if result.images_per_second:
        context.obj.note(f"{result.images} images, {result.images_per_second:.1f} images/s")
    print_json(result) if as_json else print_lines([result.prediction, result.sheet, *result.meshes])
