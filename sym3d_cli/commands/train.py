"""sym3d train: a recipe becomes a run folder with a checkpoint."""

import re
from pathlib import Path
from typing import Annotated

import typer

from stages.errors import InputError, UsageError
from stages.progress import Silent
from stages.torchrun import launched
from sym3d_cli.console import print_json, print_lines
from sym3d_cli.options import AsJson, Overwrite, Settings, recipe_names

EXAMPLES = (
    "sym3d train recipes/cats.toml",
    "sym3d train small -s run.seed=1 --name small-1",
    "sym3d train faces --data data/mine.h5 --name mine --init runs/celeba",
    "sym3d train cats --check",
    "torchrun --nproc-per-node 4 -m sym3d_cli train cats",
)


def main(
    context: typer.Context,
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe file, or the name of a recipe that comes with sym3d.", autocompletion=recipe_names
        ),
    ],
    settings: Settings = None,
    data: Annotated[Path | None, typer.Option("--data", help="Train on this file instead of data.images.")] = None,
    init: Annotated[
        Path | None,
        typer.Option("--init", metavar="CHECKPOINT", help="Start from its weights: sets optim.init."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the run; left out: the recipe's name.")] = None,
    overwrite: Overwrite = False,
    check: Annotated[bool, typer.Option("--check", help="Print the resolved recipe and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model by a recipe, into runs/NAME; the same command again resumes."""
    from stages.recipe import find_images, find_recipe, load_recipe, path_setting

    first = launched()[0] == 0  # of several processes under torchrun; the others stay silent
    report = context.obj if first else Silent()
    if not first:
        context.obj.rest()
    settings = list(settings or ())
    if data is not None:
        if not data.exists():
            raise InputError(data, "no such file", "check --data")
        settings.append(path_setting("data.images", data))
    if init is not None:
        settings.append(path_setting("optim.init", init))
    loaded = load_recipe(recipe, settings)
    found = find_recipe(recipe)
    name = name or loaded.name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise UsageError("--name", f"{name} cannot name a folder under runs/", "use letters, digits and . _ -")
    images = None if check else find_images(loaded, found)
    if images is not None:  # the run's own recipe says what it saw, for whoever evaluates it
        loaded = load_recipe(recipe, [*settings, path_setting("data.images", images)])
    if recipe.endswith(".toml") and found != Path(recipe):
        report.note(f"{recipe} is not here: this is the recipe that comes with sym3d, {found}")
    if check:
        print_json(loaded.model_dump()) if as_json else print_lines(loaded.text().splitlines())
        return

    from stages.train import TrainRequest, run

    result = run(TrainRequest(loaded, Path("runs") / name, images, overwrite), report=report)
    if not first:
        return
    figures = " · ".join(f"{key} {value:.4g}" for key, value in result.metrics.items())
    report.note(f"{result.steps} steps in {result.seconds:.0f} s" + (f" · {figures}" if figures else ""))
    # Photographs have no truth to evaluate on.
    after = f"eval {result.run_dir}" if "side" in result.metrics else f"infer {result.run_dir} PHOTO --export glb"
    report.note(f"next: sym3d {after}")
    print_json(result) if as_json else print_lines([result.checkpoint])
