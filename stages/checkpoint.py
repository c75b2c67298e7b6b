"""The state of a training as a ``sym3d.checkpoint`` and back, bit by bit."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from stages.artifact import Artifact, open_artifact, write_artifact
from stages.errors import InputError, OutputError
from stages.loading import load_weights
from stages.progress import Report

__all__ = ["TrainingState", "restore", "save", "save_patiently"]

LOGGED = {"step", "seconds", "images_per_second"}  # what every row of a log has
WAITS = (5, 20, 60)  # seconds before saving is tried again: room may be made on a full disk


@dataclass
class TrainingState:
    """All that changes while training: mostly of a Sym3D, but any module with a ``size`` (px) will do.

    ``average`` is the moving average of the weights, if there is one; ``skipped`` are those of the last steps that came
    to nothing; ``rollbacks`` counts how often the training began again from a checkpoint; ``saved`` is the step of the
    newest one, 0 without any.
    """

    model: nn.Module
    average: nn.Module | None
    optimizer: torch.optim.Adam
    step: int = 0
    seconds: float = 0.0
    log: list[dict[str, float]] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    rollbacks: int = 0
    saved: int = 0

    @property
    def best(self) -> nn.Module:
        """The weights to validate and to use."""
        return self.average or self.model

    def tensors(self) -> dict[str, list[Tensor]]:
        """All that a step changes in place, by kind; Adam's from the first step on."""
        found = {"weights": [*self.model.parameters()]}
        if self.average is not None:
            found["averages"] = [*self.average.parameters()]
        for values in self.optimizer.state.values():
            for key, value in values.items():
                found.setdefault(f"Adam's {key}", []).append(value)
        return found


def save(path: Path, state: TrainingState, provenance: dict, steps: int) -> None:
    """Publish the state of a run of ``steps`` steps. Raises OutputError; the previous checkpoint stays intact then."""
    arrays = {f"model/{name}": value for name, value in _numpy(state.model.state_dict())}
    if state.average is not None:
        arrays |= {f"ema/{name}": value for name, value in _numpy(state.average.state_dict())}
    for name, parameter in state.model.named_parameters():
        arrays |= {f"optim/{name}.{key}": value for key, value in _numpy(state.optimizer.state.get(parameter, {}))}
    columns = dict.fromkeys(key for row in state.log for key in row)
    arrays |= {f"log/{key}": np.array([row.get(key, np.nan) for row in state.log], np.float64) for key in columns}
    attrs = {"step": state.step, "steps": steps, "seconds": state.seconds, "size": state.model.size}
    attrs |= {key: value for key in ("skipped", "rollbacks") if (value := getattr(state, key))}
    write_artifact(path, "sym3d.checkpoint", arrays, provenance=provenance, attrs=attrs)


def save_patiently(write: Callable[[], None], stopping: Callable[[], bool], report: Report) -> None:
    """``write()``, and once more after each of ``WAITS`` when it raises OutputError; the last one is passed on.

    A wait ends early when ``stopping()``.
    """
    for wait in WAITS:
        try:
            return write()
        except OutputError as error:
            report.warn(f"{error}; trying again in {wait} s")
        ends = time.monotonic() + wait
        while time.monotonic() < ends and not stopping():
            time.sleep(0.2)
    return write()


def restore(path: Path, state: TrainingState) -> None:
    """Continue from a checkpoint that :func:`save` wrote; the networks and the optimizer are those of ``state``.

    Raises InputError when it holds weights only, or weights that do not fit, or moments or a log that are none.
    """
    with open_artifact(path, "sym3d.checkpoint") as artifact:
        state.model.load_state_dict(load_weights(artifact, state.model))
        if state.average is not None:
            state.average.load_state_dict(load_weights(artifact, state.average, "ema"))
        state.step = state.saved = artifact.attrs["step"]
        state.seconds = float(artifact.attrs.get("seconds", 0.0))
        state.skipped = artifact.attrs.get("skipped", [])
        state.rollbacks = artifact.attrs.get("rollbacks", 0)
        if state.step and not any(name.startswith("optim/") for name in artifact.names):
            raise InputError(path, "holds weights but no optimizer state", "train under another --name")
        state.optimizer.state.clear()
        for name, parameter in state.model.named_parameters():
            # Adam has no state of what never had a gradient: the perceptual confidence of a run without that loss.
            if f"optim/{name}.step" in artifact:
                _restore_moments(artifact, name, parameter, state.optimizer)
        columns = {name.removeprefix("log/"): artifact[name][:] for name in artifact.names if name.startswith("log/")}
    rows = zip(*columns.values(), strict=True)
    state.log = [{k: float(v) for k, v in zip(columns, row, strict=True) if not np.isnan(v)} for row in rows]
    steps = [0.0, *(row.get("step", 0.0) for row in state.log), state.step + 0.5]
    if not all(row.keys() >= LOGGED for row in state.log) or any(after <= before for before, after in pairwise(steps)):
        raise InputError(path, "its log makes no sense", "use another checkpoint, or --overwrite")


def _restore_moments(artifact: Artifact, name: str, parameter: nn.Parameter, optimizer: torch.optim.Adam) -> None:
    names = {key: f"optim/{name}.{key}" for key in ("step", "exp_avg", "exp_avg_sq")}
    fix, values = "use another checkpoint, or --overwrite", {}
    missing = [place for place in names.values() if place not in artifact]
    if missing:
        raise InputError(artifact.path, f"has no {missing[0]}", fix)
    for key, place in names.items():
        shape, least = (() if key == "step" else parameter.shape), (-np.inf if key == "exp_avg" else 0)
        if artifact[place].shape != shape or artifact[place].dtype != np.float32:
            raise InputError(artifact.path, f"{place} has not the shape and type of its weight's moments", fix)
        value = np.asarray(artifact[place][...])
        if not np.isfinite(value).all() or (value < least).any():
            raise InputError(artifact.path, f"{place} makes no sense", fix)
        values[key] = torch.from_numpy(value)
    # empty_like keeps the parameter's memory layout, which the fused kernel relies on.
    kept = {key: torch.empty_like(parameter.data).copy_(values[key]) for key in ("exp_avg", "exp_avg_sq")}
    optimizer.state[parameter] = {"step": values["step"].to(parameter.device), **kept}


def _numpy(tensors: dict[str, torch.Tensor]):
    return ((name, tensor.detach().cpu().contiguous().numpy()) for name, tensor in tensors.items())
