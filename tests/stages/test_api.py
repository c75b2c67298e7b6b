"""What ``from stages import ...`` gives: it is documented, it is what the stages compute, and it is quick to import."""

import doctest
import importlib.util
import inspect
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

import stages
from stages import api
from stages.data.faces import render_faces
from stages.errors import InputError, UsageError
from stages.predict import predict


@pytest.fixture(scope="module")
def model():
    return stages.load("synfaces", device="cpu")


@pytest.fixture(scope="module")
def images(model):
    return render_faces(7, [0, 1], model.size)["image"]


@pytest.fixture(scope="module")
def scene(model, images):
    return model.scenes(images, model.predict(images))[0]


def test_every_public_name_is_there_and_documented():
    assert set(stages.__all__) == set(api.__all__)
    for name in stages.__all__:
        assert inspect.getdoc(getattr(stages, name))
        # A module of that name would take its place as soon as anything imports it.
        assert importlib.util.find_spec(f"stages.{name}") is None
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = stages.nothing_of_the_kind


def test_importing_the_package_imports_no_torch():
    code = "import sys, stages; assert not {'torch', 'numpy', 'stages.api'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_example_holds():
    outcome = doctest.testmod(importlib.import_module("stages.api"))
    assert outcome.attempted > 5
    assert outcome.failed == 0


def test_factors_are_what_infer_writes(model, images):
    """In whatever batches."""
    many = images[[0, 1] * 9]
    factors, seen = model.predict(many), predict(model.loaded.model, images)
    assert len(factors.depth) == 18
    np.testing.assert_allclose(factors.depth[-2:], seen["canonical_depth"], atol=1e-5)
    np.testing.assert_allclose(factors.view[-2:], seen["view"], atol=1e-5)
    np.testing.assert_allclose(model.reconstruct(factors).depth[-2:], seen["depth"], atol=1e-4)


def test_other_images_are_refused(model, images):
    for wrong in (images[:, :32], images[0], images.astype(np.float32), images[:0]):
        with pytest.raises(ValueError, match="is not uint8"):
            model.predict(wrong)


def test_photographs_are_cut_for_the_model(model, images, tmp_path):
    large = np.asarray(Image.fromarray(images[0]).resize((256, 256), Image.Resampling.BICUBIC))
    Image.fromarray(large).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    found = model.read(tmp_path / "a.png")
    assert (found.shape, found.dtype) == ((1, 64, 64, 3), np.uint8)
    assert np.abs(found[0].astype(float) - images[0]).mean() < 6
    assert model.read(tmp_path / "a.png", crop="0.5").shape == (1, 64, 64, 3)
    with pytest.raises(InputError, match=r"b\.png: not an image"):
        model.read(tmp_path / "b.png")


def test_a_picture_lies_on_its_reconstruction(model, images):
    """The drawn mesh and the method's warped picture are the same thing from the same place."""
    factors = model.predict(images[1:])
    drawn = stages.render(model.scenes(images[1:], factors)[0], size=64) / 255
    seen = model.reconstruct(factors)
    expected = (seen.image[0].permute(1, 2, 0).numpy() / 2 + 0.5).clip(0, 1)
    inside = seen.valid[0].numpy() & np.pad(np.ones((40, 40), bool), 12)
    assert np.abs(drawn - expected)[inside].mean() < 0.02


def test_yaw_turns_the_front_to_the_right(scene):
    """The nose, which is nearest, moves most: colours of a marked nose end up on that side."""
    albedo = torch.zeros_like(scene.albedo)
    albedo[0, 28:36, 28:36] = 1
    marked = replace(scene, albedo=albedo, light=torch.tensor([1.0, 0, 0, 0, 1]))
    columns = [
        np.nonzero(stages.render(marked, yaw, size=64, background="black")[..., 0] > 99)[1].mean() for yaw in (-30, 30)
    ]
    assert columns[0] < 30 < 34 < columns[1]


def test_relighting_changes_only_what_is_given(scene):
    lit = stages.with_light(scene, (1, 0), ambient=0.25)
    half = 0.5**0.5
    assert lit.light.tolist() == pytest.approx([0.25, scene.light[1].item(), -half, 0, half])
    assert lit.albedo is scene.albedo
    assert torch.equal(stages.with_light(scene).light, scene.light)
    assert stages.with_light(scene, diffuse=0.5).light[2:].tolist() == scene.light[2:].tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"lamp": (1, 2, 3)},
        {"lamp": (math.nan, 0)},
        {"lamp": (0, math.inf)},
        {"ambient": -1},
        {"diffuse": math.inf},
        {"ambient": math.nan},
    ],
)
def test_what_is_no_light(scene, change):
    with pytest.raises(UsageError, match="is no light"):
        stages.with_light(scene, **change)


def test_what_is_no_yaw(scene):
    with pytest.raises(UsageError, match="yaw nan: is no angle"):
        stages.render(scene, math.nan)


@pytest.mark.parametrize("kind", ["glb", "obj", "ply"])
def test_exports_open_elsewhere(scene, kind, tmp_path):
    files = stages.save_mesh(scene, tmp_path / "out" / f"face.{kind}", shaded=True)
    assert files[0] == tmp_path / "out" / f"face.{kind}"
    mesh = trimesh.load(files[0], force="mesh", process=False)
    assert len(mesh.faces) > 4000
    assert np.ptp(mesh.vertices[:, 0]) == pytest.approx(0.16, abs=0.02)  # metres


def test_an_unknown_format_is_named(scene, tmp_path):
    with pytest.raises(UsageError, match="names no format"):
        stages.save_mesh(scene, tmp_path / "face.docx")
