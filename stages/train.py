"""Train a model on a data set by a recipe: resumable at any step, and bitwise the same on a CPU when it was resumed."""

import copy
import math
import shlex
import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from stages.artifact import make_provenance
from stages.checkpoint import TrainingState, restore
from stages.core.model import Sym3D
from stages.device import flushing_denormals, pick_device
from stages.errors import DivergedError, MissingPartError, OutputError, PeerLostError, StaleError, UsageError
from stages.interrupt import stop_requested
from stages.io.files import hold_folder
from stages.keeping import Checkpoints, best_so_far, forget_others
from stages.loading import Loaded, build_features, build_model, differences, load_model, others_settings, start_from
from stages.memory import keeping_memory
from stages.progress import Report, Silent
from stages.ranks import Ranks, is_lost_peer, joined
from stages.recipe import Recipe, as_setting
from stages.recorded import performer
from stages.same_run import check_same_run
from stages.steps import Losses, take_step
from stages.training_data import TrainingData, load_training_data
from stages.training_log import RecentLosses, last_metrics, status_of
from stages.validation import validate, write_sample_sheet

__all__ = ["TrainRequest", "TrainResult", "run"]

SETTLED = 500  # steps; before that every run shows symptoms


@dataclass(frozen=True)
class TrainRequest:
    """What to train, on which ``sym3d.images`` file, and the folder that keeps the run."""

    recipe: Recipe
    run_dir: Path
    data: Path
    overwrite: bool = False


@dataclass(frozen=True)
class TrainResult:
    run_dir: Path
    checkpoint: Path
    steps: int
    seconds: float  # of training alone, over all resumed parts
    metrics: dict[str, float]  # the last validation's means, SIDE ×10⁻² and MAD in degrees; empty without ground truth


def run(request: TrainRequest, *, report: Report | None = None) -> TrainResult:
    """Train to the recipe's last step, resuming what ``run_dir`` holds.

    A step whose loss or gradient is not finite changes nothing and is reported. Raises StaleError when the run was
    started with other data or another recipe, DivergedError when too many steps are such and the recipe's rollbacks are
    used up (the last good checkpoint stays), KeyboardInterrupt after Ctrl-C or SIGTERM (the step is finished and saved
    first).
    """
    report = report or Silent()
    # Before anything starts torch's threads: they inherit how this one treats denormals.
    with flushing_denormals(), keeping_memory(), joined() as ranks:
        data = load_training_data(request.data, request.recipe, ranks.count, report if ranks.first else Silent())
        with hold_folder(request.run_dir) if ranks.first else nullcontext() as check_folder:
            return _train(request, data, ranks, check_folder, report if ranks.first else Silent())


def _train(
    request: TrainRequest, data: TrainingData, ranks: Ranks, check_folder: Callable[[], None] | None, report: Report
) -> TrainResult:
    recipe, checkpoint = request.recipe, request.run_dir / "checkpoint.h5"
    state = _fresh_state(recipe)
    first = load_model(recipe.optim.init) if recipe.optim.init else None
    teacher, notes = _initialise(state, recipe, first)
    features, origin = build_features(recipe)
    if features is not None:
        features.to(pick_device(), memory_format=torch.channels_last)
    parents = [data.parent, *origin, *([first.parent] if first else [])]
    if checkpoint.exists() and not request.overwrite:
        check_same_run(checkpoint, recipe, parents)
        restore(checkpoint, state)
        _set_rate(state, recipe)
    else:
        for note in notes:
            report.note(note)
    provenance = make_provenance(recipe=recipe.text(), seed=recipe.run.seed, parents=parents)
    total = recipe.optim.steps or recipe.optim.epochs * (len(data.train.image) // recipe.optim.batch)
    if state.step > total:
        fix = "ask for more, start another run with --name, or begin again with --overwrite"
        raise StaleError(checkpoint, f"has taken {state.step} steps, and {total} are asked for", fix)
    if state.step:
        doing = "resuming" if state.step < total else "nothing to do"
        report.note(f"{request.run_dir}: {doing} at step {state.step} of {total}")
    elif ranks.first:
        forget_others(checkpoint, request.overwrite)
    best = best_so_far(checkpoint) if state.step and recipe.run.keep_best else math.inf
    recent = RecentLosses(state, recipe, len(data.train.image), report)
    warned: set[str] = set()

    with (
        stop_requested() as stopping,
        _board(request, ranks) as board,
        report.task(f"train {recipe.name}", total, state.step) as task,
    ):
        checkpoints = Checkpoints(checkpoint, state, recipe, provenance, total, best, check_folder, stopping, report)
        try:
            for row in state.log:
                report.figures(row)
            losses = ranks.wrap(Losses(state.model, features, teacher))
            perform = performer(pick_device(), ranks.count, report.warn)
            while state.step < total and not recent.stop:
                started = time.perf_counter()
                recent.unread.append(take_step(state, losses, data.train, recipe, ranks, stopping, perform))
                judged, kept, logged = (
                    state.step == total or state.step % every == 0
                    for every in (recipe.run.validate_every, recipe.run.save_every, recipe.run.log_every)
                )
                try:
                    recent.read(behind=1 if data.train.image.is_cuda else 0)
                    state.seconds += time.perf_counter() - started
                    if shown := judged or kept or logged:  # so that a saved run has a complete log
                        recent.log()
                except DivergedError as error:
                    task.advance(1 - _roll_back(error, recent, checkpoints))
                    continue
                if state.step in state.skipped and state.step < total:
                    judged = kept = False  # a checkpoint must be one to roll back to
                signs: list[str] = []
                if judged:
                    metrics, signs = validate(state.best, data.validation, ranks, report)
                    state.log[-1] |= metrics
                    checkpoints.save_if_best(metrics)
                    if ranks.first:  # before the save: a run that goes on from there does not draw it
                        check_folder()
                        _draw_samples(request.run_dir / "samples" / f"step-{state.step:07d}.png", state, data, report)
                if kept:
                    checkpoints.save()
                if state.step >= SETTLED:
                    for sign in sorted(set(signs) - warned):
                        report.warn(f"step {state.step}: {sign}")
                    warned |= set(signs)
                if shown:
                    report.figures(state.log[-1])
                if shown and board is not None:
                    for key, value in state.log[-1].items():
                        board.add_scalar(key, value, state.step)
                task.advance(1, status_of(state.log))
            if state.step < total:
                recent.log()
                checkpoints.save()
                report.note(
                    f"{checkpoint}: saved at step {state.step} of {total}; without --overwrite it goes on from there"
                )
                raise KeyboardInterrupt
        except RuntimeError as error:
            if not is_lost_peer(error):
                raise
            recent.unread.clear()
            recent.log()
            checkpoints.save()
            raise PeerLostError(
                checkpoint,
                f"another process of this training went away after step {state.step}",
                "start all of them again with the same command to resume",
            ) from error
    return TrainResult(request.run_dir, checkpoint, state.step, state.seconds, last_metrics(state.log))


def _fresh_state(recipe: Recipe) -> TrainingState:
    torch.manual_seed(recipe.run.seed)
    device = pick_device()
    model = build_model(recipe.model).to(device, memory_format=torch.channels_last)
    if recipe.optim.learn == "albedo":
        model.requires_grad_(False).netA.requires_grad_(True)
    average = copy.deepcopy(model).requires_grad_(False) if recipe.optim.ema else None
    optimizer = torch.optim.Adam(
        model.parameters(),
        lr=recipe.optim.lr,
        betas=recipe.optim.betas,
        weight_decay=recipe.optim.weight_decay,
        fused=True,
        capturable=device.type == "cuda",
    )
    return TrainingState(model, average, optimizer)


def _set_rate(state: TrainingState, recipe: Recipe) -> float:
    """The recipe's learning rate, halved for each rollback."""
    rate = math.ldexp(recipe.optim.lr, -state.rollbacks)  # a forged 2**rollbacks would take for ever
    state.optimizer.param_groups[0]["lr"] = rate
    return rate


def _roll_back(error: DivergedError, recent: RecentLosses, checkpoints: Checkpoints) -> int:
    """To the last checkpoint, at half the learning rate; returns by how many steps. Gives up at last."""
    state, recipe = checkpoints.state, checkpoints.recipe
    if not state.saved or state.rollbacks >= recipe.run.rollbacks:
        raise error
    step, rollbacks = state.step, state.rollbacks + 1
    recent.unread.clear()
    recent.pending.clear()
    restore(checkpoints.path, state)
    state.rollbacks, state.skipped = rollbacks, []
    rate = _set_rate(state, recipe)
    checkpoints.report.warn(f"{error.where}: {error.what}; back to step {state.step} with a learning rate of {rate:g}")
    checkpoints.save()  # a run that is resumed must know of this
    return step - state.step


def _draw_samples(path: Path, state: TrainingState, data: TrainingData, report: Report) -> None:
    """A picture that cannot be written must not end the training."""
    try:
        write_sample_sheet(path, state.best, data.validation, report)
    except OutputError as error:
        report.warn(str(error))


def _initialise(state: TrainingState, recipe: Recipe, first: Loaded | None) -> tuple[Sym3D | None, list[str]]:
    """Give a fresh state the weights of optim.init, or return that model to be imitated; and how it differs."""
    if recipe.optim.learn != "all":
        _check_kept(recipe, first)
    if first is None:
        return None, []
    if recipe.optim.imitate_steps:
        notes = differences(recipe.model, first, besides=("size", "width"))
        return first.model.to(pick_device(), memory_format=torch.channels_last), notes
    notes = start_from(state.model, recipe.model, first)
    if state.average is not None:
        state.average.load_state_dict(state.model.state_dict())
    return None, notes


def _check_kept(recipe: Recipe, first: Loaded | None) -> None:
    """Raises UsageError when there are no shapes to keep, or other settings would make others of the same weights."""
    if first is None:
        raise UsageError("optim.learn", "there is nothing to keep", "name a run or a model with --init")
    if others := others_settings(recipe.model, first, besides=("width", "he_init", "tint")):
        settings = " ".join(f"-s {shlex.quote(as_setting(f'model.{key}', value))}" for key, value in others.items())
        raise UsageError("optim.learn", f"shapes would not stay those of {first.path}", f"add {settings}")


@contextmanager
def _board(request: TrainRequest, ranks: Ranks):
    if not (request.recipe.run.tensorboard and ranks.first):
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingPartError(
            "run.tensorboard", "TensorBoard is not installed", "pip install 'sym3d[tensorboard]'"
        ) from error
    writer = SummaryWriter(request.run_dir / "tensorboard")
    try:
        yield writer
    finally:
        writer.close()
