"""Scenes: which way a lamp shines, what a photograph shows of a surface, what symmetry puts in place of the rest."""

import math
from dataclasses import replace

import pytest
import torch

from stages.core.mesh import grid_mesh
from stages.core.scene import Scene, blend, changed_light, light_from, lit, photographed, symmetric, with_photo
from stages.core.view import render_mesh

SIZE = 48


def face(yaw: float = 0.0, light=(0.0, 0.0, 0.5, 0.5)) -> Scene:
    """A dome with a nose, its mirror-symmetric albedo in stripes, photographed from a side without noise."""
    axis = torch.linspace(-1, 1, SIZE)
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    depth = 1.05 - 0.08 * torch.exp(-1.5 * (u**2 + v**2)) - 0.03 * torch.exp(-((u / 0.2) ** 2) - (v / 0.4) ** 2)
    albedo = torch.stack([0.5 + 0.2 * torch.cos(9 * u), 0.5 + 0.2 * torch.cos(7 * v), 0.4 + 0.2 * u.abs()])
    view = torch.tensor([0, math.radians(yaw), 0, 0, 0, 0])
    scene = Scene(torch.zeros(3, SIZE, SIZE), depth, albedo, light_from(*light), view)
    photo = render_mesh(grid_mesh(depth), lit(scene), view[None], size=SIZE, fov=scene.fov)[0]
    return replace(scene, photo=photo)


@pytest.mark.parametrize(
    ("lamp", "brighter"),
    [
        ((-1, 0), lambda shading: shading[:, :24].mean() - shading[:, 24:].mean()),
        ((1, 0), lambda shading: shading[:, 24:].mean() - shading[:, :24].mean()),
        ((0, 1), lambda shading: shading[:24].mean() - shading[24:].mean()),
        ((0, -1), lambda shading: shading[24:].mean() - shading[:24].mean()),
    ],
)
def test_the_side_of_the_lamp_is_bright(lamp, brighter):
    scene = replace(face(), albedo=torch.ones(3, SIZE, SIZE))
    assert brighter(lit(scene, light_from(*lamp, 0.2, 0.8)[None])[0, 0]) > 0.05


def test_a_lamp_in_closed_form():
    assert light_from(1, 0, 0.25, 0.75).tolist() == pytest.approx([0.25, 0.75, -math.sqrt(0.5), 0, math.sqrt(0.5)])
    flat = replace(face(), depth=torch.ones(SIZE, SIZE))
    ratio = lit(flat, light_from(0, 1, 0.25, 0.75)[None])[0] / flat.albedo
    assert torch.allclose(ratio, torch.full_like(ratio, 0.25 + 0.75 * math.sqrt(0.5)), atol=1e-5)


def test_what_is_not_given_of_a_light_stays():
    old = light_from(1, 0, 0.25, 0.75)
    assert torch.equal(changed_light(old, (0, 1), diffuse=0.5), light_from(0, 1, 0.25, 0.5))
    assert torch.equal(changed_light(old, ambient=0.5)[1:], old[1:])
    assert old.tolist() == light_from(1, 0, 0.25, 0.75).tolist()


def test_a_photograph_from_the_front_is_the_canonical_image():
    scene = face()
    colour, trust = photographed(scene)
    inner = (slice(6, -6), slice(6, -6))
    assert (trust[inner] > 0.9).float().mean() > 0.95
    assert (colour - lit(scene)[0])[:, *inner].abs().max() < 0.02


def test_from_a_side_the_far_half_is_not_trusted_and_the_near_one_shows_its_own_colours():
    scene = face(yaw=40)  # the nose points left: its left side is hidden
    colour, trust = photographed(scene)
    middle = trust[18:30]
    assert middle[:, 27:38].mean() > 0.9
    assert middle[:, 17:21].mean() < 0.5
    inner = (slice(6, -6), slice(6, -6))
    wrong = (colour - lit(scene)[0]).abs().amax(0)[inner]
    assert wrong[trust[inner] > 0.95].max() < 0.08


def test_what_is_hidden_is_replaced_by_the_mirror_image():
    truth = face(yaw=40)
    grey = replace(truth, albedo=torch.full_like(truth.albedo, 0.1))  # a model that knows no colours
    inner = (slice(10, -10), slice(10, -10))
    kept, whole = with_photo(grey), symmetric(grey)
    hidden = photographed(grey)[1][inner] < 0.05
    assert hidden.float().mean() > 0.05
    assert (kept.albedo[:, *inner][:, hidden] - 0.1).abs().max() < 0.05
    assert (whole.albedo - truth.albedo)[:, *inner][:, hidden].abs().mean() < 0.03
    assert torch.allclose(whole.depth, truth.depth, atol=1e-6)  # which was symmetric


def test_photographed_detail_keeps_under_its_own_light_and_takes_another():
    scene = face(light=(0.8, 0.0, 0.4, 0.6))
    again = with_photo(replace(scene, albedo=torch.zeros_like(scene.albedo)))
    inner = (slice(8, -8), slice(8, -8))
    assert (lit(again) - lit(scene))[0, :, *inner].abs().max() < 0.05
    other = light_from(-0.8, 0.0, 0.4, 0.6)[None]
    assert (lit(again, other) - lit(scene, other))[0, :, *inner].abs().max() < 0.05


def test_paint_keeps_its_light_and_takes_another():
    scene = face()
    fine = torch.nn.functional.interpolate(lit(scene), (2 * SIZE, 2 * SIZE), mode="bilinear")
    painted = replace(scene, paint=fine)
    assert lit(painted) is fine
    lamp = light_from(1.0, 0.0, 0.3, 0.7)[None]
    coarse = torch.nn.functional.avg_pool2d(lit(painted, lamp), 2)
    inside = slice(4, -4)
    torch.testing.assert_close(coarse[..., inside, inside], lit(scene, lamp)[..., inside, inside], atol=0.05, rtol=0)
    assert symmetric(painted).paint is None  # whose halves it no longer shows
    assert blend(painted, scene, 0.5).paint is None


def test_blending_ends_at_either_and_turns_the_light_evenly():
    first, second = face(light=(1, 0, 0.2, 0.8)), face(yaw=30, light=(-1, 0, 0.4, 0.6))
    for amount, end in ((0.0, first), (1.0, second)):
        mixed = blend(first, second, amount)
        for name in ("photo", "depth", "albedo", "light", "view"):
            assert torch.allclose(getattr(mixed, name), getattr(end, name), atol=1e-6), name
    half, quarter = blend(first, second, 0.5), blend(first, second, 0.25)
    assert half.light.tolist() == pytest.approx([0.3, 0.7, 0, 0, 1], abs=1e-6)
    assert quarter.light[2:].tolist() == pytest.approx([-math.sin(math.pi / 8), 0, math.cos(math.pi / 8)], abs=1e-6)
    assert float(half.view[1]) == pytest.approx(math.radians(15))
    assert torch.allclose(blend(first, first, 0.3).light, first.light, atol=1e-6)
