"""Images in, all factors and the reconstruction out, as the arrays of a ``sym3d.prediction`` file."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stages.artifact import SPLITS, Artifact
from stages.core.inference import QuickSym3D
from stages.core.model import Factors, Reconstruction, Sym3D
from stages.core.reliability import reliability
from stages.errors import InputError, UsageError

__all__ = ["check_split", "predict", "predict_upscaled", "prediction_fields", "split_rows", "to_images", "to_tensor"]


def check_split(split: str) -> None:
    """Raises UsageError unless it is "all", "train", "val" or "test"."""
    if split not in ("all", *SPLITS):
        raise UsageError(f"--split {split}", "there is no such split", "choose from all, train, val, test")


def split_rows(images: Artifact, split: str, size: int) -> np.ndarray:
    """The rows (K,) of a ``sym3d.images`` file in a split, for a model that takes ``size`` pixels.

    Raises InputError when the images have another size or there is none in the split.
    """
    found = images["image"].shape[1]
    if found != size:
        fix = f"make them again with --size {size}, or name a model for {found} pixels"
        fix += " (eval: or add --upscale)" if found > size else ""
        raise InputError(images.path, f"its images have {found} pixels and the model takes {size}", fix)
    splits = images["split"][:]
    rows = np.flatnonzero((splits == SPLITS[split]) if split != "all" else np.ones_like(splits))
    if not len(rows):
        what = "holds no image" if split == "all" else f"has no image in its split {split!r}"
        raise InputError(images.path, what, "name another file or --split")
    return rows


def to_tensor(images: np.ndarray | Tensor, device: torch.device | str | None = None) -> Tensor:
    """uint8 (N, H, W, 3) → float32 (N, 3, H, W) in [-1, 1], contiguous as fresh weights are.

    Left in the images' own order, every layer would rearrange its weights: twice the time for one image.
    """
    return torch.as_tensor(images, device=device).permute(0, 3, 1, 2).contiguous() / 127.5 - 1


def to_images(pictures: Tensor) -> np.ndarray:
    """float (N, 3, H, W) in [-1, 1], clipped → uint8 (N, H, W, 3)."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def prediction_fields(model: Sym3D | QuickSym3D) -> tuple[str, ...]:
    """The names of the arrays that :func:`predict` returns."""
    maps = ("canonical_depth", "depth", "valid", "albedo", "shading", "canonical_image", "reconstruction")
    return ("image", *maps, "view", "light", "reliability", *(("confidence",) if model.netC is not None else ()))


@torch.inference_mode()
def predict(model: Sym3D | QuickSym3D, images: np.ndarray, batch: int = 16) -> dict[str, np.ndarray]:
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
        image = to_tensor(chunk, device)
        factors = model.predict(image)
        parts.append({"image": chunk, **_fields(image, factors, model.render(factors))})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def predict_upscaled(model: Sym3D, images: np.ndarray) -> dict[str, np.ndarray]:
    """As :func:`predict`, of images k times the model's size, which it sees averaged over k×k pixels.

    ``depth`` and ``valid`` come at the images' size, everything else at the model's. Pixels are areas here: depth is
    interpolated bilinearly (align_corners=False), and valid is where all of what it was interpolated from is.
    """
    size = images.shape[1]
    found = predict(model, to_images(F.interpolate(to_tensor(images), (model.size, model.size), mode="area")))
    maps = torch.stack([torch.from_numpy(found[name]).float() for name in ("depth", "valid")], 1)
    depth, valid = F.interpolate(maps, (size, size), mode="bilinear", align_corners=False).unbind(1)
    return found | {"depth": depth.numpy(), "valid": (valid == 1).numpy()}


def _fields(image: Tensor, factors: Factors, seen: Reconstruction) -> dict[str, np.ndarray]:
    maps = {
        "canonical_depth": factors.depth,
        "depth": seen.depth,
        "valid": seen.valid,
        "albedo": (factors.albedo / 2 + 0.5).permute(0, 2, 3, 1),
        "shading": seen.shading,
        "view": factors.view,
        "light": factors.light,
        "reliability": reliability(image, seen.image, seen.valid),
    }
    if factors.confidence is not None:
        maps["confidence"] = factors.confidence
    return {
        **{name: value.cpu().numpy() for name, value in maps.items()},
        "canonical_image": to_images(seen.canonical_image),
        "reconstruction": to_images(seen.image * seen.valid[:, None]),  # mid-grey where nothing is seen
    }
