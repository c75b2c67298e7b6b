"""The same networks, quicker at one image at a time on a CPU.

On one image most of a deep layer's time goes into rearranging its weights for the convolution kernel, and a layer with
three output channels leaves the kernel's lanes empty. Both are quicker as one matrix product with the weights as they
lie. The results differ from the networks' own by float32 rounding only.
"""

import copy
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Barrier

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from stages.core.layers import UpConv
from stages.core.model import Factors, Sym3D

__all__ = ["QuickSym3D"]

DEEP = 2**21  # weights from which on a 4×4 layer is better off as a matrix product
FEW = 4  # output channels up to which it is


class Im2Col(nn.Module):
    """A convolution as weights times patches."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.kernel, self.stride, self.padding = conv.kernel_size, conv.stride, conv.padding
        self.weight = nn.Parameter(conv.weight.flatten(1).contiguous(), requires_grad=False)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        side = (x.shape[-1] + 2 * self.padding[0] - self.kernel[0]) // self.stride[0] + 1
        patches = F.unfold(x, self.kernel, padding=self.padding, stride=self.stride)
        return (self.weight @ patches).unflatten(-1, (side, side))


class Col2Im(nn.Module):
    """A transposed convolution as weights times pixels, whose overlapping patches are added up."""

    def __init__(self, weight: Float[Tensor, "i o k k"], stride: int, padding: int):
        super().__init__()
        self.kernel, self.stride, self.padding = weight.shape[-1], stride, padding
        self.weight = nn.Parameter(weight.flatten(1).T.contiguous(), requires_grad=False)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        side = (x.shape[-1] - 1) * self.stride - 2 * self.padding + self.kernel
        patches = self.weight @ x.flatten(2)
        return F.fold(patches, (side, side), self.kernel, padding=self.padding, stride=self.stride)


class QuickSym3D:
    """Predicts and renders what a model does, faster for a few images on a CPU. Holds copies of the model's weights.

    The networks run side by side, because their small layers cannot keep two cores busy each. Used by one thread.
    """

    def __init__(self, model: Sym3D):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        for network in self.model.children():
            for name, part in network.named_children():
                setattr(network, name, nn.Sequential(*map(_quicker, part)))
        self.size, self.netC, self.parameters = model.size, self.model.netC, self.model.parameters
        self.render = self.model.render
        self.pool = _pool(torch.get_num_threads())

    def predict(self, image: Float[Tensor, "b 3 h w"]) -> Factors:
        """As :meth:`Sym3D.predict`, without gradients."""

        def run(name: str):
            with torch.inference_mode():  # a setting of each thread
                return self.model.answer(name, image)

        # Slowest first, so that the quick ones fill the gaps: netD, netA, netC, then the encoders.
        names = sorted(dict(self.model.named_children()), key=["netD", "netA", "netC", "netL", "netV"].index)
        jobs = {name: self.pool.submit(run, name) for name in names}
        return self.model.interpret({name: job.result() for name, job in jobs.items()})


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Two workers that share the threads which torch may use."""
    together = Barrier(2)

    def start() -> None:
        torch.set_num_threads(max(1, threads // 2))
        torch.set_flush_denormal(True)
        together.wait()

    pool = ThreadPoolExecutor(2, "sym3d-network", initializer=start)
    for job in [pool.submit(lambda: None) for _ in range(2)]:
        job.result()
    torch.set_num_threads(threads)  # in a worker it also set what other threads begin with
    return pool


def _quicker(layer: nn.Module) -> nn.Module:
    if isinstance(layer, UpConv):
        fixed = nn.ConvTranspose2d(*layer.weight.shape[1::-1], 4, 2, 1, bias=False)
        fixed.weight = nn.Parameter(layer.spread(), requires_grad=False)
        return fixed
    deep = isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() >= DEEP
    if isinstance(layer, nn.ConvTranspose2d) and deep:
        return Col2Im(layer.weight, layer.stride[0], layer.padding[0])
    if isinstance(layer, nn.Conv2d) and layer.kernel_size[0] == 4 and deep:
        return Im2Col(layer)
    if isinstance(layer, nn.Conv2d) and layer.out_channels <= FEW and layer.kernel_size[0] == 5:
        # A convolution of stride 1 is the transposed convolution with the turned kernel.
        return Col2Im(layer.weight.flip(2, 3).transpose(0, 1), 1, 4 - layer.padding[0])
    return layer
