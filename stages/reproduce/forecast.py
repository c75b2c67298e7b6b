"""How long the trainings of a table will take on a CPU, from a few steps of each kind."""

import heapq
import time
from collections.abc import Sequence

import torch

from stages.checkpoint import TrainingState
from stages.device import flushing_denormals
from stages.loading import build_features, build_model
from stages.ranks import Ranks
from stages.recipe import Recipe
from stages.steps import Losses, TrainingImages, take_step

__all__ = ["makespan", "seconds_per_step"]

WARM, TIMED = 3, 10  # steps
IMAGES = 64  # of noise, which takes as long as faces


def seconds_per_step(recipe: Recipe) -> float:
    """Of a training by this recipe on one thread of the CPU, once it no longer searches for viewpoints or imitates."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with flushing_denormals():
            return _measure(recipe)
    finally:
        torch.set_num_threads(threads)


def makespan(seconds: Sequence[float], places: int) -> float:
    """When the last of some tasks is done that are begun in this order, ``places`` at a time."""
    free = [0.0] * places
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def _measure(recipe: Recipe) -> float:
    size, generator = recipe.model.size, torch.Generator().manual_seed(0)
    shape = (max(IMAGES, recipe.optim.batch), size, size)
    image = torch.randint(256, (*shape, 3), dtype=torch.uint8, generator=generator)
    truth = (torch.ones(shape), torch.ones(shape, dtype=torch.bool)) if recipe.loss.supervised else (None, None)
    data, features = TrainingImages(image, *truth), build_features(recipe)[0]
    model = build_model(recipe.model).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.optim.lr, fused=True)
    begun = max(recipe.optim.search_steps, recipe.optim.imitate_steps)
    state = TrainingState(model, None, optimizer, step=begun)
    losses = Losses(model, features)
    for done in range(WARM + TIMED):
        if done == WARM:
            started = time.perf_counter()
        take_step(state, losses, data, recipe, Ranks(), lambda: False)
    return (time.perf_counter() - started) / TIMED
