"""Shared fixtures. Every annotated tensor in stages.core is shape-checked while the tests run."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("stages.core", "beartype.beartype")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The research data beside the project; tests that use it skip where it is absent, because users don't have it."""
    folder = Path(os.environ.get("SYM3D_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("research data not present")
    return folder / "data"
