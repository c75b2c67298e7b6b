"""No room for temporary files: said so, with exit code 6, by what needs them; the rest does without."""

import tempfile

import numba
import numpy as np
import pytest

from stages.artifact import read_foreign
from stages.core.kernels import compiled
from stages.errors import OutputError
from stages.io.maps import DEPTHS
from stages.io.meshes import write_meshes
from tests.disks import fill, mounted
from tests.stages.test_export import make_item
from tests.stages.tiny_face import tiny_arrays, write_model


@pytest.fixture
def full(tmp_path):
    """A file system on which files can be made, but nothing written into them."""
    with mounted(tmp_path / "disk", "size=64k") as folder:
        fill(folder)
        yield folder


@pytest.fixture(params=["full", "missing"])
def no_room(request, tmp_path, monkeypatch):
    """Where temporary files cannot be written."""
    folder = request.getfixturevalue("full") if request.param == "full" else tmp_path / "missing"
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))


def test_an_exr(no_room):
    with pytest.raises(OutputError, match=r"^temporary files: could not be written .*; free some space there"):
        DEPTHS["exr"](np.random.default_rng(0).random((64, 64), np.float32), "ann")


def test_usdz(no_room, tmp_path):
    pytest.importorskip("pxr")
    with pytest.raises(OutputError, match=r"^temporary files: could not be written") as refused:
        write_meshes(make_item(), tmp_path / "out", "ann", formats=["usdz"])
    assert "\n" not in str(refused.value)


def test_a_face_model_is_not_called_damaged(no_room, tmp_path):
    write_model(tmp_path / "model.h5", tiny_arrays())
    with pytest.raises(OutputError, match=r"^temporary files: could not be written"):
        read_foreign(tmp_path / "model.h5", ["shape/model/mean"])


def triple(x):
    return 3 * x


def test_kernels_are_not_kept_where_there_is_no_room(full, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(full))
    assert compiled()(triple)(14) == 42
