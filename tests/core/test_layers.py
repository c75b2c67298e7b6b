"""The layers that take fewer operations, against the plain ones."""

import pytest
import torch
from torch import nn

from stages.core.layers import FromPoint, ToPoint, UpConv

PLAIN = {
    ToPoint: lambda: nn.Conv2d(6, 5, 4, bias=False),
    FromPoint: lambda: nn.ConvTranspose2d(6, 5, 4, bias=False),
    UpConv: lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(6, 5, 3, padding=1, bias=False)),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("layer", "side"), [(ToPoint, 4), (FromPoint, 1), (UpConv, 4)])
def test_results_and_gradients_are_the_plain_layers(layer, side, layout):
    torch.manual_seed(0)
    ours = layer(6, 5).double().to(memory_format=layout)
    torch.manual_seed(0)
    plain = PLAIN[layer]().double()
    maps = torch.randn(3, 6, side, side, dtype=torch.float64)
    found = []
    for network in (ours, plain):
        moving = maps.clone().contiguous(memory_format=layout).requires_grad_()
        out = network(moving)
        weight = next(network.parameters())
        out.backward(torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape))
        found.append((weight.detach(), out.detach(), moving.grad, weight.grad))
    assert torch.equal(found[0][0], found[1][0]), "the same seed gives the same weights"
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-12, rtol=1e-12)
    assert found[0][3].stride() == found[0][0].stride(), "Adam wants gradients that lie as the weights do"


def test_weights_that_lie_channels_last_give_maps_that_do():
    layer = FromPoint(6, 5).to(memory_format=torch.channels_last)
    assert layer(torch.randn(2, 6, 1, 1)).is_contiguous(memory_format=torch.channels_last)
