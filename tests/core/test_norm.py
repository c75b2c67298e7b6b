"""The norm's kernel against PyTorch's own layers."""

import numba
import numpy as np
import pytest
import torch
from torch import nn

from stages.core.networks import Autoencoder, ConfidenceNet
from stages.core.norm import NormReLU, _load, _pack

SHAPES = [(2, 8, 16, 16), (3, 12, 5, 7), (1, 64, 8, 8), (5, 256, 4, 4), (2, 4, 3, 1), (18, 64, 32, 32)]


def make(shape: tuple, slope: float, dtype: torch.dtype = torch.float32, mean: float = 0.5):
    """A layer with weights of its own, packed maps, and a gradient to send back."""
    torch.manual_seed(3)
    layer = NormReLU(shape[1], slope)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    maps, grad = torch.randn(shape) * 2 + mean, torch.randn(shape)
    packed = (part.to(dtype).contiguous(memory_format=torch.channels_last) for part in (maps, grad))
    return layer, *packed


def results(call, layer: nn.Module, maps: torch.Tensor, grad: torch.Tensor) -> list[torch.Tensor]:
    """What the call says, and the gradients for maps, weight and bias."""
    maps = maps.clone().requires_grad_()
    said = call(maps)
    return [said.detach(), *torch.autograd.grad(said, [maps, *layer.parameters()], grad)]


def exact(layer: NormReLU, maps: torch.Tensor, grad: torch.Tensor) -> list[torch.Tensor]:
    """In float64 by torch, the gradient 0 where rounding may decide whether the rectifier lets it through."""
    twin = NormReLU(len(layer.weight), layer.slope).double()
    twin.load_state_dict(layer.state_dict())
    near_zero = NormReLU.reference(twin, maps.double()).abs() < 1e-5
    grad.masked_fill_(near_zero, 0)
    return results(twin.reference, twin, maps.double(), grad.double())


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernel_and_twin_agree(shape, slope):
    layer, maps, grad = make(shape, slope)
    wanted = exact(layer, maps, grad)
    for ours, theirs in zip(results(layer, layer, maps, grad), wanted, strict=True):
        assert (ours - theirs).norm() <= 2e-6 * theirs.norm()


@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
def test_bfloat16_is_rounded_once(shape):
    layer, maps, grad = make(shape, 0.2, torch.bfloat16)
    said, to_maps, to_weight, to_bias = exact(layer, maps, grad)
    found = results(layer, layer, maps, grad)
    for ours, theirs in zip(found[:2], (said, to_maps), strict=True):
        assert ours.dtype == torch.bfloat16
        assert ((ours.double() - theirs).abs() <= 2**-8 * theirs.abs() + 1e-5).all()  # half of the last bit
    for ours, theirs in zip(found[2:], (to_weight, to_bias), strict=True):
        assert (ours - theirs).norm() <= 2e-6 * theirs.norm()


def test_a_large_mean_costs_no_precision():
    layer, maps, grad = make((2, 8, 16, 16), 0.2, mean=300.0)
    for ours, theirs in zip(results(layer, layer, maps, grad), exact(layer, maps, grad), strict=True):
        assert (ours - theirs).norm() <= 1e-4 * theirs.norm()  # float32 knows such values to 3e-5


def test_the_twins_gradient_is_right():
    layer, maps, _ = make((2, 8, 3, 3), 0.2)
    weights = {name: part.double() for name, part in layer.named_parameters()}

    def call(maps, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, maps)

    assert torch.autograd.gradcheck(call, (maps.double().requires_grad_(), *weights.values()))


def test_plain_maps_and_inference_take_the_twin():
    layer, maps, _ = make((2, 8, 16, 16), 0.0)
    with torch.no_grad():
        assert torch.equal(layer(maps), layer.reference(maps))
    assert torch.equal(layer(maps.contiguous()), layer.reference(maps.contiguous()))


def test_a_gradient_that_is_not_packed_gives_the_same():
    layer, maps, grad = make((2, 8, 16, 16), 0.2)
    pairs = zip(results(layer, layer, maps, grad), results(layer, layer, maps, grad.contiguous()), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_as_many_threads_as_one_likes(monkeypatch):
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(results((layer := make(SHAPES[-1], 0.2))[0], *layer))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*found, strict=True))


def test_what_is_not_finite_stays_so_in_its_image():
    layer, maps, _ = make((2, 8, 16, 16), 0.0)
    whole = layer(maps)
    maps[1, 0, 0, 0] = torch.nan
    spoilt = layer(maps)
    assert torch.equal(spoilt[0], whole[0])
    assert spoilt[1, :4].isnan().all()
    assert torch.equal(spoilt[1, 4:], whole[1, 4:])


def test_an_empty_batch_is_an_empty_batch():
    layer, maps, grad = make((0, 8, 16, 16), 0.2)
    said, to_maps, to_weight, to_bias = results(layer, layer, maps, grad)
    assert said.shape == to_maps.shape == maps.shape
    assert not to_weight.any()
    assert not to_bias.any()


def test_every_bfloat16_and_the_nearest_of_any_float32():
    @numba.njit
    def load(bits, numbers):
        for i in range(len(bits)):
            numbers[i] = _load(bits[i])

    @numba.njit
    def pack(numbers, bits):
        for i in range(len(bits)):
            bits[i] = _pack(numbers[i], bits[i])

    every = np.arange(2**16, dtype=np.uint16)
    numbers = np.empty(len(every), np.float32)
    load(every, numbers)
    wanted = torch.from_numpy(every).view(torch.bfloat16)
    assert torch.equal(torch.from_numpy(numbers), wanted.float()) or np.array_equal(
        numbers, wanted.float().numpy(), equal_nan=True
    )
    generator = np.random.default_rng(0)
    numbers = generator.integers(0, 2**32, 1 << 18, np.uint64).astype(np.uint32).view(np.float32)
    ties = (every.astype(np.uint32) << 16 | 0x8000).view(np.float32)
    numbers = np.concatenate([numbers, ties])
    bits = np.empty(len(numbers), np.uint16)
    pack(numbers, bits)
    ours = torch.from_numpy(bits).view(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(ours, torch.from_numpy(numbers).bfloat16().float().numpy())


def test_networks_keep_the_names_of_their_weights():
    """As nn.GroupNorm had them, so that checkpoints of the reference and of older versions load."""
    names = Autoencoder(1, tanh=False).state_dict().keys()
    assert {"network.1.weight", "network.1.bias", "network.4.weight"} <= set(names)
    assert "out_net1.1.weight" in ConfidenceNet().state_dict()
