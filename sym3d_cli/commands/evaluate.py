"""sym3d eval: how far a model is from the truth."""

from pathlib import Path
from typing import Annotated

import typer

from sym3d_cli.console import print_json, print_table
from sym3d_cli.options import AsJson, Batch, Device, Ema, Overwrite, Split, model_names, names

EXAMPLES = (
    "sym3d eval --metric side,mad",
    "sym3d eval runs/small data/synfaces.h5 --baseline null-depth,average-depth",
    "sym3d eval faces.sym3d/prediction.h5 data/synfaces.h5 --json",
    "sym3d eval runs/small data/synfaces128.h5 --metric depthcorr --upscale",
    "sym3d eval runs/cats data/cats.h5 --metric convexity",
)
PRINTED = {
    "side": ("SIDE ×10⁻²", 100.0),
    "mad": ("MAD °", 1.0),
    "relief": ("relief", 1.0),
    "depthcorr": ("depth correlation of 66", 1.0),
    "convexity": ("convexity", 1.0),
}  # heading and factor of the paper's tables
KEPT = 15  # of twenty steps of a risk-coverage curve: 80 %


def main(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            help="A run folder, checkpoint, shipped model or prediction file; left out: the newest run.",
            autocompletion=model_names,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Argument(help="A sym3d.images file with true depth or key points; left out: the recipe's own."),
    ] = None,
    metric: Annotated[
        str,
        typer.Option("--metric", help="Metrics to print: side, mad, relief, depthcorr, convexity (needs no truth)."),
    ] = "side,mad",
    baseline: Annotated[
        str, typer.Option("--baseline", help="Baselines on the same images: null-depth, average-depth.")
    ] = "",
    split: Split = "test",
    upscale: Annotated[bool, typer.Option("--upscale", help="Judge a smaller model at the data's size.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Scores; left out: beside the run or prediction, else here.")
    ] = None,
    ema: Ema = True,
    batch: Batch = 32,
    device: Device = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Compare predicted with true depth: mean and deviation over the images, and per-image scores in a file."""
    from stages.evaluate import EvaluateRequest, run

    request = EvaluateRequest(
        target,
        data,
        split=str(split),
        metrics=names(metric),
        baselines=names(baseline),
        upscale=upscale,
        out=out,
        batch=batch,
        ema=ema,
        device=device,
        overwrite=overwrite,
    )
    result = run(request, report=context.obj)
    if as_json:
        print_json(result)
        return
    metrics = names(metric)
    heads = [PRINTED.get(name, (name, 1.0))[0] for name in metrics]
    rows = [
        [who, *(_shown(name, scores.get(name)) for name in metrics), next(iter(scores.values())).count]
        for who, scores in result.summary.items()
        if scores
    ]
    print_table(["", *heads, "images"], rows)
    for name, found in result.reliability.items():
        head, factor = PRINTED[name]
        kept = f"{found.risk[KEPT] * factor:.3f} instead of {found.risk[-1] * factor:.3f}"
        rho = f"{head}: rank correlation with reliability {found.spearman:+.2f}"
        context.obj.note(f"{rho}; without the least reliable fifth {kept}")
    context.obj.note(f"per image: {result.scores} · worst and best: {result.sheet}")


def _shown(metric: str, score) -> str:
    if score is None:
        return ""
    factor = PRINTED.get(metric, (metric, 1.0))[1]
    spread = "" if score.std is None else f" ± {score.std * factor:.3f}"
    return f"{score.mean * factor:.3f}{spread}"
