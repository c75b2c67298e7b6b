"""A widened model answers as the narrow one did, and its copies learn different things."""

import pytest
import torch

from stages.core.model import Sym3D
from stages.core.objective import objective
from stages.core.widen import widened


def trained(width, **options):
    """As after some training: norms that are not the identity."""
    torch.manual_seed(0)
    model = Sym3D(64, width, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize(("width", "wider"), [(0.125, 0.25), (0.125, 0.5), (0.25, 0.25)])
def test_the_wider_model_says_the_same(width, wider):
    narrow, wide = trained(width), Sym3D(64, wider)
    wide.load_state_dict(widened(narrow.state_dict(), wide))
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        ours, theirs = wide.predict(image), narrow.predict(image)
    for name in ("depth", "albedo", "view", "ambient", "light_direction", "confidence", "perceptual_confidence"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("width", "wider"), [(0.125, 0.25), (0.125, 0.375), (0.25, 0.25)])
def test_a_tint_is_widened_too_and_starts_without_effect(width, wider):
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    plain, narrow, wide = trained(width), trained(width, tint=True), Sym3D(64, wider, tint=True)
    wide.load_state_dict(widened(narrow.state_dict(), wide))
    with torch.no_grad():
        torch.testing.assert_close(wide.predict(image).albedo, narrow.predict(image).albedo, rtol=1e-4, atol=1e-5)
        fresh = Sym3D(64, wider, tint=True)
        fresh.load_state_dict(widened(plain.state_dict(), fresh))
        torch.testing.assert_close(fresh.predict(image).albedo, plain.predict(image).albedo, rtol=1e-4, atol=1e-5)


def test_copies_of_a_channel_part_ways():
    narrow, wide = trained(0.0625, confidence=False), Sym3D(64, 0.125, confidence=False)
    wide.load_state_dict(widened(narrow.state_dict(), wide))
    first = wide.netD.network[0].weight  # copies, group by group
    assert torch.equal(first[:4], first[4:])
    objective(wide, torch.rand(2, 3, 64, 64) * 2 - 1)[0]["total"].backward()
    assert not torch.allclose(first.grad[:4], first.grad[4:], rtol=0.01)


def test_what_is_no_copy_is_refused():
    narrow = trained(0.125, confidence=False)
    with pytest.raises(ValueError, match="cannot copy"):
        widened(narrow.state_dict(), Sym3D(64, 0.1875, confidence=False))
    with pytest.raises(ValueError, match="other layers"):
        widened(narrow.state_dict(), Sym3D(64, 0.25))
    with pytest.raises(ValueError, match="other layers"):
        widened(trained(0.125, tint=True).state_dict(), trained(0.25))
