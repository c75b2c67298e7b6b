"""Where recipes, and the images they name, are found."""

import difflib
from pathlib import Path

from stages.errors import InputError
from stages.recipe.sections import Recipe

__all__ = ["find_images", "find_recipe", "shipped_recipes"]


def shipped_recipes() -> dict[str, Path]:
    """Name → file of the recipes that come with sym3d: ``sym3d_cli/_recipes`` in a wheel, ``recipes`` in a checkout."""
    root = Path(__file__).resolve().parents[2]
    folder = root / "sym3d_cli" / "_recipes"
    if not folder.is_dir() and (root / "pyproject.toml").is_file():
        folder = root / "recipes"
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.toml"))}


def find_recipe(path: str | Path) -> Path:
    """The file that ``path`` means: itself, else the shipped recipe of that name (``cats``, ``recipes/cats.toml``)."""
    path = Path(path)
    shipped = shipped_recipes()
    name = path.as_posix().removeprefix("recipes/").removesuffix(".toml")
    if path.is_file():
        return path
    if name in shipped and not (path.is_dir() and path.suffix):
        return shipped[name]
    if path.is_dir():
        raise InputError(path, "is a folder", "name a recipe, a .toml file")
    nearest = difflib.get_close_matches(name, shipped, n=1)
    guess = f"did you mean {nearest[0]}? " if nearest else ""
    raise InputError(path, "no such recipe", f"{guess}`sym3d recipes list` shows those that come with sym3d")


def find_images(recipe: Recipe, recipe_path: str | Path | None = None) -> Path:
    """The recipe's image file, from the working directory or else the recipe's; InputError says how to make it."""
    images = Path(recipe.data.images)
    if images.exists():
        return images
    beside = Path(recipe_path).parent / images if recipe_path is not None else images
    if beside.exists():
        return beside
    raise InputError(images, f"the images of recipe {recipe.name} are not there", f"make them: {recipe.data.make}")
