"""Asymmetric perturbation: the patches that the paper's robustness experiment sticks on its images."""

import hashlib

import numpy as np

__all__ = ["perturb"]

SIDES = (0.2, 0.5)  # of the image
ALPHA = (0.5, 1.0)


def perturb(images: np.ndarray) -> np.ndarray:
    """uint8 (N, S, S, 3) → the same with a rectangle on each: its sides 20 to 50 % of the image's, anywhere inside, of
    a uniformly random colour, with an opacity of 0.5 to 1. An image's own pixels are the seed of its rectangle."""
    return np.stack([_perturb(image) for image in images])


def _perturb(image: np.ndarray) -> np.ndarray:
    dice = np.random.default_rng(list(hashlib.sha256(np.ascontiguousarray(image)).digest()))
    size = image.shape[0]
    height, width = np.rint(size * dice.uniform(*SIDES, 2)).astype(int)
    top, left = dice.integers(0, (size - height + 1, size - width + 1))
    alpha, colour = dice.uniform(*ALPHA), dice.uniform(0, 255, 3)
    patched = image.copy()
    patch = patched[top : top + height, left : left + width]
    patch[:] = np.rint((1 - alpha) * patch + alpha * colour)
    return patched
