"""Which parts are measured where, and what is said about each."""

import platform
from dataclasses import dataclass
from functools import partial

import torch

from stages.bench.parts import PARTS, PRECISIONS, Place, Race, steps
from stages.bench.timing import Contestant, Timing, matmul_peak, race
from stages.device import flushing_denormals, pick_device
from stages.errors import UsageError
from stages.memory import keeping_memory
from stages.progress import Report, Silent

__all__ = ["BenchRequest", "BenchResult", "Growth", "Row", "run"]

SIZES = (64, 128, 256)
BATCHES = {"cpu": 16, "cuda": 64}
MIB = 2**20


@dataclass(frozen=True)
class BenchRequest:
    """sizes: pixels, each of 64, 128, 256. batches: images in a training step, the first of which the parts are timed
    at; empty is 64 on CUDA and 16 on a CPU. width: of the networks. parts: of PARTS; empty is all. device: None is CUDA
    where there is one.
    """

    sizes: tuple[int, ...] = (64,)
    batches: tuple[int, ...] = ()
    width: float = 1.0
    parts: tuple[str, ...] = ()
    device: str | None = None


@dataclass(frozen=True)
class Row:
    """One way to do one part.

    images: in one call. ms: of a call, the median; best_ms: the least. ratio: of images per second to the first way's.
    gflop: per image, as the first way computes it; peak: fraction of what matrix products of that precision reach;
    both None where it is other things that take the time. mib: memory at the peak, None where it is not known.
    """

    part: str
    way: str
    size: int
    images: int
    ms: float
    best_ms: float
    rounds: int
    images_per_second: float
    ratio: float
    gflop: float | None
    peak: float | None
    mib: float | None
    warm_up_seconds: float


@dataclass(frozen=True)
class Growth:
    """The fastest training step at another size or batch. times: how many times as long as the first takes."""

    way: str
    size: int
    images: int
    ms: float
    images_per_second: float
    times: float
    mib: float | None


@dataclass(frozen=True)
class BenchResult:
    """machine: what was measured on, and how. matmul: precision → GFLOP/s. growth: of the step, over the sizes and
    batches asked for; empty for one of each."""

    machine: dict[str, str]
    matmul: dict[str, float]
    rows: tuple[Row, ...]
    growth: tuple[Growth, ...]


def run(request: BenchRequest, *, report: Report = Silent()) -> BenchResult:
    """Time the parts one after another, and the ways to do each side by side.

    Raises UsageError on a part, size or device that there is not.
    """
    _check(request)
    device = pick_device(request.device)
    at = partial(Place, width=request.width, device=device)
    first, *more = request.batches or (BATCHES[device.type],)
    places = [at(size, first) for size in request.sizes]
    grown = [*places, *(at(request.sizes[0], batch) for batch in more)]
    if len(grown) == 1 or (request.parts and "step" not in request.parts):
        grown = []
    parts = [part for part in PARTS if part in (request.parts or PARTS)]
    with flushing_denormals(), keeping_memory():
        torch.manual_seed(0)
        races = [(place, contest) for place in places for part in parts for contest in PARTS[part](place)]
        rows: list[Row] = []
        with report.task("bench", 1 + len(races) + bool(grown)) as task:
            peaks = {name: matmul_peak(device, PRECISIONS[name]) for name in places[0].precisions}
            task.advance(1, "matmul")
            for place, contest in races:
                timings = _race(contest, device, report)
                rows += [_row(contest.part, timing, timings[0], peaks) for timing in timings]
                task.advance(1, f"{contest.part} at {place.size} pixels")
            growth: list[Growth] = []
            if grown:
                timings = _race(Race("step", [steps(place)[-1] for place in grown], counted=False), device, report)
                growth = [_growth(timing, timings[0]) for timing in timings]
                task.advance(1, "growth")
    matmul = {name: peak / 1e9 for name, peak in peaks.items()}
    return BenchResult(_machine(device), matmul, tuple(rows), tuple(growth))


def _check(request: BenchRequest) -> None:
    for part in request.parts:
        if part not in PARTS:
            raise UsageError(f"--part {part}", "there is no such part", f"choose from {', '.join(PARTS)}")
    for size in request.sizes:
        if size not in SIZES:
            raise UsageError(f"--size {size}", "no network takes this size", "choose from 64, 128, 256")
    if not request.sizes:
        raise UsageError("--size", "there is none", "choose from 64, 128, 256")


def _race(contest: Race, device: torch.device, report: Report) -> list[Timing]:
    """Of those that can take part; of the others there is a warning."""

    def leave_out(way: Contestant, reason: str) -> None:
        report.warn(f"{contest.part} {way.name}, {way.images} images of {way.size} pixels: {reason}; left out")

    return race(contest.contestants, device, counted=contest.counted, leave_out=leave_out)


def _row(part: str, timing: Timing, first: Timing, peaks: dict[str, float]) -> Row:
    speed, flops, way = timing.images_per_second, timing.flops, timing.contestant
    return Row(
        part=part,
        way=way.name,
        size=way.size,
        images=way.images,
        ms=timing.seconds * 1e3,
        best_ms=timing.best * 1e3,
        rounds=timing.rounds,
        images_per_second=speed,
        ratio=speed / first.images_per_second,
        gflop=None if flops is None else flops / 1e9,
        peak=None if flops is None else flops * speed / peaks[way.precision],
        mib=_mib(timing),
        warm_up_seconds=timing.warm_up,
    )


def _growth(timing: Timing, first: Timing) -> Growth:
    return Growth(
        way=timing.contestant.name,
        size=timing.contestant.size,
        images=timing.contestant.images,
        ms=timing.seconds * 1e3,
        images_per_second=timing.images_per_second,
        times=timing.seconds / first.seconds,
        mib=_mib(timing),
    )


def _mib(timing: Timing) -> float | None:
    return None if timing.memory is None else timing.memory / MIB


def _machine(device: torch.device) -> dict[str, str]:
    cuda = device.type == "cuda"
    threads = torch.get_num_threads()
    return {
        "device": torch.cuda.get_device_name(device) if cuda else f"cpu, {threads} threads ({platform.machine()})",
        "torch": torch.__version__,
        "times": "medians of turns A B A B; building, compiling and warming up left out",
        "memory": f"{'allocated' if cuda else 'resident'} at the peak, weights and optimizer included",
        "perceptual": "VGG16 up to relu3_3 with random weights, which cost the same as the trained ones",
    }
