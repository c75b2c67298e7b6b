from pathlib import Path

import h5py
import numpy as np
import pytest
from small_files import complete, provenance, reseal

from stages.artifact import write_artifact


@pytest.fixture
def images(tmp_path) -> Path:
    return complete(tmp_path / "images.h5")


@pytest.fixture
def tamper(images):
    """Change an artifact through h5py, with a fresh seal so that only the structure speaks; returns its path."""

    def change(edit, seal: bool = True) -> Path:
        with h5py.File(images, "r+") as file:
            edit(file)
        if seal:
            reseal(images)
        return images

    return change


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    path = tmp_path / "checkpoint.h5"
    arrays = {"model/netD.weight": np.arange(12, dtype=np.float32).reshape(3, 4)}
    write_artifact(path, "sym3d.checkpoint", arrays, provenance=provenance(), attrs={"step": 1, "size": 8})
    return path
