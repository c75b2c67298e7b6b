"""Recipes: everything that decides a training run, as one small TOML file.

The only package that reads TOML. A recipe is checked as a whole, so one message names every fault with its dotted
path and the nearest known key. The core never sees a recipe: stages turn its sections into plain arguments.
"""

from stages.recipe.reading import load_recipe, parse_recipe, path_setting
from stages.recipe.sections import (
    DataSection,
    LossSection,
    ModelSection,
    OptimSection,
    Recipe,
    RunSection,
    as_setting,
    recipe_keys,
)
from stages.recipe.shipped import find_images, find_recipe, shipped_recipes

__all__ = [
    "DataSection",
    "LossSection",
    "ModelSection",
    "OptimSection",
    "Recipe",
    "RunSection",
    "as_setting",
    "find_images",
    "find_recipe",
    "load_recipe",
    "parse_recipe",
    "path_setting",
    "recipe_keys",
    "shipped_recipes",
]
