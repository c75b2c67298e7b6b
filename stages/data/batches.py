"""Which images a training step sees. Everything follows from (seed, step): nothing has a state that could be lost."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

__all__ = ["batch_flips", "batch_rows", "batch_trials"]

ORDER, FLIPS, TRIALS = 1, 2, 3  # what random numbers are for
SEARCHED = 12  # viewpoints tried for each image


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    return torch.from_numpy(_generator(seed, epoch, ORDER).permutation(count))


def batch_rows(seed: int, step: int, count: int, batch: int) -> Tensor:
    """(batch,) rows of ``count`` images for a step counted from 0: each at most once an epoch, batches all full."""
    epoch, place = divmod(step, count // batch)
    return _epoch_order(seed, epoch, count)[place * batch : (place + 1) * batch]


def batch_flips(seed: int, step: int, batch: int) -> Tensor:
    """(batch,) bool, which of them are mirrored: each with probability 0.5."""
    return torch.from_numpy(_generator(seed, step, FLIPS).random(batch) < 0.5)


def batch_trials(seed: int, step: int, batch: int, elevation: float = 0.0) -> Tensor:
    """(k, batch, 6) departures in viewpoint for the search of a step: normal, pitch 8°, yaw 15° and roll 5° wide.

    Seen from an elevation (degrees), what turns about its own vertical also rolls.
    """
    spread = np.radians([8, 15, 5, 0, 0, 0])
    normal = _generator(seed, step, TRIALS).standard_normal((SEARCHED, batch, 6))
    trials = normal * spread
    trials[..., 2] += np.sin(np.radians(elevation)) * trials[..., 1]
    return torch.from_numpy(trials.astype(np.float32))


def _generator(seed: int, index: int, purpose: int) -> np.random.Generator:
    """Another stream for every (seed, index, purpose); torch's own generators look at the lowest 32 bits of a seed."""
    return np.random.default_rng([seed, index, purpose])
