"""The parts of the work, and the ways to do each. A part is races; the first contestant is what others are held to."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.bench.timing import Call, Contestant, LeftOutError
from stages.checkpoint import TrainingState
from stages.core import losses
from stages.core.camera import apply_view, back_project
from stages.core.inference import QuickSym3D
from stages.core.mesh import grid_mesh
from stages.core.model import Sym3D
from stages.core.paint import paint
from stages.core.perceptual import VGG16Features
from stages.core.raster import available_backends, rasterise_depth
from stages.core.view import paint_reference, render_mesh, yaw_views
from stages.data.batches import batch_flips, batch_rows
from stages.device import fast_precision
from stages.predict import predict, to_tensor
from stages.ranks import Ranks
from stages.recipe import DataSection, OptimSection, Recipe
from stages.recorded import Recorder, cuda_graph, eagerly
from stages.steps import Losses, TrainingImages, read_losses, take_step

__all__ = ["PARTS", "Place", "Race", "steps"]

IMAGES = 1024  # in the data set that training draws from
INFERENCE_BATCHES = (1, 64)
PICTURE, FRAMES = 512, 8  # side in pixels and number of the pictures drawn in one call
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Place:
    """Where a part is timed: images of ``size`` pixels, ``batch`` of them in a training step."""

    size: int
    batch: int
    width: float
    device: torch.device

    @property
    def precisions(self) -> tuple[str, ...]:
        """Of matrix products, those that the processor itself computes in."""
        return ("float32",) if fast_precision(self.device) == torch.float32 else ("float32", "bf16")

    def images(self, count: int) -> Tensor:
        """(count, 3, size, size) noise in [-1, 1]."""
        noise = torch.rand(count, 3, self.size, self.size, device=self.device) * 2 - 1
        return noise.contiguous(memory_format=torch.channels_last)

    def data_set(self, device: torch.device | str) -> Tensor:
        """uint8 (IMAGES, size, size, 3)."""
        return torch.randint(256, (IMAGES, self.size, self.size, 3), dtype=torch.uint8, device=device)

    def put(self, module: nn.Module) -> nn.Module:
        return module.to(self.device, memory_format=torch.channels_last)

    def autocast(self, precision: str) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16")


@dataclass(frozen=True)
class Race:
    """counted: it is convolutions and matrix products that take the time, so that counting them says something."""

    part: str
    contestants: list[Contestant]
    counted: bool = True


# -- rasteriser -------------------------------------------------------------------------------------------------------


def _raster(place: Place) -> Iterator[Race]:
    """Both reconstructions of a batch; ours last. The twin in torch tests every triangle against every pixel: it draws
    one image, of the smallest size."""
    count = 2 * place.batch
    kernels = [name for name in reversed(available_backends()) if name != "reference"]
    twin = (
        [Contestant("reference", 64, 1, partial(_rasterise, place, "reference", 1, False))] if place.size == 64 else []
    )
    for part, backward in (("raster", False), ("raster+bwd", True)):
        ways = [
            Contestant(name, place.size, count, partial(_rasterise, place, name, count, backward)) for name in kernels
        ]
        yield Race(part, ways if backward else twin + ways, counted=False)


def _rasterise(place: Place, backend: str, count: int, backward: bool) -> Call:
    """Smooth surfaces with folds, seen from many sides."""
    coarse = 0.95 + 0.05 * torch.rand(count, 1, 8, 8)
    depth = F.interpolate(coarse, (place.size, place.size), mode="bicubic", align_corners=False)[:, 0]
    view = torch.randn(count, 6) * torch.tensor([0.2, 0.4, 0.2, 0.02, 0.02, 0.0])
    points = apply_view(back_project(depth), view).to(place.device).requires_grad_(backward)

    def call() -> None:
        depth, _ = rasterise_depth(points, backend=backend)
        if backward:
            points.grad = None
            depth.sum().backward()

    return call


# -- networks and perceptual loss -------------------------------------------------------------------------------------


def _networks(place: Place) -> Iterator[Race]:
    for name, network in Sym3D(place.size, place.width).named_children():
        for part, backward in ((name, False), (f"{name}+bwd", True)):
            ways = [
                Contestant(p, place.size, place.batch, partial(_network, place, network, p, backward), p)
                for p in place.precisions
            ]
            yield Race(part, ways)


def _network(place: Place, network: nn.Module, precision: str, backward: bool) -> Call:
    network, image = place.put(copy.deepcopy(network)), place.images(place.batch)

    def call() -> None:
        with torch.set_grad_enabled(backward), place.autocast(precision):
            said = network(image)
        if backward:
            network.zero_grad()
            maps = said if isinstance(said, tuple) else (said,)
            sum(part.float().square().mean() for part in maps).backward()

    return call


def _perceptual(place: Place) -> Iterator[Race]:
    """Features of the images once and of both reconstructions, the loss, and its gradient."""
    ways = [Contestant(p, place.size, place.batch, partial(_compare, place, p), p) for p in place.precisions]
    yield Race("perceptual", ways)


def _compare(place: Place, precision: str) -> Call:
    features = place.put(VGG16Features())
    image = place.images(place.batch)
    reconstructed = place.images(2 * place.batch).requires_grad_()
    mask = torch.ones(place.batch, place.size, place.size, dtype=torch.bool, device=place.device)
    sigma = torch.ones(2, place.batch, place.size // 4, place.size // 4, device=place.device)

    def call() -> None:
        with place.autocast(precision):
            with torch.no_grad():
                target = features(image)
            branches = features(reconstructed).float().split(place.batch)
        pairs = zip(branches, sigma, strict=True)
        reconstructed.grad = None
        sum(losses.perceptual(branch, target.float(), mask, s) for branch, s in pairs).backward()

    return call


# -- training ---------------------------------------------------------------------------------------------------------


def steps(place: Place) -> list[Contestant]:
    """The ways to do a whole step of training: from rows of the data set to new weights. The last is the fastest."""
    ways = [Contestant(p, place.size, place.batch, partial(_train, place, p), p) for p in place.precisions]
    if place.device.type == "cuda":
        best = place.precisions[-1]
        ways.append(Contestant("graph", place.size, place.batch, partial(_train, place, best, recorded=True), best))
    return ways


def _step(place: Place) -> Iterator[Race]:
    yield Race("step", steps(place))


def _train(place: Place, precision: str, recorded: bool = False) -> Call:
    """As ``train`` takes it, its numbers read at once. Raises LeftOutError where it cannot be recorded."""
    model, features = place.put(Sym3D(place.size, place.width)), place.put(VGG16Features())
    on_cuda = place.device.type == "cuda"
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=5e-4, fused=True, capturable=on_cuda)
    state, losses = TrainingState(model, None, optimizer), Losses(model, features)
    optim = OptimSection(batch=place.batch, steps=1, precision=str(PRECISIONS[precision]).removeprefix("torch."))
    recipe = Recipe(name="bench", data=DataSection(images="noise", make="noise"), optim=optim)
    data = TrainingImages(place.data_set(place.device))
    perform = Recorder(cuda_graph, _refuse, patience=1) if recorded else eagerly

    def call() -> dict[str, float]:
        return read_losses(take_step(state, losses, data, recipe, Ranks(), lambda: False, perform))

    if recorded:
        for _ in range(3):  # Adam's moments come with the first; the third has the settings of the second
            call()
        if perform.recorded is None:
            raise LeftOutError("its losses are not finite")
    return call


def _refuse(reason: str) -> None:
    raise LeftOutError(reason)


def _loader(place: Place) -> Iterator[Race]:
    """Which rows a step sees → its batch on the device, half of it mirrored."""
    ways = ("resident",) if place.device.type == "cpu" else ("from host", "resident")
    yield Race(
        "loader", [Contestant(way, place.size, place.batch, partial(_load, place, way)) for way in ways], counted=False
    )


def _load(place: Place, way: str) -> Callable[[], Tensor]:
    """``way``: the data set is resident on the device, or each batch comes from the host."""
    images = place.data_set(place.device if way == "resident" else "cpu")
    step = 0

    def call() -> Tensor:
        nonlocal step
        rows, flips = batch_rows(0, step, len(images), place.batch), batch_flips(0, step, place.batch)
        batch, flips = to_tensor(images[rows].to(place.device)), flips.to(place.device)
        step += 1
        batch = torch.where(flips[:, None, None, None], batch.flip(-1), batch)
        return batch.contiguous(memory_format=torch.channels_last)

    return call


# -- inference --------------------------------------------------------------------------------------------------------


def _inference(place: Place) -> Iterator[Race]:
    """All factors and the reconstruction, from arrays to arrays, as ``infer`` does without the confidence maps."""
    for batch in INFERENCE_BATCHES:
        ways = [Contestant("plain", place.size, batch, partial(_infer, place, batch, False))]
        if batch == 1 and place.device.type == "cpu":
            ways.append(Contestant("quick", place.size, batch, partial(_infer, place, batch, True)))
        yield Race("inference", ways)


def _infer(place: Place, batch: int, quick: bool) -> Call:
    model = Sym3D(place.size, place.width, confidence=False).to(place.device).eval().requires_grad_(False)
    images = place.data_set("cpu")[:batch].numpy()
    return partial(predict, QuickSym3D(model) if quick else model, images, batch)


# -- pictures ---------------------------------------------------------------------------------------------------------


def _picture(place: Place) -> Iterator[Race]:
    """Antialiased frames of a video, triangles and colours; on a CPU also colours by the plain twin of the kernel."""
    ways = [("torch", paint_reference)] + ([("numba", paint)] if place.device.type == "cpu" else [])
    contestants = [Contestant(name, PICTURE, FRAMES, partial(_draw, place, painter)) for name, painter in ways]
    yield Race("picture", contestants, counted=False)


def _draw(place: Place, painter: Callable[..., Tensor]) -> Call:
    v, u = torch.meshgrid(*[torch.linspace(-1, 1, place.size)] * 2, indexing="ij")
    mesh = grid_mesh(1.05 - 0.1 * torch.exp(-2 * (u**2 + v**2)))
    texture = torch.rand(1, 3, 256, 256, device=place.device)
    views = yaw_views(torch.linspace(-40, 40, FRAMES))
    return partial(render_mesh, mesh, texture, views, size=PICTURE, painter=painter)


PARTS: dict[str, Callable[[Place], Iterator[Race]]] = {
    "raster": _raster,
    "networks": _networks,
    "perceptual": _perceptual,
    "step": _step,
    "inference": _inference,
    "loader": _loader,
    "picture": _picture,
}
