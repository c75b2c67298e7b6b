"""Several processes that train one model, started by torchrun: who is who, and what they tell each other.

Everything else is PyTorch's DistributedDataParallel. Each process takes its share of every batch; see ``Gather`` in
:mod:`stages.core.losses` for why shares add up to the whole.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from stages.errors import UsageError
from stages.torchrun import launched

__all__ = ["Ranks", "is_lost_peer", "joined"]


@dataclass(frozen=True)
class Ranks:
    """This process, the ``rank``-th of ``count`` that take the same steps."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """The one that speaks and writes."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """This process's rows of a batch, which divides by their count."""
        part = batch // self.count
        return slice(self.rank * part, (self.rank + 1) * part)

    def gather(self, rows: Tensor) -> Tensor:
        """Everyone's rows (N, …) as one tensor (count·N, …), the first process's first; gradients find their way."""
        return rows if self.count == 1 else _Gather.apply(rows)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes of tensors of the same shape, without gradients."""
        return self.gather(values.detach()[None]).mean(0)

    def wrap(self, step: nn.Module) -> Callable:
        """A module whose call returns losses; among several, ``backward`` averages its gradients over them.

        A step need not use all networks: the search has no depth network, and without features there is no perceptual
        confidence.
        """
        if self.count == 1:
            return step
        return DistributedDataParallel(step, broadcast_buffers=False, find_unused_parameters=True)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        everyones = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(everyones, rows.contiguous())
        return torch.cat(everyones)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        distributed.all_reduce(gradient)
        return gradient.chunk(distributed.get_world_size())[distributed.get_rank()]


@contextmanager
def joined() -> Iterator[Ranks]:
    """Connected with those that torchrun names: over NCCL and a device for each where there is CUDA, gloo elsewhere.

    Raises UsageError when there are fewer devices than processes here, and as `launched` does.
    """
    ranks = Ranks(*launched())
    if ranks.count == 1:
        yield ranks
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(_own_gpu())
    distributed.init_process_group("nccl" if cuda else "gloo")
    yield ranks
    distributed.destroy_process_group()  # not after an error: it would wait for those that are gone


def _own_gpu() -> int:
    """Raises UsageError when there are more processes here than GPUs: NCCL cannot have two of them share one."""
    local, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if local >= gpus:
        what, fix = f"has no GPU of its own (there are {gpus})", f"start torchrun with --nproc-per-node {gpus}"
        raise UsageError(f"process {local + 1} on this machine", what, fix)
    return local


def is_lost_peer(error: RuntimeError) -> bool:
    """Whether this is how a collective ends when another process went away; gloo has no class for it."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error).lower()
