"""Small models and data sets for the tests of loading, inference, evaluation and import."""

from pathlib import Path

import numpy as np
import torch

from stages.artifact import make_provenance, write_artifact
from stages.core.metrics import evaluation_mask, mad, side
from stages.core.model import Sym3D
from stages.loading import build_model
from stages.recipe import load_recipe, parse_recipe
from stages.train import TrainRequest
from stages.train import run as train

RECIPE = """
name = "small"
[data]
images = "{images}"
make = "sym3d synth faces.h5 -n 24"
[model]
size = {size}
width = 0.0625
[optim]
steps = 10
"""


def small_model(size: int = 64, seed: int = 0, images: str = "faces.h5") -> tuple[Sym3D, str]:
    """A narrow model with fresh weights, and the text of its recipe."""
    recipe = parse_recipe(RECIPE.format(size=size, images=images))
    torch.manual_seed(seed)
    return build_model(recipe.model), recipe.text()


def write_checkpoint(
    path: Path, size: int = 64, seed: int = 0, images: str = "faces.h5", steps: tuple[int, int] = (10, 10), **replaced
) -> Path:
    """A checkpoint at ``steps`` (done, of); ``replaced`` maps dataset → array, or None to leave it out."""
    model, recipe = small_model(size, seed, images)
    arrays = {f"model/{name}": tensor.numpy() for name, tensor in model.state_dict().items()}
    arrays = {name: array for name, array in (arrays | replaced).items() if array is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    attrs = {"step": steps[0], "steps": steps[1], "size": size}
    write_artifact(path, "sym3d.checkpoint", arrays, provenance=make_provenance(recipe=recipe), attrs=attrs)
    return path


def write_data(path: Path, count: int = 10, size: int = 64, seed: int = 0, truth: bool = True, **replaced) -> Path:
    """Random images; the first 60 % train, then validation, the last 30 % test; a bumpy disc as truth."""
    rng = np.random.default_rng(seed)
    split = np.repeat(np.array([0, 1, 2], np.uint8), [count - count // 10 * 4, count // 10, count // 10 * 3])
    arrays = {
        "image": rng.integers(0, 255, (count, size, size, 3), np.uint8),
        "split": split,
        "name": [f"face {row}" for row in range(count)],
        "sha256": [f"{row:064x}" for row in range(count)],
    }
    if truth:
        v, u = np.mgrid[:size, :size] / (size - 1) * 2 - 1
        disc = u**2 + v**2 < 0.7
        height = rng.uniform(0.02, 0.06, (count, 1, 1))
        arrays["depth"] = np.where(disc, 1.0 + height * (u**2 + v**2), 0).astype(np.float32)
        arrays["mask"] = np.repeat(disc[None], count, 0)
    write_artifact(path, "sym3d.images", arrays | replaced, provenance=make_provenance(recipe=f"test {seed}"))
    return path


def trivial_scores(faces: dict[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """SIDE and MAD (degrees) of a constant depth and of the average one, over faces with ``depth`` and ``mask``."""
    mask = torch.from_numpy(faces["mask"])
    depth = torch.where(mask, torch.from_numpy(faces["depth"]), 1.0)
    seen = mask.sum(0)
    average = torch.where(mask, depth, 0).sum(0) / seen.clamp(min=1)
    average = torch.where(seen > 0, average, depth[mask].mean()).expand_as(depth)
    judge = evaluation_mask(mask, torch.ones_like(mask))
    answers = {"constant": torch.ones_like(depth), "average": average}
    return {
        name: (side(answer, depth, judge).mean().item(), mad(answer, depth, judge).mean().item())
        for name, answer in answers.items()
    }


def train_here(jobs, logs, report):
    """As train_all, one after another in this process; what that does more has tests of its own."""
    tiny = ("model.width=0.0625", "optim.batch=4")
    for job in jobs:
        train(TrainRequest(load_recipe(job.recipe, (*job.settings, *tiny)), Path("runs") / job.name, job.data))
    return set()
