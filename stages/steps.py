"""One step of training: from rows of the data set to new weights and what the losses were."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from stages.checkpoint import TrainingState
from stages.core.imitation import imitation
from stages.core.model import Sym3D
from stages.core.objective import objective, supervised_objective
from stages.data.batches import batch_flips, batch_rows, batch_trials
from stages.device import fast_precision
from stages.errors import DivergedError, InputError
from stages.predict import to_tensor
from stages.ranks import Ranks
from stages.recipe import Recipe
from stages.recorded import Perform, eagerly

__all__ = ["Losses", "TrainingImages", "note_skipped", "read_losses", "take_step"]

MOST_SKIPPED, WINDOW = 10, 1000  # steps that may come to nothing, of so many
YAW_WEIGHT, YAW_HELD = 3.0, 0.3  # of the spread of yaws: at first, and after loss.yaw_spread_steps
YAW_UNSURE = 0.75  # share of the spread that they are held at when training begins


@dataclass(frozen=True)
class TrainingImages:
    """On the device; truth only where it is learned from."""

    image: Tensor  # uint8 (N, S, S, 3)
    depth: Tensor | None = None  # float32 (N, S, S) metres in view
    mask: Tensor | None = None  # bool (N, S, S)


class Losses(nn.Module):
    """The objective as a module, whose gradients several processes can share; ``teacher`` is who is imitated first."""

    def __init__(self, model: Sym3D, features: nn.Module | None, teacher: Sym3D | None = None):
        super().__init__()
        self.model, self.features, self.teacher = model, features, teacher

    def forward(
        self, image: Tensor, truth: tuple[Tensor, Tensor] | None = None, *, imitate: bool = False, **settings
    ) -> dict[str, Tensor]:
        if imitate:
            return imitation(self.model, self.teacher, image, precision=settings["precision"])
        if truth is not None:
            shared = {key: settings[key] for key in ("precision", "gather")}
            return supervised_objective(self.model, image, *truth, **shared)
        return objective(self.model, image, features=self.features, **settings)[0]


def take_step(
    state: TrainingState,
    losses: Callable,
    data: TrainingImages,
    recipe: Recipe,
    ranks: Ranks,
    stopping: Callable[[], bool],
    perform: Perform = eagerly,
) -> dict[str, Tensor]:
    """One step of Adam on one batch; returns the parts of the loss and whether some process is asked to stop.

    Where a loss or a gradient is not finite the weights and Adam's moments stay what they were.
    """
    step, device, count = state.step, data.image.device, len(data.image)
    settings = _settings(recipe, step, count, device)
    inputs = {name: _upload(values, device) for name, values in _draws(recipe, step, count, ranks).items()}
    learn = partial(_learn, state, losses, data, ranks, **settings)
    rate = state.optimizer.param_groups[0]["lr"]
    try:
        values = perform(learn, inputs, (settings, rate), state.tensors)
    except InputError as error:  # the rasteriser refuses a surface that is not finite, where that costs no waiting
        if ranks.count > 1:  # the others go on to share their gradients, and would wait for ours
            rows = batch_rows(recipe.run.seed, step, count, recipe.optim.batch)
            raise _diverged(step + 1, "the depth", rows, state.saved) from error
        values = {"depth": torch.tensor(math.nan)}
    state.step += 1
    stop = torch.full_like(next(iter(values.values())), float(stopping()))
    return values | {"stop": ranks.mean(stop)}


def _draws(recipe: Recipe, step: int, count: int, ranks: Ranks) -> dict[str, Tensor]:
    """What chance decides for this process's share of a step, on the host."""
    seed, batch, mine = recipe.run.seed, recipe.optim.batch, ranks.share(recipe.optim.batch)
    drawn = {"rows": batch_rows(seed, step, count, batch)[mine]}
    if recipe.data.flip:
        drawn["flips"] = batch_flips(seed, step, batch)[mine]
    if step < recipe.optim.search_steps:  # viewpoints to try, nearer and nearer to the predicted ones
        nearer = 1 - step / recipe.optim.search_steps / 2
        drawn["trials"] = (nearer * batch_trials(seed, step, batch, recipe.loss.elevation or 0.0))[:, mine]
    return drawn


def _settings(recipe: Recipe, step: int, count: int, device: torch.device) -> dict:
    """The numbers that a step depends on; most stay the same from some step on."""
    loss, optim = recipe.loss, recipe.optim
    early = step // (count // optim.batch) < loss.flip_start_epochs
    return {
        "imitate": step < optim.imitate_steps,
        "flip": loss.flip_start if early else loss.flip,
        "perceptual": loss.perceptual,
        "smooth": loss.smoothness,
        "steep": loss.steepness,
        "yaw_spread": loss.yaw_spread and loss.yaw_spread * _yaw_share(step, loss.yaw_spread_steps),
        "yaw_weight": _yaw_weight(step, loss.yaw_spread_steps),
        "elevation": loss.elevation,
        "precision": fast_precision(device) if optim.precision == "auto" else getattr(torch, optim.precision),
        "clip": optim.clip or math.inf,
        # A short history must not remember the random start for thousands of steps.
        "decay": min(optim.ema, (2 + step) / (11 + step)) if optim.ema else None,
    }


def _learn(
    state: TrainingState,
    losses: Callable,
    data: TrainingImages,
    ranks: Ranks,
    inputs: dict[str, Tensor],
    *,
    clip: float,
    decay: float | None,
    **settings,
) -> dict[str, Tensor]:
    """All of a step that the device does. The host reads nothing of it, so that it can be recorded."""
    rows, flips = inputs["rows"], inputs.get("flips")
    batch, truth = to_tensor(data.image[rows]), None
    if data.depth is not None:
        truth = data.depth[rows], data.mask[rows]
    if flips is not None:
        batch = _mirror(batch, flips)
        truth = truth and tuple(_mirror(maps, flips) for maps in truth)
    batch = batch.contiguous(memory_format=torch.channels_last)
    parts = losses(batch, truth, trials=inputs.get("trials"), gather=ranks.gather, **settings)
    state.optimizer.zero_grad()
    parts["total"].backward()
    values = parts | {"gradient_norm": nn.utils.clip_grad_norm_(state.model.parameters(), clip)}
    means = ranks.mean(torch.stack(list(values.values())))
    # The fused Adam looks at this on the device, so that nobody has to wait for it.
    state.optimizer.found_inf = (~means.isfinite().all()).float()
    state.optimizer.step()
    if state.average is not None:
        get_ema_multi_avg_fn(decay)([*state.average.parameters()], [*state.model.parameters()], None)
    return dict(zip(values, means, strict=True))


def read_losses(values: dict[str, Tensor]) -> dict[str, float]:
    """The numbers that a step returned, once the device has them."""
    return dict(zip(values, torch.stack(list(values.values())).tolist(), strict=True))


def note_skipped(state: TrainingState, step: int, values: dict[str, float], recipe: Recipe, images: int) -> str:
    """Remember that the step that led to ``step`` changed nothing; returns what to say of it.

    Raises DivergedError when too many of the last steps were such.
    """
    state.skipped = [*(past for past in state.skipped if past > step - WINDOW), step]
    broken = " and ".join(key for key, value in values.items() if not math.isfinite(value))
    rows = batch_rows(recipe.run.seed, step - 1, images, recipe.optim.batch)
    if len(state.skipped) > MOST_SKIPPED:
        raise _diverged(step, broken, rows, state.saved)
    return f"step {step}: {broken} not finite on training images {rows.tolist()}; the step is skipped"


def _mirror(maps: Tensor, which: Tensor) -> Tensor:
    return torch.where(which.view(-1, *[1] * (maps.ndim - 1)), maps.flip(-1), maps)


def _upload(values: Tensor, device: torch.device) -> Tensor:
    """To the device without waiting for what it is doing."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values


def _yaw_share(step: int, steps: int) -> float:
    """Of the spread of yaws. Guesses that are not sure yet spread less than the truth: of correlation r by r times it.

    Made to spread as widely, they throw frontal pictures about, and the shape turns flat as a board.
    """
    return 1 - (1 - YAW_UNSURE) * max(0.0, 1 - step / steps) if steps else 1.0


def _yaw_weight(step: int, steps: int) -> float:
    """Never nothing: wider yaws of a flatter shape give nearly the same pictures, and yaws that nobody holds wander off
    until frontal pictures are half a shape seen from the side."""
    return max(YAW_HELD, YAW_WEIGHT * (1 - step / steps)) if steps else YAW_WEIGHT


def _diverged(step: int, what: str, rows: Tensor, saved: int) -> DivergedError:
    kept = f"the checkpoint keeps step {saved}" if saved else "nothing was saved yet"
    return DivergedError(
        f"step {step}",
        f"{what} not finite on training images {rows.tolist()}",
        f"{kept}; lower optim.lr, set optim.clip=1.0 or allow run.rollbacks",
    )
