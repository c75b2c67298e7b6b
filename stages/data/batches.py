"""Which images a training step sees. Everything follows from (seed, step): nothing has a state that could be lost."""

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["batch_flips", "batch_rows"]


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(_mix(seed, epoch, 1)))


def batch_rows(seed: int, step: int, count: int, batch: int) -> Tensor:
    """(batch,) rows of ``count`` images for a step counted from 0: each at most once an epoch, batches all full."""
    epoch, place = divmod(step, count // batch)
    return _epoch_order(seed, epoch, count)[place * batch : (place + 1) * batch]


def batch_flips(seed: int, step: int, batch: int) -> Tensor:
    """(batch,) bool, which of them are mirrored: each with probability 0.5."""
    return torch.rand(batch, generator=torch.Generator().manual_seed(_mix(seed, step, 2))) < 0.5


def _mix(seed: int, index: int, purpose: int) -> int:
    """A generator seed that differs for every (seed, index, purpose)."""
    return ((seed * 4 + purpose) << 40) + index & (2**63 - 1)
