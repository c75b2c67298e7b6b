"""Measuring: turns are fair, what is counted is known in closed form, and no part is forgotten."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from stages.bench import PARTS, BenchRequest, measure, parts, run, timing
from stages.bench.footprint import Footprint
from stages.bench.parts import Place
from stages.bench.timing import Contestant, count_flops, matmul_peak, race
from stages.errors import UsageError
from stages.progress import Silent

CPU = torch.device("cpu")
DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"


@pytest.fixture
def hasty(monkeypatch):
    """As few calls as can be, on one thread: it waits for no other on a busy machine."""
    for name, value in {"WARM_UPS": 1, "ROUNDS": 1, "SECONDS": 0.0, "SAMPLE": 0.0}.items():
        monkeypatch.setattr(timing, name, value)
    monkeypatch.setattr(measure, "matmul_peak", lambda device, dtype: 1e9)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Clock:
    """Time that passes when a contestant says so."""

    def __init__(self, monkeypatch):
        self.now, self.log = 0.0, []
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def contestant(self, name: str, durations, images: int = 1) -> Contestant:
        durations = iter(durations)

        def call():
            self.log.append(name)
            self.now += next(durations)

        return Contestant(name, 64, images, lambda: call)


def test_contestants_take_turns_and_are_judged_by_the_median_of_warm_calls(monkeypatch):
    monkeypatch.setattr(timing, "SECONDS", 0.0)
    clock = Clock(monkeypatch)
    first, second = race(
        [clock.contestant("a", [60, 3, 2, 2, 2, 9], images=4), clock.contestant("b", [10, 1, 1, 5, 1, 1])], CPU
    )
    assert clock.log == ["a"] * 3 + ["b"] * 3 + ["a", "b"] * 3
    assert (first.seconds, first.best, first.rounds, first.warm_up) == (2, 2, 3, 63)
    assert (second.seconds, second.best, second.warm_up) == (1, 1, 11)
    assert (first.images_per_second, second.images_per_second) == (2, 1)
    assert first.flops is None


def test_quick_calls_are_repeated_and_there_are_as_many_rounds_as_fit(monkeypatch):
    clock = Clock(monkeypatch)
    quick = race([clock.contestant("quick", [2**-8] * 10**4)], CPU)[0]
    assert quick.seconds == 2**-8
    sample = 6 * 2**-8  # the first multiple above 20 ms
    assert quick.rounds == pytest.approx(timing.SECONDS / sample, abs=1)
    assert len(clock.log) == timing.WARM_UPS + 1 + 6 * quick.rounds


def test_operations_are_counted_per_image(hasty):
    weight = torch.ones(5, 7)
    matmul = Contestant("matmul", 64, 3, lambda: lambda: torch.ones(3, 5) @ weight)
    twice = Contestant("twice", 64, 3, lambda: lambda: [torch.ones(3, 5) @ weight for _ in range(2)])
    assert [t.flops for t in race([matmul, twice], CPU, counted=True)] == [2 * 5 * 7] * 2


def test_a_convolution_and_its_gradients_are_counted():
    layer, image = nn.Conv2d(4, 8, 3, bias=False), torch.rand(2, 4, 6, 6)
    forward = 2 * 2 * 8 * 4 * 4 * 4 * 3 * 3  # a multiply-add is two
    assert count_flops(lambda: layer(image)) == forward
    assert count_flops(lambda: layer(image).sum().backward()) == 2 * forward
    image.requires_grad_()
    assert count_flops(lambda: layer(image).sum().backward()) == 3 * forward


def test_matmul_peak_is_what_a_product_takes(monkeypatch, hasty):
    clock = Clock(monkeypatch)

    def ours(contestants, device):
        return race([clock.contestant("matmul", [1.0, 1.0, 0.5])], device)

    monkeypatch.setattr(timing, "race", ours)
    assert matmul_peak(CPU, torch.float32) == 2 * 2048**3 / 0.5
    assert not torch.backends.cuda.matmul.allow_tf32


def test_the_footprint_is_the_peak_above_what_was_there():
    crumbs = [torch.ones(2**14) for _ in range(500)]  # 32 MiB that the C library would keep
    footprint = Footprint(CPU)
    if footprint.before is None:
        pytest.skip("this system does not tell")
    del crumbs
    torch.ones(2**27)  # a compiler's, say
    kept = torch.ones(2**23)
    footprint.begin()
    torch.ones(2**24)
    assert footprint.peak() / 2**20 == pytest.approx(32 + 64 - 32, abs=16)
    assert kept.sum() == 2**23


@pytest.mark.parametrize(
    ("part", "floor"), [("networks", "12.34"), ("perceptual", "7.62")], ids=["networks", "perceptual"]
)
def test_the_floors_of_the_document_are_those_of_the_full_size(part, floor):
    races = [r for r in PARTS[part](Place(64, 1, 1.0, CPU)) if part == "perceptual" or r.part.endswith("+bwd")]
    gflop = sum(count_flops(r.contestants[0].build()) for r in races) / 1e9
    assert f"{gflop:.2f}" == floor
    assert f"| {floor} |" in DOCUMENT.read_text(encoding="utf-8")


def test_parameters_of_the_document():
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, network in parts.Sym3D(64).named_children():
        count = sum(weight.numel() for weight in network.parameters())
        assert f"{name[-1]} {count / 1e6:.2f} M" in text


def test_the_twin_draws_one_small_image_and_ours_a_whole_batch_twice():
    forward, backward = PARTS["raster"](Place(64, 8, 1.0, CPU))
    assert forward.contestants[0].name == "reference"
    assert [c.images for c in forward.contestants] == [1] + [16] * (len(forward.contestants) - 1)
    assert [c.name for c in forward.contestants[1:]] == [c.name for c in backward.contestants]
    assert backward.contestants[-1].name == "numba"
    larger = next(PARTS["raster"](Place(128, 8, 1.0, CPU)))
    assert "reference" not in [c.name for c in larger.contestants]


def test_rasterising_reaches_the_points():
    *_, ours = next(iter(PARTS["raster"](Place(64, 1, 1.0, CPU)))).contestants
    assert ours.build()() is None


def test_pictures_are_drawn_by_both_painters(monkeypatch):
    monkeypatch.setattr(parts, "PICTURE", 32)
    (contest,) = PARTS["picture"](Place(64, 1, 1.0, CPU))
    twin, ours = (contestant.build()() for contestant in contest.contestants)
    assert [c.name for c in contest.contestants] == ["torch", "numba"]
    assert ours.shape == (8, 3, 32, 32)
    assert not torch.equal(ours[0], ours[7])
    assert (ours - twin).abs().mean() < 0.05  # the texture is noise


def test_half_precision_is_a_way_where_the_processor_has_it(monkeypatch):
    monkeypatch.setattr(Place, "precisions", ("float32", "bf16"))
    place = Place(64, 1, 0.0625, CPU)
    contests = [*PARTS["networks"](place), *PARTS["perceptual"](place)]
    assert {tuple(c.precision for c in contest.contestants) for contest in contests} == {("float32", "bf16")}
    counted = [count_flops(c.build()) for c in contests[1].contestants]
    assert counted[0] == counted[1] > 0


def test_batches_come_alike_from_host_and_device():
    torch.manual_seed(0)
    batch = parts._load(Place(64, 4, 1.0, CPU), "resident")()
    torch.manual_seed(0)
    assert torch.equal(parts._load(Place(64, 4, 1.0, CPU), "from host")(), batch)
    assert batch.shape == (4, 3, 64, 64)
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_a_step_of_the_bench_learns():
    place = Place(64, 2, 0.0625, CPU)
    torch.manual_seed(0)
    step = parts.steps(place)[0].build()
    values = [step() for _ in range(2)]
    names = ["total", "photo", "photo_flip", "perceptual", "perceptual_flip", "gradient_norm", "stop"]
    assert all(list(found) == names and np.isfinite([*found.values()]).all() for found in values)
    assert values[0]["gradient_norm"] > 0
    assert values[0]["total"] != values[1]["total"]


def test_a_graph_is_a_way_on_cuda_and_left_out_with_the_reason_where_it_cannot_be_recorded(hasty, monkeypatch):
    cuda = Place(64, 2, 0.0625, torch.device("cuda"))
    monkeypatch.setattr(Place, "precisions", ("float32", "bf16"))
    assert [(way.name, way.precision) for way in parts.steps(cuda)] == [
        ("float32", "float32"),
        ("bf16", "bf16"),
        ("graph", "bf16"),
    ]
    # On a CPU, a recorder that does its work again is one that is right.
    here, said = Place(64, 2, 0.0625, CPU), []
    monkeypatch.setattr(parts, "VGG16Features", lambda: nn.AvgPool2d(4))
    monkeypatch.setattr(parts, "cuda_graph", lambda call: call)
    ways = [Contestant("graph", 64, 2, lambda: parts._train(here, "float32", recorded=True))]
    assert [timing.contestant.name for timing in race(ways, CPU)] == ["graph"]
    monkeypatch.setattr(parts, "cuda_graph", lambda call: lambda: {"total": torch.zeros(())})
    assert race(ways, CPU, leave_out=lambda way, reason: said.append((way.name, reason))) == []
    assert said[0][0] == "graph"
    assert "learns other weights" in said[0][1]


def test_every_part_is_measured(hasty, monkeypatch):
    monkeypatch.setattr(parts, "INFERENCE_BATCHES", (1,))
    wanted = tuple(part for part in PARTS if part not in ("raster", "picture"))
    result = run(BenchRequest(batches=(2,), width=0.0625, parts=wanted, device="cpu"))
    found = {}
    for row in result.rows:
        found.setdefault(row.part, []).append(row)
    networks = [f"net{letter}{how}" for letter in "DALVC" for how in ("", "+bwd")]
    assert list(found) == [*networks, "perceptual", "step", "inference", "loader"]
    assert [row.way for row in found["inference"]] == ["plain", "quick"]
    for part, rows in found.items():
        for row in rows:
            assert row.images_per_second == pytest.approx(row.images / row.ms * 1e3)
            assert row.ratio == pytest.approx(row.images_per_second / rows[0].images_per_second)
            assert row.size == 64
            if part == "loader":
                assert row.gflop is None
                assert row.peak is None
            else:
                assert row.peak == pytest.approx(row.gflop * row.images_per_second / result.matmul["float32"])
    assert result.growth == ()
    assert "random weights" in result.machine["perceptual"]


def test_growth_of_the_fastest_step_over_sizes_and_batches(hasty, monkeypatch):
    def steps(place):
        return [Contestant(way, place.size, place.batch, lambda: lambda: None) for way in ("float32", "fast")]

    monkeypatch.setattr(measure, "steps", steps)
    monkeypatch.setattr(parts, "steps", steps)
    result = run(BenchRequest(sizes=(64, 128), batches=(2, 1), parts=("step",)))
    assert [(g.way, g.size, g.images) for g in result.growth] == [("fast", 64, 2), ("fast", 128, 2), ("fast", 64, 1)]
    first = result.growth[0]
    assert [g.times * first.ms for g in result.growth] == pytest.approx([g.ms for g in result.growth])
    assert [(row.way, row.size) for row in result.rows] == [
        ("float32", 64),
        ("fast", 64),
        ("float32", 128),
        ("fast", 128),
    ]
    assert run(BenchRequest(sizes=(64, 128), parts=("loader",))).growth == ()


def test_what_does_not_fit_into_memory_is_left_out_and_said(hasty, monkeypatch):
    def full():
        raise torch.OutOfMemoryError

    def steps(place):
        return [Contestant("wide", 64, 4, full), Contestant("fits", 64, 4, lambda: lambda: None)]

    class Warnings(Silent):
        def warn(self, text):
            said.append(text)

    said = []
    monkeypatch.setattr(parts, "steps", steps)
    result = run(BenchRequest(parts=("step",), device="cpu"), report=Warnings())
    assert [(row.way, row.ratio) for row in result.rows] == [("fits", 1)]
    assert said == ["step wide, 4 images of 64 pixels: out of memory; left out"]


@pytest.mark.parametrize("asked", [{"parts": ("paint",)}, {"sizes": (96,)}, {"sizes": ()}])
def test_what_cannot_be_measured_is_said_at_once(asked):
    with pytest.raises(UsageError, match="choose from"):
        run(BenchRequest(**asked))
