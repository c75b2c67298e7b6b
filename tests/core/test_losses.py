"""The losses in closed form, and their gradients."""

import math

import torch

from stages.core.losses import perceptual, photometric, viewpoints


def images(seed):
    return torch.rand(2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


EVERYWHERE = torch.ones(2, 4, 4, dtype=torch.bool)


def test_photometric_without_confidence_is_the_masked_mean_difference():
    a, b = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    b[:, :, 0] = 100
    mask = EVERYWHERE.clone()
    mask[:, 0] = False
    torch.testing.assert_close(photometric(a, b, mask), torch.tensor(1.0))


def test_photometric_is_least_where_sigma_is_sqrt2_times_the_error():
    a, b = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.3)
    at = {s: photometric(a, b, EVERYWHERE[:1], torch.full((1, 4, 4), s)).item() for s in (0.3, 0.3 * 2**0.5, 0.6)}
    assert min(at, key=at.get) == 0.3 * 2**0.5
    assert math.isclose(at[0.3 * 2**0.5], 1 + math.log(0.3 * 2**0.5), rel_tol=1e-5)


def test_perceptual_by_hand():
    a, b = torch.zeros(1, 5, 2, 2), torch.full((1, 5, 2, 2), 2.0)
    mask = torch.ones(1, 4, 4, dtype=torch.bool)
    sigma = torch.full((1, 2, 2), 0.5)
    torch.testing.assert_close(perceptual(a, b, mask), torch.tensor(4.0))
    torch.testing.assert_close(perceptual(a, b, mask, sigma), torch.tensor(4 / 0.5 + math.log(0.5)))
    b[:, :, 0] = 7
    mask[:, :2] = False
    torch.testing.assert_close(perceptual(a, b, mask), torch.tensor(4.0))


def test_an_empty_mask_costs_nothing():
    nothing = torch.zeros(2, 4, 4, dtype=torch.bool)
    assert photometric(images(0), images(1), nothing).item() == 0
    assert perceptual(images(0)[..., ::2, ::2], images(1)[..., ::2, ::2], nothing).item() == 0


def test_gradients():
    sigma = (0.2 + torch.rand(2, 4, 4, dtype=torch.float64)).requires_grad_()
    moving = images(0).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, s: photometric(x, images(1), EVERYWHERE, s), (moving, sigma))
    small = sigma.detach()[:, ::2, ::2].clone().requires_grad_()
    features = images(2)[..., ::2, ::2].clone().requires_grad_()
    target = images(3)[..., ::2, ::2]
    assert torch.autograd.gradcheck(lambda x, s: perceptual(x, target, EVERYWHERE, s), (features, small))


def test_viewpoints_cost_nothing_when_they_are_upright_and_yaws_spread_as_said():
    reach = torch.tensor([1.0, 1.0, 1.0, 0.1, 0.1, 0.0])
    view = torch.zeros(4, 6)
    view[:, 0] = torch.tensor([0.3, 0.3, -0.1, 0.2])  # pitch is free
    normal = torch.distributions.Normal(0.0, 0.4)
    view[:, 1] = normal.icdf(torch.tensor([0.8125, 0.4375, 0.0625, 0.6875]))  # |yaw| at 5/8, 1/8, 7/8 and 3/8
    assert viewpoints(view, reach, 0.4, 3.0) < 1e-9
    assert viewpoints(view, reach, 0.5, 3.0) > 1e-3
    at = {size: viewpoints(size * view.sign(), reach, 0.4, 3.0).item() for size in (0.2, 0.32, 0.4)}
    assert min(at.values()) > 0.05, "yaws of one size are not spread"
    view[:, 2], view[:, 3] = 0.2, 0.05
    torch.testing.assert_close(viewpoints(view, reach), torch.tensor(0.3 * (0.2**2 + 0.5**2)))
    torch.testing.assert_close(viewpoints(view, reach, 0.4, 3.0), viewpoints(view, reach))


def test_seen_from_above_a_turn_about_the_own_vertical_is_upright():
    """R_x(down) R_y(yaw) R_x(-canonical), written as the method's R_z R_y R_x: yaw 40°, both from 20° above."""
    down, yaw = math.radians(20), math.radians(40)
    pitch = math.atan2(
        math.sin(down) * math.cos(down) * (1 - math.cos(yaw)), 1 - (1 - math.cos(yaw)) * math.cos(down) ** 2
    )
    turn = [pitch, math.asin(math.sin(yaw) * math.cos(down)), math.atan2(math.sin(down) * math.sin(yaw), math.cos(yaw))]
    view = torch.tensor([[*turn, 0, 0, 0]])
    assert view[0, 2] > math.radians(15)
    assert viewpoints(view, torch.ones(6), elevation=down) < 1e-9
    assert viewpoints(view, torch.ones(6)) > 0.02
    rolled = torch.tensor([[0, 0, 0.2, 0, 0, 0]])
    torch.testing.assert_close(viewpoints(rolled, torch.ones(6), elevation=0.0), torch.tensor(0.3 * 0.2**2))


def test_equal_yaws_still_have_a_gradient_that_is_finite():
    view = torch.zeros(3, 6, requires_grad=True)
    viewpoints(view, torch.ones(6), 0.4, 3.0).backward()
    assert view.grad.isfinite().all()
