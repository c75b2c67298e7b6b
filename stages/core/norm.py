"""Group normalisation and the rectifier after it in one: on a CPU a kernel that walks each map twice.

One by one the two walk it four times, and backwards five: a sixth of a full-size training step in bfloat16.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from torch import Tensor, nn
from torch.nn import functional as F

from stages.core.kernels import compiled
from stages.core.threads import over_images

__all__ = ["GROUP", "NormReLU"]

GROUP = 4  # channels that share a mean and a deviation
LANES = 64  # numbers that are worked on side by side: a multiple of what any processor takes at once
EPSILON = 1e-5
LARGE = 2**20  # values from which on more threads than one pay
BLOCK = 64  # rows that are added up in float32 before their sum goes to float64


class NormReLU(nn.Module):
    """``nn.GroupNorm(channels // 4, channels)``, then ``nn.LeakyReLU(slope)``; the weights are the norm's."""

    def __init__(self, channels: int, slope: float = 0.0):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.slope = slope

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        packed = maps.is_contiguous(memory_format=torch.channels_last)
        known = maps.device.type == "cpu" and maps.dtype in (torch.float32, torch.bfloat16)
        if packed and known and torch.is_grad_enabled():  # it is going back that it is quicker at
            return _NormReLU.apply(maps, self.weight, self.bias, self.slope)
        return self.reference(maps)

    def reference(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The same in PyTorch's own layers."""
        normal = F.group_norm(maps, len(self.weight) // GROUP, self.weight, self.bias, EPSILON)
        return F.leaky_relu(normal, self.slope, inplace=True) if self.slope else F.relu(normal, inplace=True)


class _NormReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, maps: Tensor, weight: Tensor, bias: Tensor, slope: float) -> Tensor:
        result = torch.empty_like(maps)
        moments = maps.new_empty((2, len(maps), len(weight) // GROUP), dtype=torch.float32)
        arrays = (part.detach().numpy() for part in (weight, bias, moments))
        _spread(_forward, maps, _rows(maps), *arrays, slope, _rows(result))
        ctx.save_for_backward(maps, weight, bias, moments)
        ctx.slope = slope
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        maps, weight, bias, moments = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_maps, sums = torch.empty_like(maps), moments.new_empty((2, len(maps), len(weight)))
        arrays = (part.detach().numpy() for part in (weight, bias, moments))
        _spread(_backward, maps, _rows(maps), *arrays, ctx.slope, _rows(grad), _rows(grad_maps), sums.numpy())
        grad_weight, grad_bias = sums.sum(1)
        return grad_maps, grad_weight, grad_bias, None


def _spread(kernel: Callable, maps: Tensor, *arguments) -> None:
    """``kernel(start, stop, …)`` over all images."""
    if maps.numel() < LARGE:
        kernel(0, len(maps), *arguments)
    else:
        over_images(kernel, len(maps), *arguments)


def _rows(maps: Tensor) -> np.ndarray:
    """Packed maps (b, c, h, w) → (b, rows, lanes) that share their memory: a row is some pixels with all channels.

    bfloat16, which numpy does not have, comes as the integers of its bits.
    """
    count, channels, height, width = maps.shape
    values = height * width * channels
    lanes = LANES if LANES % channels == 0 and values % LANES == 0 else channels
    flat = maps.detach().as_strided((count, values // lanes, lanes), (values, lanes, 1))
    return flat.view(torch.uint16).numpy() if maps.dtype == torch.bfloat16 else flat.numpy()


@intrinsic
def _load(typing, value):
    """float32 as it is, or the float32 that 16 bits of bfloat16 stand for."""

    def widen(context, builder, signature, arguments):
        bits = builder.shl(builder.zext(arguments[0], ir.IntType(32)), ir.Constant(ir.IntType(32), 16))
        return builder.bitcast(bits, ir.FloatType())

    if value == types.float32:
        return types.float32(value), lambda context, builder, signature, arguments: arguments[0]
    return types.float32(value), widen


@intrinsic
def _pack(typing, value, like):
    """A float32 as the type of ``like``: itself, or the bits of the nearest bfloat16, ties to even; NaN stays NaN."""

    def narrow(context, builder, signature, arguments):
        integer = ir.IntType(32)
        bits = builder.bitcast(arguments[0], integer)
        odd = builder.and_(builder.lshr(bits, integer(16)), integer(1))
        rounded = builder.lshr(builder.add(bits, builder.add(odd, integer(0x7FFF))), integer(16))
        number = builder.fcmp_ordered("ord", arguments[0], arguments[0])
        return builder.trunc(builder.select(number, rounded, integer(0x7FC0)), ir.IntType(16))

    if like == types.float32:
        return types.float32(value, like), lambda context, builder, signature, arguments: arguments[0]
    return types.uint16(value, like), narrow


@compiled(fastmath={"contract"})
def _affine(n, weight, bias, moments, scale, shift, mean):
    """What normalising and the affine map after it come to for each lane: scale · x + shift."""
    channels = len(weight)
    for c in range(channels):
        mean[c] = moments[0, n, c // GROUP]
        scale[c] = moments[1, n, c // GROUP] * weight[c]
        shift[c] = bias[c] - mean[c] * scale[c]
    for lane in range(channels, len(scale)):
        mean[lane], scale[lane], shift[lane] = mean[lane - channels], scale[lane - channels], shift[lane - channels]


@compiled(fastmath={"contract"})
def _forward(start, stop, maps, weight, bias, moments, slope, result):
    """Moments of each group and y = max(z, slope · z), z the normalised maps, for images start … stop-1."""
    rows, lanes, channels = maps.shape[1], maps.shape[2], len(weight)
    slope = np.float32(slope)
    scale, shift, mean = np.empty(lanes, np.float32), np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    total, square = np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    count = rows * lanes // channels * GROUP
    for n in range(start, stop):
        sums, squares = np.zeros(channels // GROUP), np.zeros(channels // GROUP)
        # Squares of departures from some value of the group: those of the values themselves would cancel.
        for lane in range(lanes):
            mean[lane] = _load(maps[n, 0, lane % channels // GROUP * GROUP])
        for first in range(0, rows, BLOCK):
            total[:], square[:] = 0, 0
            for row in range(first, min(first + BLOCK, rows)):
                for lane in range(lanes):
                    value = _load(maps[n, row, lane]) - mean[lane]
                    total[lane] += value
                    square[lane] += value * value
            for lane in range(lanes):
                sums[lane % channels // GROUP] += total[lane]
                squares[lane % channels // GROUP] += square[lane]
        for group in range(channels // GROUP):
            away = sums[group] / count
            moments[0, n, group] = mean[group * GROUP] + away
            moments[1, n, group] = 1 / np.sqrt(max(squares[group] / count - away * away, 0.0) + EPSILON)
        _affine(n, weight, bias, moments, scale, shift, mean)
        for row in range(rows):
            for lane in range(lanes):
                value = _load(maps[n, row, lane]) * scale[lane] + shift[lane]
                result[n, row, lane] = _pack(value if value > 0 else value * slope, result[n, row, lane])


@compiled(fastmath={"contract"})
def _backward(start, stop, maps, weight, bias, moments, slope, grad, grad_maps, sums):
    """With g the gradient before the rectifier, x̂ the normalised maps, r = 1/deviation and means over a group:
    r (γ g - mean(γ g) - x̂ mean(γ g x̂)); and each image's Σ g x̂ and Σ g of a channel."""
    rows, lanes, channels = maps.shape[1], maps.shape[2], len(weight)
    slope = np.float32(slope)
    scale, shift, mean = np.empty(lanes, np.float32), np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    total, product = np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    along, constant = np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    count = rows * lanes // channels * GROUP
    for n in range(start, stop):
        _affine(n, weight, bias, moments, scale, shift, mean)
        totals, products = np.zeros(channels), np.zeros(channels)
        for first in range(0, rows, BLOCK):
            total[:], product[:] = 0, 0
            for row in range(first, min(first + BLOCK, rows)):
                for lane in range(lanes):
                    value, g = _load(maps[n, row, lane]), _load(grad[n, row, lane])
                    g = g if value * scale[lane] + shift[lane] > 0 else g * slope
                    total[lane] += g
                    product[lane] += g * (value - mean[lane])
            for lane in range(lanes):
                totals[lane % channels] += total[lane]
                products[lane % channels] += product[lane]
        for c in range(channels):
            products[c] *= moments[1, n, c // GROUP]
            sums[0, n, c], sums[1, n, c] = products[c], totals[c]
        for group in range(channels // GROUP):
            rate = moments[1, n, group]
            even, tilt = 0.0, 0.0
            for c in range(group * GROUP, (group + 1) * GROUP):
                even += weight[c] * totals[c]
                tilt += weight[c] * products[c]
            first = group * GROUP
            along[first : first + GROUP] = -rate * rate * tilt / count
            constant[first : first + GROUP] = -rate * even / count
        for lane in range(channels, lanes):
            along[lane], constant[lane] = along[lane - channels], constant[lane - channels]
        for row in range(rows):
            for lane in range(lanes):
                value, g = _load(maps[n, row, lane]), _load(grad[n, row, lane])
                g = g if value * scale[lane] + shift[lane] > 0 else g * slope
                found = g * scale[lane] + (value - mean[lane]) * along[lane] + constant[lane]
                grad_maps[n, row, lane] = _pack(found, grad_maps[n, row, lane])
