"""Graded faces: one thing changes with the level, the rest stays."""

import numpy as np
import pytest

from stages.artifact import open_artifact
from stages.data.draws import NOISE, Draws
from stages.data.faces import render_faces
from stages.data.hard import AMBIENT, BAND, FAILURES, HARD_NOISE, LEVELS, render_hard
from stages.errors import StaleError, UsageError
from stages.synth import SynthRequest, run

N = 6


@pytest.fixture(scope="module")
def sets():
    return {
        (failure, level): render_hard(failure, level, Draws(3, range(N), noise=NOISE + HARD_NOISE), 64)
        for failure in FAILURES
        for level in range(LEVELS)
    }


@pytest.mark.parametrize("failure", ["light", "noise"])
def test_level_0_is_the_ordinary_picture(sets, failure):
    for name, array in render_faces(3, range(N)).items():
        np.testing.assert_allclose(sets[failure, 0][name].astype(float), array.astype(float), atol=1e-6, err_msg=name)


def test_light_leaves_the_shape_and_goes_to_the_side(sets):
    lights = np.stack([sets["light", level]["light"] for level in range(LEVELS)])
    assert (np.diff(lights[..., 0], axis=0) < 0).all()
    assert (np.diff(np.abs(lights[..., 2]), axis=0) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(lights[..., 2:], axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(lights[-1, :, 0], AMBIENT, atol=1e-6)
    assert (lights[..., 1] <= 1).all()
    for level in range(LEVELS):
        np.testing.assert_array_equal(sets["light", level]["depth"], sets["light", 0]["depth"])


def test_noise_darkens_and_leaves_everything_but_the_picture(sets):
    def brightness(level: int) -> float:
        return sets["noise", level]["image"][sets["noise", level]["mask"]].mean()

    assert brightness(4) < 0.3 * brightness(0)
    for name in ("depth", "view", "light", "keypoints"):
        np.testing.assert_array_equal(sets["noise", 4][name], sets["noise", 0][name])


def test_yaws_keep_to_their_band_and_side(sets):
    for level in range(LEVELS):
        view = sets["pose", level]["view"]
        yaw = np.degrees(view[:, 1])
        assert ((np.abs(yaw) >= BAND * level) & (np.abs(yaw) <= BAND * (level + 1) + 1e-4)).all()
        np.testing.assert_array_equal(np.sign(yaw), np.sign(sets["light", 0]["view"][:, 1]))
        np.testing.assert_array_equal(np.delete(view, 1, 1), np.delete(sets["light", 0]["view"], 1, 1))
    assert all(np.isfinite(array).all() for array in sets["pose", 4].values())


def test_a_file_of_them(tmp_path, sets):
    request = SynthRequest(tmp_path / "pose.h5", N, seed=3, hard="pose=4")
    run(request)
    with open_artifact(request.out, "sym3d.images") as images:
        np.testing.assert_array_equal(images["image"][:], sets["pose", 4]["image"])
        assert images.provenance["recipe"].endswith("pose=4")
    with pytest.raises(StaleError):
        run(SynthRequest(request.out, N, seed=3, hard="pose=3"))
    for hard in ("pose", "pose=5", "pose=-1", "pose=1.0", "sleep=1", "=1"):
        with pytest.raises(UsageError, match=r"--hard .*choose light, noise, pose and a level from 0 to 4"):
            run(SynthRequest(tmp_path / "x.h5", 1, hard=hard))
    with pytest.raises(UsageError, match="only procedural faces"):
        run(SynthRequest(tmp_path / "x.h5", 1, hard="pose=1", morphable=tmp_path / "model.h5"))
    assert not (tmp_path / "x.h5").exists()
