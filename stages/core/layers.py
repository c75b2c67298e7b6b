"""Three layers of the networks in a form that takes fewer operations; weights and results are the plain layers'.

A 4×4 kernel on a 4×4 map slides nowhere, so the layers around the bottleneck are matrix products. Doubling a map and
then looking at 3×3 pixels reads every small pixel through up to four weights, which can be added up first.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FromPoint", "ToPoint", "UpConv"]


class ToPoint(nn.Module):
    """``nn.Conv2d(cin, cout, 4, bias=False)`` of 4×4 maps."""

    def __init__(self, cin: int, cout: int):
        super().__init__()
        self.weight = nn.Conv2d(cin, cout, 4, bias=False).weight

    def forward(self, maps: Float[Tensor, "b i 4 4"]) -> Float[Tensor, "b o 1 1"]:
        weight = self.weight
        if _is_channels_last(weight):
            maps, weight = maps.permute(0, 2, 3, 1), weight.permute(0, 2, 3, 1)
        return F.linear(maps.flatten(1), weight.flatten(1))[..., None, None]


class FromPoint(nn.Module):
    """``nn.ConvTranspose2d(cin, cout, 4, bias=False)`` of 1×1 maps."""

    def __init__(self, cin: int, cout: int):
        super().__init__()
        self.weight = nn.ConvTranspose2d(cin, cout, 4, bias=False).weight

    def forward(self, maps: Float[Tensor, "b i 1 1"]) -> Float[Tensor, "b o 4 4"]:
        if _is_channels_last(self.weight):
            weight = self.weight.permute(0, 2, 3, 1)
            return (maps.flatten(1) @ weight.flatten(1)).unflatten(1, weight.shape[1:]).permute(0, 3, 1, 2)
        return (maps.flatten(1) @ self.weight.flatten(1)).unflatten(1, self.weight.shape[1:])


class UpConv(nn.Module):
    """Nearest-neighbour doubling, then ``nn.Conv2d(cin, cout, 3, padding=1, bias=False)``, in 4/9 of the products.

    Together they are a transposed convolution of stride 2, whose 4×4 kernel is the 3×3 one, turned, spread over 2×2
    pixels.
    """

    def __init__(self, cin: int, cout: int):
        super().__init__()
        self.weight = nn.Conv2d(cin, cout, 3, bias=False).weight

    def forward(self, maps: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        return F.conv_transpose2d(maps, self.spread(), stride=2, padding=1)

    def spread(self) -> Float[Tensor, "i o 4 4"]:
        """The transposed convolution's kernel."""
        turned = self.weight.flip(2, 3).transpose(0, 1)
        tall = F.pad(turned, (0, 0, 0, 1)) + F.pad(turned, (0, 0, 1, 0))
        return F.pad(tall, (0, 1)) + F.pad(tall, (1, 0))


def _is_channels_last(weight: Tensor) -> bool:
    """How it lies in memory decides how it is multiplied: rearranging megabytes takes longer than the product."""
    return weight.is_contiguous(memory_format=torch.channels_last)
