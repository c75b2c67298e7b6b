"""Shared fixtures. Every annotated tensor in stages.core is shape-checked while the tests run."""

import os
from pathlib import Path

import hypothesis
import pytest
import torch
from jaxtyping import install_import_hook

# Not the raster kernels: numba compiles and caches them as they are written.
CHECKED = (
    *("camera", "geometry", "health", "layers", "lighting", "losses", "metrics", "model", "networks"),
    *("objective", "perceptual", "search"),
)
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports triton: its kernels then run on CPU tensors
hypothesis.settings.register_profile("any machine", deadline=None)  # timing never decides a test
hypothesis.settings.load_profile("any machine")
install_import_hook([f"stages.core.{module}" for module in CHECKED], "beartype.beartype")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The research data beside the project; tests that use it skip where it is absent, because users don't have it."""
    folder = Path(os.environ.get("SYM3D_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("research data not present")
    return folder / "data"
