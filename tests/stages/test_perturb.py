"""Perturbed images: one rectangle each, as the paper states it, and in the artifact."""

import numpy as np
import pytest
from PIL import Image

from stages.artifact import open_artifact
from stages.data.perturb import perturb
from stages.errors import StaleError
from stages.prep import PrepRequest
from stages.prep import run as prep
from stages.synth import SynthRequest
from stages.synth import run as synth


def test_one_rectangle_of_the_stated_size_and_opacity():
    images = np.zeros((300, 64, 64, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.arange(300) % 256, np.arange(300) // 256  # otherwise all alike
    sides, opacities = [], []
    for before, after in zip(images, perturb(images), strict=True):
        changed = (before != after).any(-1)
        rows, columns = (np.flatnonzero(changed.any(axis)) for axis in (1, 0))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        assert changed[top:bottom, left:right].all(), "not a rectangle"
        assert len(np.unique(after[max(top, 1) : bottom, left:right].reshape(-1, 3), axis=0)) == 1
        sides += [bottom - top, right - left]
        opacities.append(after[bottom - 1, right - 1].max() / 255)
    assert 12 <= min(sides) <= 14
    assert 31 <= max(sides) <= 33
    assert 20 < np.mean(sides) < 25
    assert max(opacities) > 0.9
    white = perturb(255 - images)[:, 32, 32].min(-1)
    assert white.min() < 60, "never opaque over a bright image"


def test_an_image_has_the_same_rectangle_in_any_company():
    images = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), np.uint8)
    before = images.copy()
    np.testing.assert_array_equal(perturb(images)[2:], perturb(images[2:]))
    np.testing.assert_array_equal(images, before)


def test_synth_perturbs_the_images_and_nothing_else(tmp_path):
    for name, asked in (("plain.h5", False), ("perturbed.h5", True)):
        synth(SynthRequest(tmp_path / name, 12, size=32, perturb=asked))
    with open_artifact(tmp_path / "plain.h5") as plain, open_artifact(tmp_path / "perturbed.h5") as perturbed:
        np.testing.assert_array_equal(perturbed["image"][:], perturb(plain["image"][:]))
        np.testing.assert_array_equal(perturbed["depth"][:], plain["depth"][:])
        assert "perturbed" in perturbed.provenance["recipe"]
    with pytest.raises(StaleError):
        synth(SynthRequest(tmp_path / "plain.h5", 12, size=32, perturb=True))


def test_prep_perturbs_what_it_prepared(tmp_path):
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(5):
        Image.fromarray(rng.integers(0, 255, (80, 80, 3), np.uint8)).save(tmp_path / f"photos/{i}.png")
    for name, asked in (("plain.h5", False), ("perturbed.h5", True)):
        prep(PrepRequest(tmp_path / "photos", tmp_path / name, perturb=asked))
    with open_artifact(tmp_path / "plain.h5") as plain, open_artifact(tmp_path / "perturbed.h5") as perturbed:
        np.testing.assert_array_equal(perturbed["image"][:], perturb(plain["image"][:]))
        assert plain.strings("sha256") == perturbed.strings("sha256")  # of the files
