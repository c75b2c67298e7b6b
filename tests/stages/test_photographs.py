"""Photographs as people take them: found faces, their place in the original, its pixels on the mesh, and back again."""

import hashlib
import io
import math
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from stages.artifact import make_provenance, open_artifact, write_artifact
from stages.composite import CompositeRequest
from stages.composite import run as composite
from stages.core.camera import view_points
from stages.core.raster import rasterise_depth
from stages.errors import InputError, UsageError
from stages.export import ExportRequest
from stages.export import run as export
from stages.infer import InferRequest, crop_of, run
from stages.io import crops
from stages.loading import load_model
from stages.photographs import check_box, cut_around
from stages.prep import PrepRequest
from stages.prep import run as prep

from .small import RECIPE, small_model, write_checkpoint, write_data


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint.h5")


@pytest.fixture
def photo(tmp_path):
    """A scene of 300×200 pixels with a light square of 80 pixels and one of 40."""
    scene = np.random.default_rng(0).integers(60, 90, (200, 300, 3), np.uint8)
    scene[50:130, 40:120] += 120
    scene[20:60, 220:260] += 80
    Image.fromarray(scene).save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


@pytest.fixture
def finds_squares(monkeypatch):
    """In place of the cascade, which a drawn pattern does not satisfy: the two squares of the scene."""

    class Squares:
        def detectMultiScale(self, grey, *_, **__):
            zoom = (grey.shape[1] - grey.shape[0]) / 100  # a scene is 100 pixels wider than high
            margin = (grey.shape[1] - 300 * zoom) / 2
            return np.array([[220, 20, 40, 40], [40, 50, 80, 80]]) * zoom + [margin, margin, 0, 0]

    monkeypatch.setattr(crops, "_cascade", lambda kind: Squares())
    monkeypatch.setitem(crops.DETECTORS, "face", crops.Detector("", scale=1.0, drop=0.0))


def test_every_face_becomes_a_row_and_keeps_its_place(tmp_path, checkpoint, photo, finds_squares):
    Image.fromarray(np.asarray(Image.open(photo))).save(tmp_path / "copy.jpg")
    result = run(InferRequest(checkpoint, (photo, tmp_path / "copy.jpg"), tmp_path / "out", crop="face", every=True))
    assert result.images == 4
    with open_artifact(result.prediction) as found:
        assert found.strings("name") == ["scene.png#1", "scene.png#2", "copy.jpg#1", "copy.jpg#2"]
        assert found.strings("sha256")[:2] == [hashlib.sha256(photo.read_bytes()).hexdigest()] * 2
        np.testing.assert_allclose(found["box"][:2], [[40, 50, 120, 130], [220, 20, 260, 60]], atol=1)
        assert found["image"][0].min() > 150
    largest = run(InferRequest(checkpoint, (photo,), tmp_path / "one", crop="face"))
    with open_artifact(largest.prediction) as found:
        assert found.strings("name") == ["scene.png"]
        np.testing.assert_allclose(found["box"][0], [40, 50, 120, 130], atol=1)


def test_the_place_counts_upright_pixels(tmp_path, checkpoint):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (300, 200)).save(tmp_path / "phone.jpg", exif=exif)
    result = run(InferRequest(checkpoint, (tmp_path / "phone.jpg",), tmp_path / "out"))
    with open_artifact(result.prediction) as found:
        np.testing.assert_array_equal(found["box"][0], [0, 50, 200, 250])


def test_data_sets_hand_on_what_they_know(tmp_path, checkpoint, photo):
    prep(PrepRequest(photo.parent, tmp_path / "data.h5"))
    made = run(InferRequest(checkpoint, (tmp_path / "data.h5",), tmp_path / "a")).prediction
    with open_artifact(made) as found, open_artifact(tmp_path / "data.h5") as images:
        np.testing.assert_array_equal(found["box"][:], images["box"][:])
        assert found.strings("sha256") == images.strings("sha256")
    nowhere = write_data(tmp_path / "synthetic.h5", 2)
    with open_artifact(run(InferRequest(checkpoint, (nowhere,), tmp_path / "b")).prediction) as found:
        assert "box" not in found
        assert "sha256" in found


def test_looking_for_all_needs_a_crop_that_looks(tmp_path, checkpoint, photo):
    with pytest.raises(UsageError, match="use --crop face or cat"):
        run(InferRequest(checkpoint, (photo,), tmp_path / "out", every=True))


@pytest.mark.parametrize("every", [False, True])
def test_no_face(tmp_path, checkpoint, photo, every):
    with pytest.raises(InputError, match=r"scene\.png: no cat face found; try --crop center") as caught:
        run(InferRequest(checkpoint, (photo,), tmp_path / "out", crop="cat", every=every))
    assert caught.value.exit_code == 3
    assert not (tmp_path / "out").exists()


# -- the model's own crop ---------------------------------------------------------------------------------------------


def model_with(path, stated: str = "", parent: str | None = None) -> Path:
    """A checkpoint whose recipe states a crop, and whose images were made by this text."""
    model, _ = small_model()
    recipe = RECIPE.format(size=64, images="faces.h5").replace("[model]", f"{stated}\n[model]")
    images = {"name": "d.h5", "digest": "0" * 64, "schema": "sym3d.images"}
    parents = [] if parent is None else [images | {"provenance": make_provenance(recipe=parent)}]
    arrays = {f"model/{name}": tensor.numpy() for name, tensor in model.state_dict().items()}
    provenance = make_provenance(recipe=recipe, parents=parents)
    write_artifact(path, "sym3d.checkpoint", arrays, provenance=provenance, attrs={"step": 1, "size": 64})
    return path


@pytest.mark.parametrize(
    ("stated", "parent", "crop"),
    [
        ("", None, "center"),
        ("", "count = 3\nseed = 0\n", "center"),
        ("", "no TOML at all", "center"),
        ("", 'size = 64\ncrop = "none"\nfraction = 1.0\n', "center"),
        ("", 'size = 64\ncrop = "center"\nfraction = 0.8\n', "0.8"),
        ("", 'size = 64\ncrop = "face"\nfraction = 1.0\n', "face"),
        ("", 'size = 64\ncrop = "cat"\nfraction = 0.9\ndown = 0.1\n', "cat:0.9:0.1"),
        ('crop = "cat:0.88:0.09"', 'size = 64\ncrop = "none"\nfraction = 1.0\n', "cat:0.88:0.09"),
    ],
)
def test_a_model_knows_its_crop(tmp_path, stated, parent, crop):
    assert crop_of(load_model(model_with(tmp_path / "c.h5", stated, parent))).text == crop


def test_a_model_with_an_impossible_crop(tmp_path, photo):
    for place in ({"stated": 'crop = "cat:99"'}, {"parent": 'crop = "dog"\nfraction = 1.0\n'}):
        path = model_with(tmp_path / "c.h5", **place)
        with pytest.raises(InputError, match="is no crop; add --crop"):
            run(InferRequest(path, (photo,), tmp_path / "out"))


def test_prep_says_what_infer_reads(tmp_path, photo, finds_squares):
    prep(PrepRequest(photo.parent, tmp_path / "data.h5", crop="face:1.5:0.1"))
    with open_artifact(tmp_path / "data.h5") as images:
        np.testing.assert_allclose(images["box"][0], [20, 42, 140, 162], atol=1)
        text = images.provenance["recipe"]
    assert crop_of(load_model(model_with(tmp_path / "c.h5", parent=text))).text == "face:1.5:0.1"


# -- the photograph on the mesh ---------------------------------------------------------------------------------------


def colours_of(glb: Path) -> np.ndarray:
    (mesh,) = trimesh.load(glb).geometry.values()
    return np.asarray(mesh.visual.material.baseColorTexture.convert("RGB"))


@pytest.fixture
def inferred(tmp_path, checkpoint, photo, finds_squares):
    """The prediction of both squares, with a dome seen from 8° to the side in place of what fresh weights give."""
    made = run(InferRequest(checkpoint, (photo,), tmp_path / "raw", crop="face", every=True)).prediction
    v, u = np.mgrid[:64, :64] / 31.5 - 1
    dome = torch.from_numpy((0.97 + 0.04 * (u**2 + v**2)).astype(np.float32)).expand(2, 64, 64)
    view = torch.tensor([[0.0, math.radians(8), 0.0, 0.0, 0.0, 0.0]]).expand(2, 6)
    depth, valid = rasterise_depth(view_points(dome, view))
    with open_artifact(made) as found:
        arrays = {name: found[name][:] for name in found.names if not name.startswith(("name", "sha256", "skipped"))}
        arrays |= {"name": found.strings("name"), "sha256": found.strings("sha256")}
        arrays |= {"canonical_depth": dome.numpy(), "view": view.numpy(), "depth": depth.numpy()}
        arrays |= {"valid": valid.numpy(), "shading": np.ones((2, 64, 64), np.float32)}
        write_artifact(tmp_path / "p.h5", "sym3d.prediction", arrays, provenance=found.provenance, attrs=found.attrs)
    return tmp_path / "p.h5"


def test_a_mesh_wears_the_photograph_wherever_that_is_now(tmp_path, checkpoint, photo, inferred):
    request = InferRequest(checkpoint, (photo,), tmp_path / "out", ("glb",), texture="photo", crop="face", every=True)
    assert [path.name for path in run(request).meshes] == ["scene-1+photo.glb", "scene-2+photo.glb"]
    first = ExportRequest(inferred, tmp_path / "first", ("glb",), rows=(0,), texture="photo", photos=(photo,))
    texture = colours_of(export(first).meshes[0])
    assert texture.shape == (128, 128, 3)
    assert np.abs(texture[16:112, 16:112].mean() - 194.5) < 2  # the square's own colour
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    photo.rename(moved / "renamed.png")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(moved / "renamed.png", "a/b.png")
        archive.writestr("scene.png", "no image, but the right name")
    for place in (moved, moved / "renamed.png", tmp_path / "photos.zip"):
        request = ExportRequest(inferred, tmp_path / "meshes", ("glb",), rows=(0,), texture="photo", photos=(place,))
        (mesh,) = export(request).meshes
        np.testing.assert_array_equal(colours_of(mesh), texture)


def test_a_video_shows_the_photograph(tmp_path, photo, inferred):
    choices = {"formats": (), "rows": (0,), "videos": ("swing",), "video_formats": ("png",), "size": 64}
    (plain,) = export(ExportRequest(inferred, tmp_path, **choices)).videos
    (film,) = export(ExportRequest(inferred, tmp_path, **choices, texture="photo", photos=(photo,))).videos
    assert (plain.name, film.name) == ("scene-1.swing+64px", "scene-1.swing+photo+64px")
    model, own = (np.asarray(Image.open(folder / "0000.png"))[24:40, 24:40].mean() for folder in (plain, film))
    assert abs(own - 194.5) < 2  # the square's own colour
    assert abs(model - 194.5) > 10
    Image.open(photo).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photo)
    with pytest.raises(InputError, match="is not there, or has changed"):
        export(ExportRequest(inferred, tmp_path, **choices, texture="photo", photos=(photo,)))


def test_a_photograph_that_has_changed(tmp_path, photo, inferred):
    Image.open(photo).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photo)
    with pytest.raises(InputError, match=r"scene\.png#1: its photograph is not there, or has changed"):
        export(ExportRequest(inferred, tmp_path / "m", ("glb",), texture="photo", photos=(photo,)))
    with pytest.raises(InputError, match="none of the prediction's images is from this photograph"):
        composite(CompositeRequest(inferred, photo, tmp_path / "x.png", lamp=(1, 0)))
    for choice in ({"texture": "photo"}, {"photos": (photo,)}):
        with pytest.raises(UsageError, match="--texture photo --photos"):
            export(ExportRequest(inferred, tmp_path / "m", ("glb",), **choice))


def test_data_sets_have_no_photographs(tmp_path, checkpoint):
    data = write_data(tmp_path / "data.h5", 2)
    with pytest.raises(InputError, match="were cut from no photograph; choose another --texture"):
        run(InferRequest(checkpoint, (data,), tmp_path / "out", ("glb",), texture="photo"))
    assert not (tmp_path / "out").exists()
    found = run(InferRequest(checkpoint, (data,), tmp_path / "out")).prediction
    with pytest.raises(InputError, match=r"does not say where its images are .* another --texture$"):
        export(ExportRequest(found, tmp_path / "m", ("glb",), texture="photo", photos=(tmp_path,)))


def test_the_part_around_a_box():
    picture = np.zeros((3000, 4000, 3), np.uint8)
    picture[500:2900, 1000:3400] = 255
    part, frame = cut_around(picture, (1000, 500, 3400, 2900))
    x0, y0, x1, y1 = (round(edge) for edge in frame)
    assert x1 - x0 == y1 - y0 == 1200
    assert (part[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] == 255).all()
    assert part[: y0 - 1].max() == part[:, : x0 - 1].max() == 0
    check_box("a.png", (1000, 500, 3400, 2900), picture)
    for wrong in ((0, 0, 5000, 10), (10, 10, 5, 20), (float("nan"), 0, 1, 1)):
        with pytest.raises(InputError, match="is not inside its photograph of 4000×3000"):
            check_box("a.png", wrong, picture)


# -- and back ---------------------------------------------------------------------------------------------------------


def difference(photo: Path, result: Path) -> np.ndarray:
    before, after = (np.asarray(Image.open(path).convert("RGB")).astype(int) for path in (photo, result))
    assert before.shape == after.shape
    return np.abs(after - before).max(-1)


def test_light_changes_where_the_faces_are_and_nowhere_else(tmp_path, photo, inferred):
    request = CompositeRequest(inferred, photo, tmp_path / "relit.png", lamp=(1, 0), ambient=0.1, diffuse=0.2)
    assert composite(request).names == ("scene.png#1", "scene.png#2")
    changed = difference(photo, tmp_path / "relit.png")
    assert changed[80:100, 70:90].min() > 20
    outside = np.ones(changed.shape, bool)
    outside[50:130, 40:120] = outside[20:60, 220:260] = False
    assert changed[outside].max() == 0
    assert changed[[50, 129], 40:120].max() < 20 < changed[90, 80]  # it fades out towards the crop's edge
    only = composite(CompositeRequest(inferred, photo, tmp_path / "one.png", ambient=0.1, rows=(1,)))
    assert only.names == ("scene.png#2",)
    assert difference(photo, only.picture)[:, :200].max() == 0
    with pytest.raises(UsageError, match=r"x\.jpg: is no name for a PNG"):
        composite(replace(request, out=tmp_path / "x.jpg"))


@pytest.mark.parametrize("change", [{"lamp": (1, 0), "ambient": 0.1}, {"yaw": 10.0}], ids=["relit", "turned"])
def test_a_transparent_photograph_stays_as_transparent(tmp_path, checkpoint, photo, change):
    """Beyond the item its colours do too, unmixed with the white that the model was shown."""
    before = Image.open(photo)
    before.putalpha(Image.linear_gradient("L").resize(before.size))
    before.save(photo)
    found = run(InferRequest(checkpoint, (photo,), tmp_path / "found", crop="0.5")).prediction
    after = Image.open(composite(CompositeRequest(found, photo, tmp_path / "out.png", **change)).picture)
    before, after = (np.asarray(picture).astype(int) for picture in (before, after))
    np.testing.assert_array_equal(after[..., 3], before[..., 3])
    np.testing.assert_array_equal(after[:, :50], before[:, :50])
    assert np.abs(after - before)[60:140, 110:190].mean() > 1


def test_the_same_light_changes_nothing(tmp_path, photo, inferred):
    with open_artifact(inferred) as found:
        ambient, diffuse = (float(value) for value in found["light"][0][:2])
    result = composite(CompositeRequest(inferred, photo, tmp_path / "same.png", None, ambient, diffuse, rows=(0,)))
    assert difference(photo, result.picture).max() == 0


def test_turning_by_nothing_gives_the_photograph_back(tmp_path, inferred, photo):
    """What the mesh shows of the photograph lies over it, to interpolation."""
    result = composite(CompositeRequest(inferred, photo, tmp_path / "turned.png", yaw=0.0, rows=(0,)))
    changed = difference(photo, result.picture)
    assert changed[60:120, 50:110].mean() < 12  # of noise 30 wide
    result = composite(CompositeRequest(inferred, photo, tmp_path / "turned.png", yaw=30.0, rows=(0,)))
    assert 0 < (difference(photo, result.picture) > 0).mean() < 0.3


def test_what_composite_refuses(tmp_path, photo, inferred):
    for wrong, what in (
        ({}, "add --light X,Y or --yaw"),
        ({"yaw": 10.0, "ambient": 0.5}, "either"),
        ({"yaw": 90.0}, "-60 to 60"),
        ({"yaw": float("nan")}, "-60 to 60"),
        ({"yaw": 1.0, "rows": (2,)}, "rows 0 to 1"),
    ):
        with pytest.raises(UsageError, match=what):
            composite(CompositeRequest(inferred, photo, tmp_path / "x.png", **wrong))
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("fov", [1e-3, 1e-300])
def test_a_view_too_narrow_to_be_turned(tmp_path, photo, inferred, fov):
    """The surface of a degree is seen in a picture 13 times as wide; of a thousandth, in one that no memory holds."""
    with open_artifact(inferred) as found:
        arrays = {name: found[name][:] for name in found.names}
        attrs = found.attrs | {"fov": fov}
    write_artifact(tmp_path / "narrow.h5", "sym3d.prediction", arrays, provenance=make_provenance(), attrs=attrs)
    with pytest.raises(InputError, match=r"scene\.png#1: with a field of view of [-.e013]+° it cannot be turned"):
        composite(CompositeRequest(tmp_path / "narrow.h5", photo, tmp_path / "x.png", yaw=10.0))


# -- with the cascades ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "folder"), [("cat", "cat_face"), ("face", "human_face")])
def test_faces_in_a_scene(shared, tmp_path, checkpoint, kind, folder):
    """Two photographs of the reference's demo, pasted into a scene, come back at their places."""
    with zipfile.ZipFile(shared / "unsup3d_demo.zip") as archive:
        names = [name for name in sorted(archive.namelist()) if folder in name and name.endswith(f"_{kind}.png")]
        faces = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in names[:2]]
    scene = Image.new("RGB", (1200, 800), (120, 130, 125))
    places = ((100, 300, 420), (750, 200, 280))
    for face, (x, y, side) in zip(faces, places, strict=True):
        scene.paste(face.resize((side, side), Image.Resampling.BICUBIC), (x, y))
    scene.save(tmp_path / "scene.png")
    result = run(InferRequest(checkpoint, (tmp_path / "scene.png",), tmp_path / "out", crop=kind, every=True))
    assert result.images == 2
    with open_artifact(result.prediction) as found:
        for (x0, y0, x1, y1), (x, y, side) in zip(found["box"][:].tolist(), places, strict=True):
            assert abs(x1 - x0 - side) < 0.2 * side
            assert abs((x0 + x1) / 2 - x - side / 2) + abs((y0 + y1) / 2 - y - side / 2) < 0.2 * side
