"""Whether a checkpoint is of the training that is asked for, which may then go on from it."""

from pathlib import Path

from stages.errors import StaleError
from stages.loading import load_model
from stages.recipe import Recipe

__all__ = ["check_same_run"]

OTHER = {  # what an unknown parent of each schema means
    "sym3d.images": "on other data",
    "sym3d.features": "with other features",
    "vgg16": "with other VGG16 weights",
    "sym3d.checkpoint": "from other weights",
}


def check_same_run(checkpoint: Path, recipe: Recipe, parents: list[dict]) -> None:
    """A run may go on for longer, and be logged otherwise, but not with other data, features, first weights or another
    method: raises StaleError, which says what differs."""
    fix = "restore it, start another run with --name, or begin again with --overwrite"
    loaded = load_model(checkpoint)
    was, now = (_method(r) for r in (loaded.recipe, recipe))
    changed = sorted(key for key in was | now if was.get(key) != now.get(key))
    if changed:
        differences = ", ".join(f"{key} was {was.get(key)}, is {now.get(key)}" for key in changed)
        raise StaleError(checkpoint, f"was trained by another recipe ({differences})", fix)
    then = loaded.provenance.get("parents", ())
    for parent in parents:
        if parent["schema"] == "vgg16" and all(other.get("schema") != "vgg16" for other in then):
            continue  # early versions did not keep which weights these were
        if parent["digest"] not in [other.get("digest") for other in then]:
            raise StaleError(checkpoint, f"was trained {OTHER[parent['schema']]} than {parent['name']}", fix)


def _method(recipe: Recipe) -> dict[str, object]:
    """The dotted settings that decide what a given step computes."""
    flat = {
        f"{section}.{key}": value
        for section, values in recipe.model_dump(include={"model", "loss", "optim", "data"}).items()
        for key, value in values.items()
    }
    for key in ("optim.steps", "optim.epochs", "data.images", "data.make", "data.crop", "loss.features_path"):
        del flat[key]
    flat["optim.init"] = "given" if recipe.optim.init else None  # which weights, their digest says
    return flat | {"run.seed": recipe.run.seed}
