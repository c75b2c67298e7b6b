"""The networks' sizes and the model's forward pass and objective."""

import warnings
from dataclasses import replace

import pytest
import torch

from stages.core.health import collapsed, convexity, symptoms
from stages.core.inference import QuickSym3D
from stages.core.model import Sym3D
from stages.core.networks import Autoencoder, ConfidenceNet, Encoder
from stages.core.objective import objective
from stages.core.perceptual import VGG16Features

NARROW = 1 / 16


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_parameter_counts_are_the_papers():
    counts = {name: round(count(getattr(Sym3D(), name)) / 1e6, 2) for name in ("netD", "netA", "netL", "netV", "netC")}
    assert counts == {"netD": 12.98, "netA": 12.98, "netL": 1.74, "netV": 1.74, "netC": 7.68}


@pytest.mark.parametrize("size", [64, 128, 256])
@pytest.mark.parametrize("width", [NARROW, 0.3])
def test_networks_keep_the_image_size(size, width):
    image = torch.rand(1, 3, size, size)
    assert Autoencoder(1, size, width, tanh=False)(image).shape == (1, 1, size, size)
    assert Encoder(6, size, width)(image).shape == (1, 6)
    sigma, perceptual_sigma = ConfidenceNet(size, width)(image)
    assert sigma.shape == (1, 2, size, size)
    assert perceptual_sigma.shape == (1, 2, size // 4, size // 4)


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="96"):
        Encoder(6, 96)


@pytest.mark.parametrize("size", [64, 128])
def test_factors_keep_their_ranges(size):
    model = Sym3D(size, NARROW, max_translation_z=0.1, ambient=(0.1, 0.6), diffuse=(0.5, 1.0))
    factors = model.predict(torch.rand(3, 3, size, size) * 2 - 1)
    assert 0.9 <= factors.free_depth.min() <= factors.free_depth.max() <= 1.1
    assert (factors.depth[:, :, [0, 1, -2, -1]] == torch.tensor(1.04)).all()
    assert (factors.depth[:, :, 2:-2] == factors.free_depth[:, :, 2:-2]).all()
    assert ((factors.ambient >= 0.1) & (factors.ambient <= 0.6)).all()
    assert ((factors.diffuse >= 0.5) & (factors.diffuse <= 1.0)).all()
    torch.testing.assert_close(factors.light_direction.norm(dim=1), torch.ones(3))
    assert (factors.view.abs() <= model.view_reach).all()


def test_flipping_twice_changes_nothing_and_stacking_keeps_both():
    factors = Sym3D(64, NARROW).predict(torch.rand(2, 3, 64, 64))
    twice = factors.flipped().flipped()
    assert (twice.albedo == factors.albedo).all()
    both = factors.stack(factors.flipped())
    assert (both.depth[2:] == factors.depth.flip(-1)).all()
    assert (both.view[:2] == both.view[2:]).all()


def test_objective_adds_its_parts_and_reaches_every_network():
    model = Sym3D(64, NARROW)
    features = VGG16Features()
    parts, *_ = objective(
        model, torch.rand(2, 3, 64, 64) * 2 - 1, flip=0.5, perceptual=2.0, smooth=0.1, features=features
    )
    expected = parts["photo"] + 0.5 * parts["photo_flip"] + 0.1 * parts["smoothness"]
    expected = expected + 2 * (parts["perceptual"] + 0.5 * parts["perceptual_flip"])
    torch.testing.assert_close(parts["total"], expected)
    parts["total"].backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not dead
    for network in (model.netD, model.netA, model.netL, model.netV, model.netC):
        assert any(p.grad.abs().max() > 0 for p in network.parameters())
    assert all(p.grad is None for p in features.parameters())


def test_without_confidence_maps():
    model = Sym3D(64, NARROW, confidence=False)
    parts, factors, _ = objective(model, torch.rand(1, 3, 64, 64))
    assert factors.confidence is None
    assert parts["photo"] > 0


def test_a_symmetric_model_needs_one_branch():
    torch.manual_seed(0)
    model = Sym3D(64, NARROW, confidence=False, symmetric=True)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    parts, factors, seen = objective(model, images, smooth=0.1)
    for maps in (factors.depth, factors.free_depth, factors.albedo):
        torch.testing.assert_close(maps, maps.flip(-1))
    assert len(seen.image) == 2
    assert set(parts) == {"total", "photo", "smoothness"}
    torch.testing.assert_close(parts["total"], parts["photo"] + 0.1 * parts["smoothness"])


@pytest.mark.parametrize("quick", [False, True])
def test_a_symmetric_model_sees_a_mirrored_image_from_the_mirrored_viewpoint(quick):
    torch.manual_seed(0)
    model = Sym3D(64, NARROW, confidence=False, symmetric=True, max_translation_z=0.1, he_init=True).eval()
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    predict = (QuickSym3D(model) if quick else model).predict
    with torch.no_grad():
        view, mirrored = predict(images).view, predict(images.flip(-1)).view
    torch.testing.assert_close(mirrored, view * torch.tensor([1.0, -1.0, -1.0, -1.0, 1.0, 1.0]))
    assert (view != 0).all()


def test_a_mirrored_viewpoint_shows_the_mirror_image_of_what_is_symmetric():
    torch.manual_seed(0)
    model = Sym3D(64, NARROW, confidence=False, symmetric=True, convex_prior=2.0).eval()
    with torch.no_grad():
        factors = model.predict(torch.rand(1, 3, 64, 64) * 2 - 1)
        factors = replace(factors, depth=model.metric_depth(torch.zeros(1, 64, 64)))
        light = (factors.ambient, factors.diffuse, torch.tensor([[0.0, 0.0, 1.0]]))
        view = torch.tensor([[0.1, 0.4, -0.2, 0.02, 0.01, 0.0]])
        seen = model.render(factors, view=view, light=light)
        mirrored = model.render(factors, view=view * view.new_tensor([1, -1, -1, -1, 1, 1]), light=light)
    both = seen.valid & mirrored.valid.flip(-1)
    assert both.sum() > 0.98 * seen.valid.sum()
    off = (seen.depth - mirrored.depth.flip(-1)).abs()[both]
    assert off.max() < 1e-3  # not 0: cells are cut in two along one diagonal, which a mirror turns


def test_roughness_is_of_the_departure_from_the_prior():
    torch.manual_seed(0)
    model = Sym3D(64, NARROW, confidence=False, convex_prior=2.0)
    torch.nn.init.zeros_(model.netD.network[-1].weight)
    parts, *_ = objective(model, torch.rand(1, 3, 64, 64), smooth=0.1, steep=0.1)
    assert parts["smoothness"] == parts["steepness"] == 0


def test_steepness_has_a_weight_of_its_own():
    torch.manual_seed(0)
    model = Sym3D(64, NARROW, confidence=False)
    with torch.no_grad():
        model.netD.network[-1].weight.mul_(30)  # rough, as no new network is
    parts, *_ = objective(model, torch.rand(1, 3, 64, 64), flip=0.0, steep=0.3)
    assert parts["steepness"] > 0
    assert "smoothness" not in parts
    torch.testing.assert_close(parts["total"], parts["photo"] + 0.3 * parts["steepness"])


def test_relighting_and_turning_replace_the_factors_own():
    model = Sym3D(64, NARROW).eval()
    with torch.no_grad():
        factors = model.predict(torch.rand(1, 3, 64, 64))
        dark = model.render(factors, light=(torch.zeros(1), torch.zeros(1), torch.tensor([[0.0, 0.0, 1.0]])))
        turned = model.render(factors, view=torch.tensor([[0.0, 0.5, 0.0, 0.0, 0.0, 0.0]]))
    assert (dark.canonical_image == -1).all()
    assert not turned.valid.all()
    torch.testing.assert_close(turned.depth[~turned.valid].unique(), torch.tensor([1.2]))


def test_the_convex_prior_starts_with_a_dome():
    depth = Sym3D(64, NARROW, convex_prior=1.2).metric_depth(torch.zeros(1, 64, 64))
    assert depth[0, 32, 32] < depth[0, :2].mean() - 0.05
    assert convexity(depth).item() > 0.95
    assert convexity(2 - depth).item() < -0.95
    assert (Sym3D(64, NARROW).metric_depth(torch.zeros(1, 64, 64)) == 1.0).all()
    low = Sym3D(64, NARROW, convex_prior=1.2, dome_below=0.25).metric_depth(torch.zeros(1, 64, 64))
    assert low[0, :, 32].argmin() in (47, 48)  # 16 of 64 rows below the middle


def test_symptoms_name_what_is_wrong_and_are_silent_otherwise():
    model = Sym3D(64, NARROW, convex_prior=1.2)
    dome = model.metric_depth(torch.zeros(4, 64, 64))
    spread = torch.tensor([[-30.0], [-10.0], [5.0], [35.0]]).deg2rad() * torch.tensor([0.0, 1, 0, 0, 0, 0])
    good = replace(model.predict(torch.rand(4, 3, 64, 64)), free_depth=dome, view=spread)
    assert symptoms(good, 0.2) == []
    hollow = replace(good, free_depth=2.0 - good.free_depth)
    assert any("concave" in sign for sign in symptoms(hollow, 0.2))
    flat = replace(good, free_depth=torch.ones(4, 64, 64))
    assert any("flat" in sign for sign in symptoms(flat, 0.2))
    noisy = replace(good, free_depth=good.free_depth + 0.05 * torch.randn(4, 64, 64))
    assert any("noisy" in sign for sign in symptoms(noisy, 0.2))
    folded = replace(good, free_depth=good.free_depth.clone())
    folded.free_depth[:, :, 8:56:10] = 0.9
    assert any("blades" in sign for sign in symptoms(folded, 0.2))
    turned = replace(good, view=torch.tensor([0.0, 0.0, 0.8, 0.0, 0.0, 0.0]).expand(4, 6))
    assert any("turned by as much" in sign for sign in symptoms(turned, 0.2))
    sides = replace(good, view=turned.view * torch.tensor([[1.0], [-1.0], [-1.0], [1.0]]))
    assert any("to either side" in sign for sign in symptoms(sides, 0.2))
    still = replace(good, view=0.01 * spread)
    assert any("every viewpoint is the same" in sign for sign in symptoms(still, 0.2))
    with warnings.catch_warnings(action="error"):
        assert not collapsed(turned.view[:1, :3])  # one image has no spread
    for broken in (hollow, flat, noisy, folded, turned, sides, still):
        assert all("; " in sign and "try " in sign for sign in symptoms(broken, 0.2))


def test_he_initialisation_tells_images_apart_from_the_start():
    images = torch.rand(8, 3, 64, 64) * 2 - 1
    images[:4, :, :, :32] *= 0.1
    spread = {he: Encoder(6, he_init=he)(images).std(0).mean().item() for he in (False, True)}
    assert spread[True] > 10 * spread[False]
    assert Encoder(6, he_init=True)(images).abs().max() < 0.6


def test_without_light_the_albedo_is_the_picture():
    torch.manual_seed(0)
    model = Sym3D(64, NARROW, light=False).eval()
    assert model.netL is None
    factors = model.predict(torch.rand(2, 3, 64, 64) * 2 - 1)
    assert (factors.light_direction == torch.tensor([0.0, 0.0, 1.0])).all()
    torch.testing.assert_close(model.render(factors).canonical_image, factors.albedo)


@pytest.mark.parametrize("name", ["depth", "albedo"])
def test_symmetry_of_one_map_alone(name):
    torch.manual_seed(0)
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    factors = Sym3D(64, NARROW, symmetric=True, mirrored=(name,)).eval().predict(image)
    other = {"depth": "albedo", "albedo": "depth"}[name]
    torch.testing.assert_close(getattr(factors, name), getattr(factors, name).flip(-1))
    assert not torch.allclose(getattr(factors, other), getattr(factors, other).flip(-1), atol=1e-4)
    flipped = factors.flipped((name,))
    assert (getattr(flipped, other) == getattr(factors, other)).all()


def test_without_a_border_the_free_depth_is_the_depth():
    factors = Sym3D(64, NARROW, border=0).eval().predict(torch.rand(1, 3, 64, 64) * 2 - 1)
    assert (factors.depth == factors.free_depth).all()
