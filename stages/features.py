"""Stage: learn perceptual features from the images themselves, by finding places in them again in another light.

Of all places in a batch of pictures, which is this one? (InfoNCE, as in dense contrastive learning.) What answers that
changes steadily as a picture shifts or blurs and little with light, as VGG16's features do: their distance leads a
training home. The encoder has VGG16's shape, so that the perceptual loss can compare its relu3_3 in place of VGG16's.
As in training, a step follows from (seed, step) alone, so that a resumed run on a CPU ends with the same bits.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.artifact import SPLITS, Artifact, make_provenance, open_artifact, origin_difference, write_artifact
from stages.checkpoint import TrainingState, restore, save
from stages.core.perceptual import VGG16Features
from stages.data.augment import other_light, random_crops
from stages.data.batches import batch_rows
from stages.device import fast_precision, flushing_denormals, pick_device
from stages.errors import DivergedError, InputError, StaleError, UsageError
from stages.interrupt import stop_requested
from stages.io.files import hold_file
from stages.memory import keeping_memory
from stages.outputs import check_output
from stages.predict import to_tensor
from stages.progress import Report, Silent

__all__ = ["FeaturesRequest", "FeaturesResult", "run"]

VIEWS, HELD_OUT = 4, 5  # what random numbers are for, after those of stages.data.batches
PLACES = 40  # of each picture; more would make neighbours the rule
TEMPERATURE = 0.15  # of cosines
RATE, WARM_UP, CLIP = 1e-3, 0.1, 1.0  # Adam's highest rate, the share of steps until then; largest gradient norm
SAVE_EVERY, MOST_STEPS = 200, 10**9
SAMPLE = 1000  # images that means, and the accuracy, are taken over


@dataclass(frozen=True)
class FeaturesRequest:
    """images: the ``sym3d.images`` file to learn from; out: the ``sym3d.features`` file to write; width: multiplies the
    channels of VGG16; steps of ``batch`` images each, all seen twice; device: "cpu", "cuda", or None for the best there
    is."""

    images: Path
    out: Path
    width: float = 0.25
    steps: int = 1000
    batch: int = 32
    seed: int = 0
    overwrite: bool = False
    device: str | None = None


@dataclass(frozen=True)
class FeaturesResult:
    """accuracy: share of places in held-out pictures that were found again among those of a batch, and what chance
    would find; trained: steps that this run took."""

    out: Path
    accuracy: float
    chance: float
    trained: int


class _Finder(nn.Module):
    """Which of all places in a batch of pictures is this one, now that the light is another?"""

    def __init__(self, encoder: VGG16Features, size: int):
        super().__init__()
        self.encoder, self.size = encoder.requires_grad_(True), size
        for layer in encoder.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """(K, K) logits: row i compares a place, seen in one light, with K places in another. And (K,) which it is."""
        crops = random_crops(images, rng)
        views = torch.cat([other_light(crops, rng), other_light(crops, rng)])
        precision = fast_precision(images.device)
        with torch.autocast(images.device.type, precision, enabled=precision != torch.float32):
            features = self.encoder(views.contiguous(memory_format=torch.channels_last))
        features = features.float().flatten(2).movedim(1, 2)  # (2N, places, channels)
        places = torch.from_numpy(rng.random((len(images), features.shape[1])).argsort(1)[:, :PLACES])
        chosen = places.to(features.device).repeat(2, 1)[:, :, None].expand(-1, -1, features.shape[2])
        features = features.gather(1, chosen).flatten(0, 1)
        # Every channel counts as much, and no two places are alike because all features are positive.
        features = F.normalize((features - features.mean(0)) / (features.std(0) + 1e-3), dim=1)
        one, other = features.chunk(2)
        return one @ other.T / TEMPERATURE, torch.arange(len(one), device=one.device)


def run(request: FeaturesRequest, *, report: Report | None = None) -> FeaturesResult:
    """Train an encoder and write it; an interrupted run goes on from ``<out>.training``, which goes away at the end.

    Raises UsageError for a request that means nothing, InputError when the images do not suffice, StaleError when
    ``out`` was made from something else, DivergedError when weights are not finite, and KeyboardInterrupt after Ctrl-C
    or SIGTERM (the step is finished and saved first).
    """
    if not 0 < request.width <= 4:
        raise UsageError("--width", f"{request.width} is out of range", "use a number above 0, at most 4")
    if not 1 <= request.steps <= MOST_STEPS:
        raise UsageError("--steps", f"{request.steps} is out of range", f"use a number from 1 to {MOST_STEPS:,}")
    with (
        flushing_denormals(),
        keeping_memory(),
        open_artifact(request.images, "sym3d.images", report or Silent()) as images,
        hold_file(request.out, [request.images]),
    ):
        check_output(request.out.with_name(f"{request.out.name}.training.partial"))  # the longest of the names it takes
        recipe = f"places in other light, width {request.width:g}, {request.steps} steps of {request.batch}"
        provenance = make_provenance(recipe=recipe, seed=request.seed, parents=[images])
        before = None if request.overwrite else _find_before(request.out, provenance)
        if before == request.out:
            with open_artifact(before, "sym3d.features") as done:
                accuracy, size = float(done.attrs["accuracy"]), int(done.attrs["size"])
                return FeaturesResult(before, accuracy, _chance(request.batch, size), 0)
        return _train(request, images, before, provenance, report or Silent())


def _train(
    request: FeaturesRequest, images: Artifact, before: Path | None, provenance: dict, report: Report
) -> FeaturesResult:
    device = pick_device(request.device)
    train, held_out = _load(images, request.batch, device)
    mean, std = _colours(train)
    torch.manual_seed(request.seed)
    model = _Finder(VGG16Features(request.width, mean, std), train.shape[1])
    model.to(device, memory_format=torch.channels_last)
    state = TrainingState(model, None, torch.optim.Adam(model.parameters(), fused=True))
    if before:
        restore(before, state)
        report.note(f"{before}: resuming at step {state.step} of {request.steps}")
    unfinished, start = _unfinished(request.out), state.step
    with stop_requested() as stopping, report.task("learning features", request.steps, start) as task:
        while state.step < request.steps:
            loss = _step(state, train, request)
            if state.step % SAVE_EVERY == 0 or stopping():
                _check_finite(model, state.step)
                save(unfinished, state, provenance, request.steps)
            if stopping():
                raise KeyboardInterrupt
            task.advance(1, f"loss {loss.item():.3f}" if state.step % 10 == 0 else "")
    _check_finite(model, state.step)
    accuracy = _accuracy(model, held_out, request)
    encoder = _to_unit_spread(model.encoder, held_out)
    _check_finite(encoder, state.step)  # one that says the same of every picture has no spread
    weights = {f"encoder/{key}": value.cpu().contiguous().numpy() for key, value in encoder.state_dict().items()}
    arrays = {**weights, "mean": np.array(mean, np.float32), "std": np.array(std, np.float32)}
    attrs = {"width": request.width, "size": model.size, "accuracy": accuracy}
    write_artifact(request.out, "sym3d.features", arrays, provenance=provenance, attrs=attrs)
    unfinished.unlink(missing_ok=True)
    return FeaturesResult(request.out, accuracy, _chance(request.batch, model.size), state.step - start)


def _unfinished(out: Path) -> Path:
    return out.with_name(out.name + ".training")


def _find_before(out: Path, provenance: dict) -> Path | None:
    """What an earlier run of the same request left: its output or, first, a part of it. StaleError if another's."""
    unfinished = _unfinished(out)
    there = [(unfinished, "sym3d.checkpoint"), (out, "sym3d.features")]
    stale = []
    for path, schema in there:
        if path.exists():
            with open_artifact(path, schema) as artifact:
                change = origin_difference(provenance, artifact.provenance)
            if change is None:
                return path
            stale.append((path, f"was made differently: {change}"))
    if stale:
        raise StaleError(*stale[0], "add --overwrite or choose another output")
    return None


def _load(images: Artifact, batch: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """uint8 (N, S, S, 3) to learn from, and at most ``SAMPLE`` held-out ones."""
    split = images["split"][:]
    train, held_out = (np.flatnonzero(split == which) for which in (SPLITS["train"], SPLITS["val"]))
    if len(train) < batch:
        raise InputError(images.path, f"has {len(train)} training images for batches of {batch}", "lower --batch")
    if not len(held_out):
        raise InputError(images.path, "has no validation images", "prepare more images")
    found = (torch.from_numpy(images["image"][rows]) for rows in (train, held_out[:SAMPLE]))
    return tuple(part.to(device) for part in found)


def _colours(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of red, green and blue in [0, 1]."""
    some = images[:: -(-len(images) // SAMPLE)].float() / 255
    mean, std = some.mean((0, 1, 2)), some.std((0, 1, 2)).clamp(min=1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())


def _step(state: TrainingState, images: Tensor, request: FeaturesRequest) -> Tensor:
    """One step of Adam; returns the loss. The rate rises linearly, then falls to nothing along a cosine."""
    step, model = state.step, state.model
    rows = batch_rows(request.seed, step, len(images), request.batch).to(images.device)
    logits, same = model(to_tensor(images[rows]), np.random.default_rng([request.seed, step, VIEWS]))
    loss = (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2
    state.optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    falling = 0.5 + 0.5 * math.cos(math.pi * step / request.steps)
    state.optimizer.param_groups[0]["lr"] = RATE * min(1, (step + 1) / (WARM_UP * request.steps)) * falling
    state.optimizer.step()
    state.step += 1
    return loss.detach()


def _chance(batch: int, size: int) -> float:
    return 1 / (batch * min(PLACES, (size // 4) ** 2))


@torch.no_grad()
def _accuracy(model: nn.Module, images: Tensor, request: FeaturesRequest) -> float:
    """Share of places in held-out images that are most like themselves, among those of ``batch`` images."""
    rng, found = np.random.default_rng([request.seed, 0, HELD_OUT]), []
    for some in images.split(request.batch):
        logits, same = model(to_tensor(some), rng)
        found.append(logits.argmax(1) == same)
    return torch.cat(found).float().mean().item()


@torch.no_grad()
def _to_unit_spread(encoder: VGG16Features, images: Tensor) -> VGG16Features:
    """Scale the last layer so that features have a standard deviation of 1: the task leaves that open, while the weight
    of the perceptual loss counts on it. (VGG16's, over synthetic faces: 0.8.)"""
    spread = torch.cat([encoder(to_tensor(some)) for some in images[:256].split(32)]).var((0, 2, 3)).mean().sqrt()
    last = encoder.features[-2]
    last.weight /= spread
    last.bias /= spread
    return encoder


def _check_finite(model: nn.Module, step: int) -> None:
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise DivergedError(f"step {step}", "the weights are not finite", "try another --seed or --width")
