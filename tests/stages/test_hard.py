"""Graded faces: one thing changes with the level, the rest stays."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from stages.artifact import file_sha256, open_artifact
from stages.data.draws import NOISE, Draws
from stages.data.face_model import build_model
from stages.data.faces import draw_scene, render_batch
from stages.data.hard import AMBIENT, BAND, FAILURES, HARD_NOISE, LEVELS, draw_hard_scene
from stages.data.meshes import Mesh
from stages.data.morphable import draw_model_scene, extra_noise
from stages.errors import StaleError, UsageError
from stages.synth import SynthRequest, run
from tests.stages.tiny_face import tiny_arrays, write_model

N = 6
KINDS = ("procedural", "painted", "coloured")  # heads, and faces of a model without and with colours of its own


def _drawn(kind: str, indices, *hard) -> dict[str, np.ndarray]:
    """Images at a level, "light", 3, or as they are ordinarily."""
    scene, noise = draw_scene, NOISE
    if kind != "procedural":
        model = build_model(tiny_arrays(colours=kind == "coloured"))
        scene, noise = partial(draw_model_scene, model), NOISE + extra_noise(model)
    if hard:
        scene, noise = partial(draw_hard_scene, *hard, scene), noise + HARD_NOISE
    return render_batch(Draws(3, indices, noise=noise), 64, scene)


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def sets(kind):
    return {key: _drawn(kind, range(N), *key) for key in ((f, level) for f in FAILURES for level in range(LEVELS))}


@pytest.mark.parametrize("failure", ["light", "noise"])
def test_level_0_is_the_ordinary_picture(kind, sets, failure):
    for name, array in _drawn(kind, range(N)).items():
        np.testing.assert_allclose(sets[failure, 0][name].astype(float), array.astype(float), atol=1e-6, err_msg=name)


def test_levels_mean_the_same_in_all_kinds(sets):
    for failure in ("light", "pose"):
        for level in (0, LEVELS - 1):
            procedural = _drawn("procedural", range(N), failure, level)
            for name in ("light", "view"):
                np.testing.assert_array_equal(sets[failure, level][name], procedural[name])


def test_a_picture_does_not_depend_on_those_beside_it(kind, sets):
    alone = _drawn(kind, [4], "noise", 4)
    np.testing.assert_array_equal(alone["image"][0], sets["noise", 4]["image"][4])


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


def test_noise_goes_around_a_mesh_from_top_to_bottom():
    """A grid of columns' numbers, and one of rows', at points in known directions from the rotation centre."""
    front, left, right, top, below = (0, 0, 0.9), (-0.1, 0, 1), (0.1, 0, 1), (0, -0.1, 1), (0, 0.1, 0.9)
    points = torch.tensor([front, left, right, top, below])[None]
    mesh = Mesh(points, torch.ones_like(points), torch.zeros(0, 3, dtype=torch.long), ())
    columns, rows = torch.arange(9.0).expand(5, 9), torch.arange(5.0)[:, None].expand(5, 9)
    around, down = (mesh.spread(grid[None, None])[0, :, 0] for grid in (columns, rows))
    torch.testing.assert_close(around[[0, 1, 2, 4]], torch.tensor([4.0, 2, 6, 4]))
    torch.testing.assert_close(down, torch.tensor([2.0, 2, 2, 0, 3]))


def test_yaws_keep_to_their_band_and_side(sets):
    for level in range(LEVELS):
        view = sets["pose", level]["view"]
        yaw = np.degrees(view[:, 1])
        assert ((np.abs(yaw) >= BAND * level) & (np.abs(yaw) <= BAND * (level + 1) + 1e-4)).all()
        np.testing.assert_array_equal(np.sign(yaw), np.sign(sets["light", 0]["view"][:, 1]))
        np.testing.assert_array_equal(np.delete(view, 1, 1), np.delete(sets["light", 0]["view"], 1, 1))
    assert all(np.isfinite(array).all() for array in sets["pose", 4].values())


def test_a_file_of_them(tmp_path):
    request = SynthRequest(tmp_path / "pose.h5", N, seed=3, hard="pose=4")
    run(request)
    with open_artifact(request.out, "sym3d.images") as images:
        np.testing.assert_array_equal(images["image"][:], _drawn("procedural", range(N), "pose", 4)["image"])
        assert images.provenance["recipe"].endswith("pose=4")
    with pytest.raises(StaleError):
        run(SynthRequest(request.out, N, seed=3, hard="pose=3"))
    for hard in ("", "pose", "pose=5", "pose=-1", "pose=1.0", "sleep=1", "=1"):
        with pytest.raises(UsageError, match=r"--hard .*choose light, noise, pose and a level from 0 to 4"):
            run(SynthRequest(tmp_path / "x.h5", 1, hard=hard))
    with pytest.raises(UsageError, match="--hard: only faces can be made hard; leave out --kind"):
        run(SynthRequest(tmp_path / "x.h5", 1, hard="pose=1", kind="cars"))
    assert not (tmp_path / "x.h5").exists()


def test_a_file_of_them_from_a_face_model(tmp_path):
    arrays = tiny_arrays()
    model = write_model(tmp_path / "model.h5", arrays)
    request = SynthRequest(tmp_path / "dark.h5", N, seed=3, hard="noise=4", morphable=model)
    run(request)
    assert run(request).drawn == 0
    with open_artifact(request.out, "sym3d.images") as images:
        np.testing.assert_array_equal(images["image"][:], _drawn("painted", range(N), "noise", 4)["image"])
        assert images.provenance["recipe"].startswith("morphable faces")
        assert images.provenance["recipe"].endswith("noise=4")
        assert images.provenance["parents"] == [{"name": "model.h5", "digest": file_sha256(model)}]
    with pytest.raises(StaleError, match="recipe"):
        run(replace(request, hard="noise=3"))
    with pytest.raises(StaleError, match="recipe"):
        run(replace(request, hard=None))
    arrays["shape/model/pcaVariance"][0] += 1
    write_model(model, arrays)
    with pytest.raises(StaleError, match=r"content of its input has changed \(model.h5\)"):
        run(request)
    again = replace(request, overwrite=True)
    run(again)
    with open_artifact(again.out) as images:  # drawn from what the file holds now
        assert (images["image"][:] != _drawn("painted", range(N), "noise", 4)["image"]).any()
