"""The triton rasteriser on a real device: repeatable to the bit, without waiting, in a CUDA graph, and how quick."""

import pytest
import torch

from stages.core.camera import apply_view, back_project
from stages.core.raster import rasterise_depth

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def surfaces(count, seed=0):
    """Points of ``count`` smooth surfaces of 64 × 64 vertices, seen from many sides."""
    generator = torch.Generator().manual_seed(seed)
    coarse = 0.95 + 0.05 * torch.rand(count, 1, 8, 8, generator=generator)
    depth = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic", align_corners=False)[:, 0]
    view = torch.randn(count, 6, generator=generator) * torch.tensor([0.2, 0.4, 0.2, 0.02, 0.02, 0.0])
    return apply_view(back_project(depth), view).cuda()


def depth_and_gradient(points):
    points = points.detach().requires_grad_()
    depth, valid = rasterise_depth(points)
    depth.square().sum().backward()
    return depth.detach(), valid, points.grad


def test_as_the_cpu_draws_it():
    points = surfaces(32)
    depth, valid, gradient = depth_and_gradient(points)
    expected, covered, slope = depth_and_gradient(points.cpu())
    assert (valid.cpu() != covered).float().mean() < 1e-4
    both = valid.cpu() & covered
    assert ((depth.cpu() - expected).abs()[both] > 1e-5).float().mean() < 1e-3
    assert ((gradient.cpu() - slope).norm() / slope.norm()) < 1e-2


def test_twice_the_same_bits():
    first, second = (depth_and_gradient(surfaces(128)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_host_never_waits():
    points = surfaces(8)
    depth_and_gradient(points)  # compiles and fills the caches
    torch.cuda.set_sync_debug_mode("error")
    try:
        depth_and_gradient(points)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_graph_replays_it_with_other_points():
    points, others = surfaces(16), surfaces(16, seed=1)
    static = points.clone().requires_grad_()

    def call():
        static.grad = None
        depth, valid = rasterise_depth(static)
        depth.square().sum().backward()
        return depth, valid

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        depth, valid = call()
    for now in (points, others):
        with torch.no_grad():
            static.copy_(now)
        graph.replay()
        expected = depth_and_gradient(now)
        found = (depth, valid, static.grad)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_how_near_to_the_memory_it_comes(capsys):
    """A measurement: it fails only when nothing is drawn. The floor reads the vertices and writes the maps once."""
    points = surfaces(128)
    maps = torch.empty(128, 64, 64, device="cuda"), torch.empty(128, 64, 64, dtype=torch.bool, device="cuda")

    def floor():
        torch.amax(points, -1, out=maps[0])
        maps[1].fill_(True)

    times = {
        name: milliseconds(call) for name, call in {"ours": lambda: rasterise_depth(points), "floor": floor}.items()
    }
    with capsys.disabled():
        ratio = times["ours"] / times["floor"]
        print(
            f"\nrasteriser on {torch.cuda.get_device_name()}: {times} ms for 128 grids of 64², {ratio:.1f} × (target 2)"
        )
    assert rasterise_depth(points)[1].any()


def milliseconds(call, rounds=200):
    for _ in range(5):
        call()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(rounds):
        call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / rounds
