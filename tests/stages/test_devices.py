"""On any machine: nothing in a training step, in inference or in drawing faces mixes a GPU's tensors with others, or
reads on the host what they hold, which would make it wait and cannot be recorded."""

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

import stages.steps
from stages.checkpoint import TrainingState
from stages.core.metrics import evaluation_mask, mad, relief, side
from stages.core.perceptual import VGG16Features
from stages.core.raster import cuda
from stages.core.reliability import reliability
from stages.data.draws import NOISE, Draws
from stages.data.faces import draw_scene
from stages.data.hard import FAILURES, HARD_NOISE, draw_hard_scene
from stages.data.surfaces import render
from stages.loading import build_model
from stages.predict import to_tensor
from stages.ranks import Ranks
from stages.recipe import parse_recipe
from stages.steps import Losses, TrainingImages, take_step
from tests.stages.test_train import RECIPE

pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real one: see tests/gpu")
GPU = torch.device("cuda:0")
READS = {"_local_scalar_dense", "_unique2", "equal", "is_nonzero", "masked_select", "nonzero"}


class OnGPU(Tensor):
    """A tensor of the CPU that says it is on a GPU, and refuses to meet others and to be read."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    device, is_cuda = GPU, True

    def __new__(cls, host: Tensor):
        size, strides, dtype = host.size(), host.stride(), host.dtype
        new = Tensor._make_wrapper_subclass(cls, size, strides=strides, dtype=dtype, device="cpu")
        new.host = host.detach()
        return new

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        arguments = (args, kwargs or {})
        others = [x for x in tree_leaves(arguments) if isinstance(x, Tensor) and x.ndim and not isinstance(x, cls)]
        if others and torch._C._current_graph_task_id() == -1:  # autograd makes zeros of its own where we say so
            raise RuntimeError(f"tensors on two devices in {func}")
        if func.overloadpacket.__name__ in READS:
            raise RuntimeError(f"the host reads in {func}")
        args, kwargs = tree_map(lambda x: x.host if isinstance(x, cls) else x, arguments)
        found = func(*args, **kwargs)
        if func._schema.is_mutable:
            return arguments[0][0] if func._schema.returns else None
        return tree_map(put, found)


class Placing(TorchFunctionMode):
    """Makes and moves tensors where ``device=GPU`` asks for it, or a tensor that is there."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        arguments = (args, kwargs or {})
        like = func in (Tensor.to, Tensor.new_tensor) and any(isinstance(x, OnGPU) for x in args)
        named = any(isinstance(x, torch.device) and x == GPU for x in tree_leaves(arguments))
        args, kwargs = tree_map(lambda x: torch.device("cpu") if isinstance(x, torch.device) else x, arguments)
        found = func(*args, **kwargs)
        return tree_map(put, found) if like or named else found


def put(thing):
    """A tensor or a module on the GPU, 4-dimensional weights with their channels last; anything else as it is."""
    if isinstance(thing, nn.Module):
        for part in thing.to(memory_format=torch.channels_last).modules():
            for held in (part._parameters, part._buffers):
                held.update({name: put(value) for name, value in held.items()})
        return thing
    if not isinstance(thing, Tensor) or isinstance(thing, OnGPU):
        return thing
    return nn.Parameter(OnGPU(thing), thing.requires_grad) if isinstance(thing, nn.Parameter) else OnGPU(thing)


@pytest.fixture(autouse=True)
def placing(monkeypatch):
    def launch(kernel, programs, *arguments, **constants):
        """The kernels have tests of their own: here, nothing covers anything."""
        for face in (x for x in arguments if isinstance(x, Tensor) and x.dtype == torch.int32):
            face.fill_(-1)

    monkeypatch.setattr(cuda, "_launch", launch)
    monkeypatch.setattr(cuda, "_backward", lambda points, *_: torch.zeros_like(points))  # no mode reaches what is there
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)
    with Placing():
        yield


def step(*settings: str) -> dict[str, Tensor]:
    recipe = parse_recipe(RECIPE.format(steps=8, save_every=8), settings, where="test")
    model, average, teacher = (put(build_model(recipe.model)) for _ in range(3))
    optimizer = torch.optim.Adam(model.parameters(), fused=True, capturable=True)
    state = TrainingState(model, average.requires_grad_(False), optimizer)
    maps = put(torch.ones(24, 64, 64)), put(torch.ones(24, 64, 64, dtype=torch.bool))
    image = put(torch.randint(256, (24, 64, 64, 3), dtype=torch.uint8))
    data = TrainingImages(image, *(maps if recipe.loss.supervised else ()))
    losses = Losses(model, put(VGG16Features(1 / 16)), teacher.requires_grad_(False))
    return take_step(state, losses, data, recipe, Ranks(), lambda: False)


HELPED = ("model.symmetric=true", "loss.yaw_spread=20.0", "loss.elevation=10.0", "loss.smoothness=0.1")
UNTURNED = ("model.max_rotation_degrees=0.0", "model.max_translation_xy=0.0", "model.border=0")


@pytest.mark.parametrize(
    "settings",
    [
        (),
        (*HELPED, "loss.steepness=0.1", "optim.clip=0.5"),
        ("optim.search_steps=4",),
        ("loss.supervised=true", *UNTURNED),
        ("optim.init=other", "optim.imitate_steps=4"),
        ("optim.init=other", "optim.learn=albedo", "model.tint=true"),
    ],
    ids=["paper", "helped", "searching", "supervised", "imitating", "painting"],
)
def test_a_training_step_stays_on_its_device(settings):
    assert {value.device for value in step(*settings).values()} == {GPU}


def test_a_step_that_mixes_devices_or_reads_would_show(monkeypatch):
    monkeypatch.setattr(stages.steps, "to_tensor", lambda images: to_tensor(images) * torch.ones(64))
    with pytest.raises(RuntimeError, match=r"tensors on two devices in aten\.mul"):
        step()
    monkeypatch.setattr(stages.steps, "to_tensor", lambda images: to_tensor(images) * images.sum().item())
    with pytest.raises(RuntimeError, match="the host reads"):
        step()


def test_inference_and_metrics_stay_on_their_device():
    model = put(build_model(parse_recipe(RECIPE.format(steps=8, save_every=8), where="test").model))
    with torch.no_grad():
        image = to_tensor(put(torch.randint(256, (2, 64, 64, 3), dtype=torch.uint8)))
        seen = model.render(model.predict(image))
        mask = evaluation_mask(seen.valid, seen.valid)
        found = [metric(seen.depth, seen.depth, mask) for metric in (side, mad, relief)]
    assert {values.device for values in (*found, reliability(image, seen.image, seen.valid))} == {GPU}


@pytest.mark.parametrize("failure", FAILURES)
def test_faces_are_drawn_on_their_device(failure):
    with torch.no_grad():
        scene = draw_hard_scene(failure, 3, draw_scene, Draws(0, range(2), GPU, NOISE + HARD_NOISE), 64)
        drawn = render(scene.surface, scene.view, scene.light, scene.background)
    assert {part.device for part in (drawn.image, drawn.depth, drawn.mask)} == {GPU}
