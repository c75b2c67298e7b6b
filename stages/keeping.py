"""Which checkpoints of a run stay: the newest, and under names of their own the ones before it and the best."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stages.artifact import copy_artifact, open_artifact
from stages.checkpoint import TrainingState, save, save_patiently
from stages.errors import StaleError
from stages.progress import Report
from stages.recipe import Recipe

__all__ = ["Checkpoints", "best_so_far", "forget_others", "keep_previous", "numbered"]

NUMBERED = re.compile(r"checkpoint\.(\d{7,})\.h5")
SCORES = ("side", "misfit")  # of a validation, the first that there is; less is better


@dataclass
class Checkpoints:
    """Those of a run in progress. Of several processes the first alone writes; the others save when it does."""

    path: Path
    state: TrainingState
    recipe: Recipe
    provenance: dict
    steps: int  # of the whole run
    best: float  # the score that the best was kept for
    check_folder: Callable[[], None] | None  # before each write; None in the other processes
    stopping: Callable[[], bool]
    report: Report

    def save(self) -> None:
        """In place of the newest. The log must be complete by now."""

        def write() -> None:
            if self.state.saved not in (0, self.state.step) and self.path.exists():  # somebody may have taken it away
                keep_previous(self.path, self.state.saved, self.recipe.run.keep_last)
            save(self.path, self.state, self.provenance, self.steps)

        self._patiently(write)
        self.state.saved = self.state.step

    def save_if_best(self, metrics: dict[str, float]) -> None:
        """Before the newest: a kill between them must not lose the best."""

        def write() -> None:
            if not self.state.saved:  # nor may a run that is replaced be resumed beside it
                self.path.unlink(missing_ok=True)
            save(_best_of(self.path), self.state, self.provenance, self.steps)

        if self.recipe.run.keep_best and _score_of(metrics) < self.best:
            self.best = _score_of(metrics)
            self._patiently(write)

    def _patiently(self, write: Callable[[], None]) -> None:
        if self.check_folder is not None:
            self.check_folder()
            save_patiently(write, self.stopping, self.report)


def _best_of(checkpoint: Path) -> Path:
    """Where the best of a run is kept."""
    return checkpoint.with_name("checkpoint.best.h5")


def best_so_far(checkpoint: Path) -> float:
    """The score that the best was kept for; infinite where there is none. Raises InputError when it is damaged."""
    if not _best_of(checkpoint).exists():
        return math.inf
    with open_artifact(_best_of(checkpoint), "sym3d.checkpoint") as artifact:
        return _score_of({key: float(artifact[f"log/{key}"][-1]) for key in SCORES if f"log/{key}" in artifact})


def _score_of(metrics: dict[str, float]) -> float:
    """What validations are compared by; infinite where none was taken."""
    return next((metrics[key] for key in SCORES if key in metrics), math.inf)


def keep_previous(checkpoint: Path, step: int, keep_last: int) -> None:
    """Before ``checkpoint``, of this step, is replaced: with its successor ``keep_last`` of them stay."""
    if keep_last > 1:
        copy_artifact(checkpoint, checkpoint.with_name(f"checkpoint.{step:07d}.h5"))
    # Later ones are of a run that was left for an earlier checkpoint of its own: not ours to count.
    ours = [path for path in numbered(checkpoint) if int(NUMBERED.fullmatch(path.name)[1]) <= step]
    for path in ours[: max(0, len(ours) - (keep_last - 1))]:
        path.unlink()


def forget_others(checkpoint: Path, overwrite: bool) -> None:
    """Remove what an earlier run in this folder kept beside its checkpoint. Raises StaleError when it is all that there
    is of that run, unless ``overwrite``."""
    kept = numbered(checkpoint)
    if kept and not (overwrite or checkpoint.exists()):
        fix = "copy it over checkpoint.h5 to go on from there, or begin again with --overwrite"
        raise StaleError(kept[-1], "was kept, but there is no checkpoint.h5", fix)
    for path in [*kept, _best_of(checkpoint)]:
        path.unlink(missing_ok=True)


def numbered(checkpoint: Path) -> list[Path]:
    """The kept ones that were once ``checkpoint``, by step, the oldest first."""
    steps = {path: found for path in checkpoint.parent.iterdir() if (found := NUMBERED.fullmatch(path.name))}
    return sorted(steps, key=lambda path: int(steps[path][1]))
