"""Procedural cars: their truth is true, they stand on level ground, they are symmetric but for what should not be."""

import numpy as np
import pytest
import torch

from stages.artifact import open_artifact
from stages.core import raster
from stages.core.camera import project, rotation, view_points
from stages.core.health import convexity
from stages.core.metrics import evaluation_mask, mad, side
from stages.data.cars import (
    ABOVE,
    CANONICAL_ABOVE,
    CAR_GENERATOR,
    CAR_NOISE,
    YAW,
    build_cars,
    draw_car_view,
    render_cars,
)
from stages.data.draws import Draws
from stages.data.scenery import draw_background
from stages.errors import StaleError, UsageError
from stages.synth import SynthRequest, run
from tests.stages.small import trivial_scores

# Car 7 of seed 5.
VIEW = [0.218207, -0.48627, -0.277671, -0.00176, -0.001377, 0.0]
DEPTH = [0.963687, 0.95174, 0.954345, 0.958811, 0.965246, 0.973751]
CANONICAL = [0.965058, 0.96259, 0.961856, 0.962799, 0.965476, 0.0]
COLOURS = [[155.9, 155.6, 155.8], [107.3, 107.9, 109.2], [143.0, 143.4, 144.2], [203.3, 203.4, 203.0]]


@pytest.fixture(scope="module")
def cars():
    return render_cars(Draws(5, range(48), noise=CAR_NOISE), 64)


@pytest.fixture(scope="module")
def surface():
    with torch.no_grad():
        return build_cars(Draws(5, range(48), noise=CAR_NOISE), 64)


def test_backgrounds_are_behind_the_same_cars(cars):
    outside = render_cars(Draws(5, range(48), noise=CAR_NOISE), 64, backgrounds=True)
    for name in ("depth", "mask", "view", "light", "canonical_depth"):
        np.testing.assert_array_equal(outside[name], cars[name])
    inside = cars["mask"][:, 2:-2, 2:-2]  # away from edges, where a pixel sees both
    for shift in (np.s_[:, 1:-3, 2:-2], np.s_[:, 3:-1, 2:-2], np.s_[:, 2:-2, 1:-3], np.s_[:, 2:-2, 3:-1]):
        inside = inside & cars["mask"][shift]
    assert (outside["image"][:, 2:-2, 2:-2][inside] == cars["image"][:, 2:-2, 2:-2][inside]).mean() > 0.99
    corners = outside["image"][:, :3, :3].reshape(48, -1, 3).mean(1)
    assert (cars["image"][:, :3, :3] > 250).mean() > 0.9
    assert corners.std(0).min() > 20


def test_shapes_types_and_ranges(cars):
    n = 48
    kinds = {name: (array.dtype.name, array.shape) for name, array in cars.items()}
    assert kinds == {
        "image": ("uint8", (n, 64, 64, 3)),
        "depth": ("float32", (n, 64, 64)),
        "mask": ("bool", (n, 64, 64)),
        "view": ("float32", (n, 6)),
        "light": ("float32", (n, 5)),
        "canonical_depth": ("float32", (n, 64, 64)),
    }
    assert all(np.isfinite(array).all() for array in cars.values())
    assert (cars["depth"][~cars["mask"]] == 0).all()
    for depth in (cars["depth"], cars["canonical_depth"]):
        assert 0.89 < depth[depth > 0].min() < depth.max() < 1.1
    assert 0.35 < cars["mask"].mean() < 0.6
    corners = cars["image"][:, ::63, ::63][~cars["mask"][:, ::63, ::63]]
    assert (corners == 255).all(), "the background is white"
    assert cars["mask"][:, [0, -1]].any((1, 2)).mean() < 0.1, "cars are whole from bottom to top"


def test_true_canonical_depth_and_view_give_the_true_depth_in_view(cars):
    """What the method can say of a car at best: its own rendering of the canonical truth."""
    canonical, view, depth, mask = (torch.from_numpy(cars[k]) for k in ("canonical_depth", "view", "depth", "mask"))
    seen, valid = raster.rasterise_depth(view_points(torch.where(canonical > 0, canonical, 1.08), view))
    judge = evaluation_mask(mask, valid)
    assert side(torch.where(valid, seen, 1), depth, judge).mean() < 0.004
    assert mad(torch.where(valid, seen, 1), depth, judge).mean() < 6


def test_cars_stand_on_level_ground():
    """A car's upright axis stays upright in the picture however it is turned, and is seen from above."""
    view = draw_car_view(Draws(0, range(500), noise=CAR_NOISE))
    assert view[:, :3].abs().max() < np.radians(52)  # within the model's 60°
    tilt = rotation(torch.tensor([[CANONICAL_ABOVE, 0, 0]]).deg2rad())[0]
    up, ahead = ((rotation(view[:, :3]) @ tilt)[:, :, axis] for axis in (1, 2))
    lean = torch.atan2(up[:, 0], up[:, 1]).rad2deg()
    assert lean.abs().max() < 2.5  # the camera's roll
    above = torch.asin(up[:, 2]).rad2deg()
    assert ABOVE[0] - 0.1 < above.min() < above.max() < ABOVE[1] + 0.1
    yaw = torch.atan2(ahead[:, 0], ahead[:, 2] / torch.cos(torch.asin(up[:, 2]))).rad2deg()
    assert -YAW - 3 < yaw.min() < -0.9 * YAW
    assert 0.9 * YAW < yaw.max() < YAW + 3


def test_shapes_are_symmetric_and_closed_and_textures_nearly(surface):
    mirrored = surface.points.flip(2) * surface.points.new_tensor([-1, 1, 1])
    torch.testing.assert_close(mirrored, surface.points, rtol=0, atol=0)
    torch.testing.assert_close(surface.points[:, :, 0], surface.points[:, :, -1], rtol=0, atol=0)
    for end in (surface.points[:, 0], surface.points[:, -1]):
        assert (end - end[:, :1]).abs().max() < 1e-6
    odd = ((surface.albedo.flip(-1) - surface.albedo).abs().amax(1) > 0.05).float().mean((1, 2))
    assert (odd > 0).float().mean() > 0.6  # number plates, stickers, dirt
    assert odd.median() < 0.05
    assert (odd == 0).any()


def test_the_front_is_to_the_viewer_and_convex(cars, surface):
    nose, tail = surface.points[:, -1, 0], surface.points[:, 0, 0]
    assert (nose[:, 2] < tail[:, 2] - 0.05).all()
    canonical = torch.from_numpy(cars["canonical_depth"])
    assert (convexity(torch.where(canonical > 0, canonical, 1.08)) > 0.3).all()


def test_no_triangle_shows_its_inside(surface):
    """Seen from outside, corners run anticlockwise, as those of the heads do."""
    points = surface.points.flatten(1, 2)
    faces = raster.grid_faces(*surface.points.shape[1:3])
    cover = raster.cover(points, faces, 64, 64)
    a, b, c = (project(points, 64, 64)[:, faces[:, i]] for i in range(3))
    (bu, bv), (cu, cv) = (b - a).unbind(-1), (c - a).unbind(-1)
    area = bu * cv - bv * cu
    seen = torch.cat([row[index[index >= 0].long()] for row, index in zip(area, cover, strict=True)])
    assert (seen < 1e-6).float().mean() > 0.999


@pytest.mark.parametrize("batch", [[17], [2, 17, 40]])
def test_a_row_does_not_depend_on_the_rows_beside_it(cars, batch):
    alone = render_cars(Draws(5, batch, noise=CAR_NOISE), 64)
    for name, array in alone.items():
        np.testing.assert_array_equal(array, cars[name][batch], err_msg=name)


def test_the_generator_still_draws_what_it_drew(cars):
    """Whoever changes more than rounding has to raise CAR_GENERATOR, and then the figures here."""
    assert CAR_GENERATOR == 2
    np.testing.assert_allclose(cars["view"][7], VIEW, atol=1e-5)
    np.testing.assert_allclose(cars["depth"][7, 36, 16::8], DEPTH, atol=2e-5)
    np.testing.assert_allclose(cars["canonical_depth"][7, 32, 16::8], CANONICAL, atol=2e-5)
    np.testing.assert_allclose(cars["image"][7, 24:48].reshape(24, 4, 16, 3).mean((0, 2)), COLOURS, atol=0.15)


def test_an_image_uses_all_the_noise_that_is_drawn_for_it():
    draw = Draws(0, [0], noise=CAR_NOISE)
    build_cars(draw, 32)
    draw_background(draw, 32)
    with pytest.raises(RuntimeError, match="invalid"):
        draw.noise(1, 1, (1, 1))


def test_trivial_baselines_are_what_the_documentation_says(cars):
    scores = trivial_scores(cars)
    assert 2.0e-2 < scores["constant"][0] < 2.6e-2
    assert 39 < scores["constant"][1] < 46
    assert scores["average"][0] < 0.75 * scores["constant"][0]


def test_stage_writes_cars_and_refuses_a_face_model_for_them(tmp_path):
    out = tmp_path / "cars.h5"
    assert run(SynthRequest(out, count=20, seed=5, kind="cars")).drawn == 20
    with open_artifact(out, "sym3d.images") as images:
        assert "keypoints" not in images
        assert images.strings("name")[7] == "car-5-000007"
        np.testing.assert_allclose(images["canonical_depth"][7, 32, 16::8], CANONICAL, atol=2e-5)
    with pytest.raises(UsageError, match="draws no cars"):
        run(SynthRequest(tmp_path / "x.h5", count=2, kind="cars", morphable=out))
    with pytest.raises(UsageError, match="--backgrounds: faces have theirs anyway; leave it out, or add --kind cars"):
        run(SynthRequest(tmp_path / "x.h5", count=2, backgrounds=True))
    with pytest.raises(StaleError, match="backgrounds"):
        run(SynthRequest(out, count=20, seed=5, kind="cars", backgrounds=True))
    with pytest.raises(UsageError, match="not offered"):
        run(SynthRequest(tmp_path / "x.h5", count=2, kind="boats"))
