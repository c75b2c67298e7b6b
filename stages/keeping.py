"""Which checkpoints of a run stay: the newest, and under names of their own the ones before it and the best."""

import math
import re
from pathlib import Path

from stages.artifact import copy_artifact, open_artifact

__all__ = ["best_of", "best_so_far", "forget_others", "keep_previous", "numbered", "score_of"]

NUMBERED = re.compile(r"checkpoint\.(\d{7,})\.h5")
SCORES = ("side", "misfit")  # of a validation, the first that there is; less is better


def best_of(checkpoint: Path) -> Path:
    """Where the best of a run is kept."""
    return checkpoint.with_name("checkpoint.best.h5")


def best_so_far(checkpoint: Path) -> float:
    """The score that the best was kept for; infinite where there is none. Raises InputError when it is damaged."""
    if not best_of(checkpoint).exists():
        return math.inf
    with open_artifact(best_of(checkpoint), "sym3d.checkpoint") as artifact:
        return score_of({key: float(artifact[f"log/{key}"][-1]) for key in SCORES if f"log/{key}" in artifact})


def score_of(metrics: dict[str, float]) -> float:
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


def forget_others(checkpoint: Path) -> None:
    """Remove what an earlier run in this folder kept beside its checkpoint."""
    for path in [*numbered(checkpoint), best_of(checkpoint)]:
        path.unlink(missing_ok=True)


def numbered(checkpoint: Path) -> list[Path]:
    """The kept ones that were once ``checkpoint``, by step, the oldest first."""
    steps = {path: found for path in checkpoint.parent.iterdir() if (found := NUMBERED.fullmatch(path.name))}
    return sorted(steps, key=lambda path: int(steps[path][1]))
