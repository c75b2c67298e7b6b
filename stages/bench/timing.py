"""Fair times: contestants take turns (A B A B …), so that a busy machine hurts all of them alike."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch.utils.flop_counter import FlopCounterMode

from stages.bench.footprint import Footprint

__all__ = ["Contestant", "LeftOutError", "Timing", "count_flops", "matmul_peak", "race"]

WARM_UPS = 2  # calls: compile, tune, record
ROUNDS = 3  # at least
SECONDS = 2.0  # per contestant; as many more rounds as fit
SAMPLE = 0.02  # seconds; a quicker call is repeated until then, so that neither the clock nor one launch counts

Call = Callable[[], object]


class LeftOutError(Exception):
    """Why a contestant cannot take part here."""


@dataclass(frozen=True)
class Contestant:
    """``build()`` makes what is needed and returns the call to be timed, which does ``images`` images of ``size``².

    It may raise LeftOutError.
    """

    name: str
    size: int
    images: int
    build: Callable[[], Call]
    precision: str = "float32"  # of its matrix products


@dataclass(frozen=True)
class Timing:
    """Of one call, when everything is compiled and warm."""

    contestant: Contestant
    seconds: float  # median
    best: float
    rounds: int
    warm_up: float  # seconds to build it and for the first calls
    memory: int | None  # bytes at the peak, weights included; see Footprint
    flops: float | None  # per image, counted on the first that fits: all do the same mathematics

    @property
    def images_per_second(self) -> float:
        return self.contestant.images / self.seconds


@dataclass
class _Entrant:
    contestant: Contestant
    call: Call
    repeats: int
    warm_up: float
    memory: int | None
    samples: list[float] = field(default_factory=list)


def race(
    contestants: Sequence[Contestant],
    device: torch.device,
    *,
    counted: bool = False,
    leave_out: Callable[[Contestant, str], None] = lambda contestant, reason: None,
) -> list[Timing]:
    """Build and warm up all, then time one call of each in turn, round after round; ``counted`` gives their FLOPs.

    ``leave_out`` hears of those that cannot take part, such as for want of a CUDA device's memory, and why.
    """
    entered = [_enter_if_it_can(contestant, device, leave_out) for contestant in contestants]
    entrants = [entrant for entrant in entered if entrant]
    flops = count_flops(entrants[0].call) / entrants[0].contestant.images if counted and entrants else None
    start, rounds = time.perf_counter(), 0
    while rounds < ROUNDS or time.perf_counter() - start < SECONDS * len(entrants):
        for entrant in entrants:
            entrant.samples.append(_seconds(entrant.call, entrant.repeats, device))
        rounds += 1
    return [
        Timing(e.contestant, statistics.median(e.samples), min(e.samples), rounds, e.warm_up, e.memory, flops)
        for e in entrants
    ]


def _enter_if_it_can(
    contestant: Contestant, device: torch.device, leave_out: Callable[[Contestant, str], None]
) -> _Entrant | None:
    gc.collect()  # what others left must not be taken for this one's
    try:
        return _enter(contestant, device)
    except torch.OutOfMemoryError:
        leave_out(contestant, "out of memory")
    except LeftOutError as error:
        leave_out(contestant, str(error))
    return None


def _enter(contestant: Contestant, device: torch.device) -> _Entrant:
    footprint, start = Footprint(device), time.perf_counter()
    call = contestant.build()
    _seconds(call, WARM_UPS, device)
    warm_up = time.perf_counter() - start
    footprint.begin()
    seconds = _seconds(call, 1, device)
    return _Entrant(contestant, call, max(1, math.ceil(SAMPLE / seconds)), warm_up, footprint.peak())


def _seconds(call: Call, repeats: int, device: torch.device) -> float:
    """Of one of ``repeats`` calls."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / repeats


def count_flops(call: Call) -> int:
    """Floating-point operations of the convolutions and matrix products in one call, a multiply-add being two."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the quickest product of two square matrices: what this machine can do at best, here and now.

    In float32 on CUDA it is with TF32 where convolutions may use it.
    """
    best, before = 0.0, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        for side in (4096, 8192) if device.type == "cuda" else (1024, 2048):
            a, b = torch.randn(2, side, side, device=device).to(dtype)
            timing = race([Contestant("matmul", side, 1, lambda a=a, b=b: lambda: a @ b)], device)[0]
            best = max(best, 2 * side**3 / timing.best)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return best
