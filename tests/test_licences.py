"""docs/licences.md names every model that ships, with its terms, and every package that pyproject.toml asks for."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stages.shipped import shipped_models

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", list(shipped_models()))
def test_every_model_that_ships_is_listed_under_the_terms_of_its_card(name):
    card = (ROOT / "stages" / "models" / f"{name}.md").read_text(encoding="utf-8")
    terms = re.search(r"^\| Licence \| (.*) \|$", card, re.MULTILINE)[1]
    [row] = [line for line in PAGE.splitlines() if line.startswith("| the model") and f"`{name}`" in line]
    restricted = "non-commercial research only"
    assert (restricted in row) == (restricted in terms)
    assert restricted in row or ("| MIT |" in row and "MIT" in terms)


def test_every_package_that_is_asked_for_is_listed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = chain(project["dependencies"], *project["optional-dependencies"].values())
    named = {canonicalize_name(word) for word in re.findall(r"[\w-]+", PAGE)}
    assert not {canonicalize_name(Requirement(line).name) for line in asked} - named
