"""Images in, all factors and the reconstruction out, as the arrays of a ``sym3d.prediction`` file."""

import numpy as np
import torch
from torch import Tensor

from stages.core.model import Factors, Reconstruction, Sym3D

__all__ = ["predict", "prediction_fields", "to_images", "to_tensor"]


def to_tensor(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 (N, H, W, 3) → float32 (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_images(pictures: Tensor) -> np.ndarray:
    """float (N, 3, H, W) in [-1, 1], clipped → uint8 (N, H, W, 3)."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def prediction_fields(model: Sym3D) -> tuple[str, ...]:
    """The names of the arrays that :func:`predict` returns."""
    maps = ("canonical_depth", "depth", "valid", "albedo", "shading", "canonical_image", "reconstruction")
    return ("image", *maps, "view", "light", *(("confidence",) if model.netC is not None else ()))


@torch.inference_mode()
def predict(model: Sym3D, images: np.ndarray, batch: int = 16) -> dict[str, np.ndarray]:
    """What the model says about uint8 images (N, S, S, 3), S the model's size, ``batch`` at a time.

    Returns the fields of ``sym3d.prediction`` but for the name; ``confidence`` only when the model has the network.
    Runs where the model's weights are. Raises ValueError when the images have another size.
    """
    if images.shape[1:] != (model.size, model.size, 3):
        raise ValueError(f"images of shape {images.shape} for a model of {model.size} pixels")
    device = next(model.parameters()).device
    parts = []
    for start in range(0, len(images), batch):
        chunk = images[start : start + batch]
        factors = model.predict(to_tensor(chunk, device))
        parts.append({"image": chunk, **_fields(factors, model.render(factors))})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _fields(factors: Factors, seen: Reconstruction) -> dict[str, np.ndarray]:
    light = torch.cat([factors.ambient[:, None], factors.diffuse[:, None], factors.light_direction], 1)
    maps = {
        "canonical_depth": factors.depth,
        "depth": seen.depth,
        "valid": seen.valid,
        "albedo": (factors.albedo / 2 + 0.5).permute(0, 2, 3, 1),
        "shading": seen.shading,
        "view": factors.view,
        "light": light,
    }
    if factors.confidence is not None:
        maps["confidence"] = factors.confidence
    return {
        **{name: value.cpu().numpy() for name, value in maps.items()},
        "canonical_image": to_images(seen.canonical_image),
        "reconstruction": to_images(seen.image * seen.valid[:, None]),  # mid-grey where nothing is seen
    }
