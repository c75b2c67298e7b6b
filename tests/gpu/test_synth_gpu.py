"""Synthetic faces drawn on a GPU: the same as a CPU's, without waiting, and how many a second."""

import time

import numpy as np
import pytest
import torch

from stages.core import raster
from stages.data.draws import Draws
from stages.data.faces import batch_size, draw_scene, render_faces
from stages.data.surfaces import render
from stages.synth import SynthRequest, draw

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_a_gpu_draws_the_same_faces():
    ours, theirs = render_faces(5, range(48)), render_faces(5, range(48), device="cuda")
    for name in ("view", "light"):
        np.testing.assert_allclose(theirs[name], ours[name], atol=1e-6)
    np.testing.assert_allclose(theirs["keypoints"], ours["keypoints"], atol=1e-3)
    assert (theirs["mask"] != ours["mask"]).mean() < 1e-4
    both = theirs["mask"] & ours["mask"]
    assert (np.abs(theirs["depth"] - ours["depth"])[both] > 2e-6).mean() < 1e-4
    assert (np.abs(theirs["image"].astype(int) - ours["image"]) > 2).mean() < 1e-4


def test_after_the_dice_the_host_never_waits():
    draws = [Draws(5, range(start, start + 8), "cuda") for start in (0, 8)]
    with torch.no_grad():
        for number, dice in enumerate(draws):  # the first fills the caches and compiles the kernels
            torch.cuda.set_sync_debug_mode("error" if number else "default")
            try:
                scene = draw_scene(dice, 64)
                if "triton" in raster.available_backends():
                    render(scene.surface, scene.view, scene.light, scene.background)
            finally:
                torch.cuda.set_sync_debug_mode("default")


def test_images_a_second(capsys):
    """A measurement: it fails only when nothing is drawn. From the dice to arrays on the host, files excluded."""
    request = SynthRequest("nowhere.h5", count=1, seed=7, device="cuda")
    batch = batch_size(64, "cuda")
    for count in (2 * batch, 40 * batch):
        start, done = time.perf_counter(), 0
        for rows, _ in draw(request, np.arange(count)):
            done += len(rows)
        seconds = time.perf_counter() - start
    with capsys.disabled():
        name, peak = torch.cuda.get_device_name(), torch.cuda.max_memory_allocated() / 1e9
        print(f"\nsynth on {name}: {done / seconds:,.0f} images/s with truth, peak {peak:.1f} GB (target 10,000)")
    assert done == count
