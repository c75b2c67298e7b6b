"""The images that a training learns from and is judged by."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stages.artifact import SPLITS, make_provenance, open_artifact
from stages.device import pick_device
from stages.errors import InputError, UsageError
from stages.progress import Report
from stages.recipe import Recipe
from stages.steps import TrainingImages
from stages.truth import true_depth
from stages.validation import ValidationImages

__all__ = ["TrainingData", "load_training_data"]


@dataclass(frozen=True)
class TrainingData:
    """The images in memory: 64-pixel sets fit, and one array beats any loader."""

    train: TrainingImages
    validation: ValidationImages
    parent: dict  # for the provenance


def load_training_data(path: Path, recipe: Recipe, processes: int, report: Report) -> TrainingData:
    """The train and validation split of a ``sym3d.images`` file, on the device, with true depth where it is wanted.

    Raises InputError when the file doesn't fit the recipe, UsageError when processes cannot share its batches evenly.
    """
    device = pick_device()
    size, batch = recipe.model.size, recipe.optim.batch
    with open_artifact(path, "sym3d.images", report) as images:
        if images["image"].shape[1] != size:
            raise InputError(
                path,
                f"has images of {images['image'].shape[1]} pixels and the recipe trains at {size}",
                f"prepare them with --size {size}, or set model.size",
            )
        split = images["split"][:]
        train, validation = (np.flatnonzero(split == SPLITS[name]) for name in ("train", "val"))
        if len(train) < batch:
            raise InputError(
                path, f"has {len(train)} training images for batches of {batch}", "add images, or lower optim.batch"
            )
        if batch % processes:
            raise UsageError(
                f"{processes} processes", f"cannot share batches of {batch} evenly", "set optim.batch to a multiple"
            )
        validation = validation[: recipe.run.validate_images]
        truth = "depth" in images and "mask" in images
        supervised = recipe.loss.supervised
        if supervised and not truth:
            raise InputError(path, "has no true depth to learn from", "train with loss.supervised=false")
        known = [part.to(device) for part in true_depth(images, train)] if supervised else (None, None)
        judged = [part.to(device) for part in true_depth(images, validation)] if truth else (None, None)
        return TrainingData(
            train=TrainingImages(torch.from_numpy(images["image"][train]).to(device), *known),
            validation=ValidationImages(images["image"][validation], *judged),
            parent=make_provenance(parents=[images])["parents"][0],
        )
