"""Textures from photographs: known surfaces under known views, where the right texel can be written down."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.core.texture import feather, photo_texture, texel_places

SIDE, SIZE, FOV = 32, 64, 10.0
WHOLE = (0.0, 0.0, 96.0, 96.0)  # the input fills the photograph
TAN = math.tan(math.radians(FOV) / 2)
FLAT = torch.ones(SIDE, SIDE)


def view(yaw: float = 0.0) -> torch.Tensor:
    return torch.tensor([0.0, math.radians(yaw), 0.0, 0.0, 0.0, 0.0])


def slopes() -> torch.Tensor:
    """x / z of every column of texels in the canonical view."""
    pixel = (torch.arange(SIZE, dtype=torch.float64) + 0.5) / SIZE * SIDE - 0.5
    return (2 * pixel / (SIDE - 1) - 1) * TAN


def ramp(size: int = 96) -> torch.Tensor:
    """A photograph whose red says where a pixel is from left to right, and whose green from top to bottom."""
    at = (torch.arange(size) + 0.5) / size
    return torch.stack([at.expand(size, size), at[:, None].expand(size, size), torch.zeros(size, size)])


def paint(photo=None, frame=WHOLE, depth=FLAT, yaw=0.0, shading=FLAT, fallback=None, confidence=None):
    fallback = torch.zeros(3, SIDE, SIDE) if fallback is None else fallback
    photo = ramp() if photo is None else photo
    return photo_texture(photo, frame, depth, view(yaw), shading, fallback, confidence, fov=FOV, size=SIZE)


def roof() -> torch.Tensor:
    """Two walls that meet in the middle column, 45° to the line of sight there: seen from 50° one is hidden."""
    pixel = torch.arange(SIDE, dtype=torch.float32)
    slope = (2 * pixel / (SIDE - 1) - 1).abs() * TAN
    return (0.95 / (1 - slope)).expand(SIDE, SIDE)  # z = 0.95 + |x|


def test_a_plane_from_the_front_is_the_photograph():
    places, visible = texel_places(FLAT, view(), fov=FOV, size=SIZE)
    at = (torch.arange(SIZE) + 0.5) / SIZE
    torch.testing.assert_close(places[..., 0], at.expand(SIZE, SIZE), atol=1e-5, rtol=0)
    torch.testing.assert_close(places[..., 1], at[:, None].expand(SIZE, SIZE), atol=1e-5, rtol=0)
    assert (visible == 1).all()
    torch.testing.assert_close(paint(), ramp(SIZE), atol=2e-3, rtol=0)


@pytest.mark.parametrize("yaw", [-35.0, 20.0])
def test_a_turned_plane(yaw):
    """R_y about (0, 0, 1) takes (x, y, 1) to (x cos β, y, 1 - x sin β)."""
    x, b = slopes(), math.radians(yaw)
    seen = x * math.cos(b) / (1 - x * math.sin(b)) / TAN  # -1 and 1 at the outermost pixel centres
    expected = ((seen + 1) / 2 * (SIDE - 1) + 0.5) / SIDE
    places, _ = texel_places(FLAT, view(yaw), fov=FOV, size=SIZE)
    torch.testing.assert_close(places[SIZE // 2, :, 0].double(), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(paint(yaw=yaw)[0, SIZE // 2].double(), expected, atol=3e-3, rtol=0)


def test_the_crop_lies_somewhere_in_the_photograph():
    """Texels beyond the model's input are still in the photograph."""
    photo = torch.full((3, 200, 300), 0.5)
    photo[:, 40:136, 100:196] = ramp()
    torch.testing.assert_close(paint(photo, (100, 40, 196, 136))[:, 4:-4, 4:-4], paint()[:, 4:-4, 4:-4])


def test_the_hidden_side_is_filled_from_its_mirror_image():
    texture = paint(depth=roof(), yaw=50.0, fallback=torch.full((3, SIDE, SIDE), 0.5))
    _, visible = texel_places(roof(), view(50.0), fov=FOV, size=SIZE)
    left, right = visible[SIZE // 2, 10:-10].chunk(2)
    shown, hidden = (slice(SIZE // 2 + 8, -10), slice(10, SIZE // 2 - 8))
    if left.mean() > right.mean():
        shown, hidden = hidden, shown
    assert visible[SIZE // 2, shown].min() == 1
    assert visible[SIZE // 2, hidden].max() == 0
    torch.testing.assert_close(texture[:, 8:-8, hidden], texture.flip(-1)[:, 8:-8, hidden])
    assert texture[0, SIZE // 2, shown].std() > 0.02


def test_a_mirrored_colour_is_relit_and_what_no_side_shows_is_made_up():
    grey, fallback = torch.full((3, 96, 96), 0.4), torch.full((3, SIDE, SIDE), 0.9)
    shading = torch.ones(SIDE, SIDE)
    shading[:, : SIDE // 2] = 0.9
    texture = paint(grey, depth=roof(), yaw=50.0, shading=shading, fallback=fallback)
    dark, light = texture[0, SIZE // 2, 20], texture[0, SIZE // 2, -20]
    assert sorted([round(float(dark), 3), round(float(light), 3)]) in ([0.36, 0.4], [0.4, 0.444])
    doubted = torch.stack([FLAT, 1e6 * FLAT])  # the picture does not look like its mirror image anywhere
    texture = paint(grey, depth=roof(), yaw=50.0, fallback=fallback, confidence=doubted)
    found = texture[0, SIZE // 2, [20, -20]]
    torch.testing.assert_close(found.sort().values, torch.tensor([0.4, 0.9]), atol=1e-4, rtol=0)
    torch.testing.assert_close(paint(grey, (1e4, 0, 1.1e4, 96), fallback=fallback), torch.full((3, SIZE, SIZE), 0.9))


def test_what_lies_behind_something_is_hidden():
    """A ridge 0.06 m high in front of a plane, seen from 40°: it covers what is beside it, on one side."""
    depth = FLAT.clone()
    depth[:, 15:17] = 0.94
    _, visible = texel_places(depth, view(40.0), fov=FOV, size=SIZE)
    near = [float(visible[SIZE // 2, column]) for column in (24, 39)]  # 4 pixels from the ridge, either side
    assert sorted(near) == [0.0, 1.0]


@given(st.integers(0, 2**30), st.floats(0.01, 0.2), st.booleans())
def test_a_feather_never_raises(seed, edge, at_border):
    weight = (torch.rand(24, 24, generator=torch.Generator().manual_seed(seed)) > 0.1).float()
    soft = feather(weight, edge, at_border=at_border)
    assert soft.shape == weight.shape
    assert (soft <= weight + 1e-6).all()
    assert soft.min() >= 0
    whole = feather(torch.ones(24, 24), edge, at_border=at_border)
    assert (whole == 1).all() == (not at_border)
    assert whole[12, 12] == pytest.approx(1)
