"""The five networks: two encoders (viewpoint, light), two autoencoders (depth, albedo) and the confidence network.

Layer by layer as in the seed paper's supplementary tables and, index by index, as in the reference implementation, so
that its state dicts load unchanged (``network.<i>.weight``). Two things generalise it: ``width`` multiplies every
channel count (group norms keep 4 channels a group), and sizes above 64 add stride-2 stages at the deep end, so that the
bottleneck stays 1×1 and the extra cost stays in small maps.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stages.core.layers import FromPoint, ToPoint, UpConv
from stages.core.norm import GROUP, NormReLU

__all__ = ["Autoencoder", "ConfidenceNet", "Encoder"]


def _channels(count: int, width: float) -> int:
    """Scaled channel count, whole norm groups."""
    return max(GROUP, GROUP * round(count * width / GROUP))


def _extra_stages(size: int) -> int:
    """Stride-2 stages beyond the four that take 64 pixels to 4."""
    stages = math.log2(size / 64)
    if stages < 0 or stages != int(stages):
        raise ValueError(f"image size {size} is not 64 times a power of two")
    return int(stages)


def _norm(channels: int, slope: float = 0.0) -> list[nn.Module]:
    """A norm and the rectifier after it, which the first of these two does at once."""
    return [NormReLU(channels, slope), nn.Identity()]


def _conv(cin: int, cout: int, kernel: int, stride: int, padding: int) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, kernel, stride, padding, bias=False)


def _deconv(cin: int, cout: int, kernel: int, stride: int, padding: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(cin, cout, kernel, stride, padding, bias=False)


def _down(channels: list[int], bottleneck: int) -> list[nn.Module]:
    """The shared contracting half: image → 1×1. The last stride-2 stage has no norm (as in the reference)."""
    layers: list[nn.Module] = []
    for i, (cin, cout) in enumerate(zip([3, *channels[:-1]], channels, strict=True)):
        last = i == len(channels) - 1
        layers += [_conv(cin, cout, 4, 2, 1), *([nn.LeakyReLU(0.2, inplace=True)] if last else _norm(cout, 0.2))]
    return [*layers, ToPoint(channels[-1], bottleneck), nn.ReLU(inplace=True)]


class Encoder(nn.Module):
    """Image → ``outputs`` numbers in (-1, 1): viewpoint (6) and light (4).

    ``he_init`` keeps the signal's size through the layers (He et al. 2015), and the first outputs small. PyTorch's own
    initialisation, which is the reference's, loses a factor 0.4 a layer here, where nothing normalises: all images
    start with the same viewpoint to 1 %, and it takes thousands of steps to tell them apart.
    """

    def __init__(self, outputs: int, size: int = 64, width: float = 1.0, *, he_init: bool = False):
        super().__init__()
        channels = [_channels(c, width) for c in (32, 64, 128, 256, *[256] * _extra_stages(size))]
        layers: list[nn.Module] = []
        for cin, cout in zip([3, *channels[:-1]], channels, strict=True):
            layers += [_conv(cin, cout, 4, 2, 1), nn.ReLU(inplace=True)]
        layers += [ToPoint(channels[-1], channels[-1]), nn.ReLU(inplace=True)]
        layers += [_conv(channels[-1], outputs, 1, 1, 0), nn.Tanh()]
        self.network = nn.Sequential(*layers)
        if he_init:
            *hidden, last = (layer.weight for layer in layers if isinstance(layer, nn.Conv2d | ToPoint))
            for weight in hidden:
                nn.init.kaiming_normal_(weight, nonlinearity="relu")
            nn.init.normal_(last, std=0.1 / math.sqrt(last.shape[1]))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b outputs"]:
        return self.network(image).flatten(1)


class Autoencoder(nn.Module):
    """Image → map of ``outputs`` channels: depth (1, no activation) and albedo (3, tanh).

    With ``tint`` (not in the paper) each image also mixes the last channels in its own way, by a matrix that follows
    from the 1×1 code, at first 0. All that is deep in between carries what differs from image to image badly: hues
    that have nothing to do with brightness are not learned in ten thousand steps.
    """

    def __init__(self, outputs: int, size: int = 64, width: float = 1.0, *, tanh: bool, tint: bool = False):
        super().__init__()
        channels = [_channels(c, width) for c in (64, 128, 256, 512, *[512] * _extra_stages(size))]
        bottleneck = _channels(256, width)
        deep, first = channels[-1], channels[0]
        layers = _down(channels, bottleneck)
        self.code_at = len(layers)
        layers += [FromPoint(bottleneck, deep), nn.ReLU(inplace=True)]
        layers += [_conv(deep, deep, 3, 1, 1), nn.ReLU(inplace=True)]
        for cin, cout in zip(channels[:0:-1], channels[-2::-1], strict=True):
            layers += [_deconv(cin, cout, 4, 2, 1), *_norm(cout)]
            layers += [_conv(cout, cout, 3, 1, 1), *_norm(cout)]
        # The first of these two is the reference's upsampling, which the second does at once.
        layers += [nn.Identity(), UpConv(first, first), *_norm(first)]
        layers += [_conv(first, first, 5, 1, 2), *_norm(first)]
        self.maps_at = len(layers)
        layers += [_conv(first, outputs, 5, 1, 2), *([nn.Tanh()] if tanh else [])]
        self.network = nn.Sequential(*layers)
        self.tint = _conv(bottleneck, outputs * first, 1, 1, 0) if tint else None
        if tint:
            nn.init.zeros_(self.tint.weight)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b outputs h w"]:
        if self.tint is None:
            return self.network(image)
        code = self.network[: self.code_at](image)
        maps = self.network[self.code_at : self.maps_at](code)
        mix = self.tint(code).view(len(image), -1, maps.shape[1])
        mixed = self.network[self.maps_at](maps) + torch.einsum("bchw,boc->bohw", maps, mix)
        return self.network[self.maps_at + 1 :](mixed)


class ConfidenceNet(nn.Module):
    """Image → σ, σ' (plain and flipped reconstruction) of the photometric (H×W) and perceptual (H/4×W/4) loss."""

    def __init__(self, size: int = 64, width: float = 1.0):
        super().__init__()
        channels = [_channels(c, width) for c in (64, 128, 256, 512, *[512] * _extra_stages(size))]
        bottleneck = _channels(128, width)
        layers = _down(channels, bottleneck)
        layers += [FromPoint(bottleneck, channels[-1]), nn.ReLU(inplace=True)]
        for cin, cout in zip(channels[:1:-1], channels[-2:0:-1], strict=True):
            layers += [_deconv(cin, cout, 4, 2, 1), *_norm(cout)]
        self.network = nn.Sequential(*layers)
        quarter, first = channels[1], channels[0]
        self.out_net1 = nn.Sequential(
            *(_deconv(quarter, first, 4, 2, 1), *_norm(first)),
            *(_deconv(first, first, 4, 2, 1), *_norm(first)),
            *(_conv(first, 2, 5, 1, 2), nn.Softplus()),
        )
        self.out_net2 = nn.Sequential(_conv(quarter, 2, 3, 1, 1), nn.Softplus())

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 2 h w"], Float[Tensor, "b 2 h4 w4"]]:
        features = self.network(image)
        return self.out_net1(features), self.out_net2(features)
