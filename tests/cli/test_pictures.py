"""relight, edit and the videos of export at the command line."""

import re
import shutil

import numpy as np
import pytest

from stages.artifact import make_provenance, write_artifact
from tests.stages.test_export import make_item


@pytest.fixture(autouse=True)
def prediction(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "p.h5", 1)


def write(path, brightness):
    arrays = {field: values[None].repeat(2, 0) for field, values in make_item().items()}
    arrays |= {"name": ["ann.png", "bob.png"], "albedo": arrays["albedo"] * np.float32(brightness)}
    attrs = {"depth_min": 0.9, "depth_max": 1.1, "fov": 10.0}
    path.unlink(missing_ok=True)
    write_artifact(path, "sym3d.prediction", arrays, provenance=make_provenance(), attrs=attrs)


def printed(result):
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()


def test_export_video(sym3d, refused):
    asked = ("export", "p.h5", "-o", "out", "--row", 1, "--size", 32)
    assert printed(sym3d(*asked, "--video", "normals", "--video-format", "webp", "--background", "black")) == [
        "out/bob.normals+32px+000000.webp"
    ]
    assert "choose from swing, turntable" in refused(2, *asked, "--video", "dance")
    assert "is no colour" in refused(2, *asked, "--video", "swing", "--background", "loud")
    assert "choose from mp4" in refused(2, *asked, "--video", "swing", "--video-format", "avi")


def test_relight(sym3d, refused):
    asked = ("relight", "p.h5", "-o", "out", "--only", "ann.png", "--size", 32)
    assert printed(sym3d(*asked, "--light", "-1,0.5", "--ambient", 0.2, "--export", "glb")) == [
        "out/ann.light_-1_0.5_ambient_0.2+32px.png",
        "out/ann.light_-1_0.5_ambient_0.2.frontal+32px.png",
        "out/light_-1_0.5_ambient_0.2+ann.h5",
        "out/ann.light_-1_0.5_ambient_0.2+shaded.glb",
    ]
    assert printed(sym3d(*asked, "--from", "bob.png", "--no-photo"))[0] == "out/ann.lit_as_bob_albedo+32px.png"
    for text in ("1", "a,b", "nan,1", "1,2,3", "1,inf"):
        assert "is no place for a lamp" in refused(2, *asked, "--light", text)
    refused(2, *asked, "--ambient", -1)
    assert "add --light" in refused(2, *asked)
    assert "a mesh one" in refused(2, *asked, "--sweep", "--export", "glb")
    refused(3, "relight", "none.h5", "-o", "out", "--sweep")


def test_edit(sym3d, refused):
    asked = ("edit", "p.h5", "-o", "out", "--row", 0, "--size", 32)
    assert printed(sym3d(*asked, "--frontal")) == [
        "out/ann.frontal+32px.png",
        "out/sheet.frontal+ann+32px.png",
        "out/frontal+ann.h5",
    ]
    assert printed(sym3d("export", "out/frontal+ann.h5", "-o", "meshes")) == [
        f"meshes/ann.frontal.{kind}" for kind in ("obj", "png", "mtl")
    ]
    assert "no item has this name" in refused(2, *asked, "--towards", "eve.png")
    assert "add --frontal" in refused(2, *asked)


def test_what_a_folder_holds_already(sym3d, tmp_path):
    shutil.copy("p.h5", "frontal.h5")
    assert sym3d("edit", "frontal.h5", "-o", ".", "--frontal").exit_code == 0
    assert (tmp_path / "frontal.h5").read_bytes() == (tmp_path / "p.h5").read_bytes()
    write(tmp_path / "q.h5", 0.5)
    asked = ("-o", "out", "--format", "ply", "--only", "ann.png")
    assert printed(sym3d("export", "p.h5", *asked)) == ["out/ann.ply"]
    other = sym3d("export", "q.h5", *asked)
    (path,) = printed(other)
    assert re.fullmatch(r"out/ann-[0-9a-f]{8}\.ply", path)
    assert other.stderr.count("files called ann are not of this prediction") == 1
    write(tmp_path / "p.h5", 0.25)
    again = sym3d("export", "p.h5", *asked)
    assert printed(again) == ["out/ann.ply"]
    assert "of this prediction" not in again.stderr
