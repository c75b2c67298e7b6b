"""Perceptual weights: where to look for VGG16, and how to read it safely."""

import os
from pathlib import Path

import torch
from safetensors.torch import load_file

from stages.core.perceptual import VGG16_LAYERS, VGG16Features
from stages.errors import InputError, MissingPartError

__all__ = ["ENVIRONMENT", "find_vgg16", "load_vgg16"]

ENVIRONMENT = "SYM3D_VGG16"


def _candidates(path: str | Path | None) -> list[Path]:
    """Where VGG16 is searched, in this order: the recipe's path, the environment variable, the user's cache."""
    if path:
        return [Path(path).expanduser()]
    named = os.environ.get(ENVIRONMENT)
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "sym3d"
    return [*([Path(named)] if named else []), cache / "vgg16.safetensors", cache / "vgg16.pth"]


def find_vgg16(path: str | Path | None = None) -> Path:
    """The weights file; ``path`` (a recipe's ``loss.features_path``) is the only candidate when it is given.

    Raises MissingPartError that says where it looked and how to get the file.
    """
    candidates = _candidates(path)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise MissingPartError(
        "VGG16 weights",
        f"not found at {', '.join(map(str, candidates))}",
        "save torchvision's vgg16 state dict (vgg16-397923af.pth) or its first seven convolutions (safetensors) there, "
        f"or name it in {ENVIRONMENT} or loss.features_path, or train without it: -s loss.features=none",
    )


def load_vgg16(path: str | Path | None = None) -> VGG16Features:
    """Frozen VGG16 up to relu3_3, from torchvision's state dict (.pth) or safetensors; further layers are ignored.

    Raises MissingPartError when there is no file and InputError when it does not hold these layers.
    """
    file = find_vgg16(path)
    try:
        if file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # on a file of another kind, such as a web page saved by mistake, torch raises anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(file, f"unreadable weights ({reason})", "give a state dict (.pth) or safetensors") from error
    network = VGG16Features()
    wanted = {f"features.{i}.{part}" for i in VGG16_LAYERS for part in ("weight", "bias")}
    state = {key: value for key, value in state.items() if key in wanted} if isinstance(state, dict) else {}
    try:
        network.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise InputError(file, "is not a VGG16 state dict", "give torchvision's vgg16 or the same keys") from error
    if not all(tensor.isfinite().all() for tensor in network.state_dict().values()):
        raise InputError(file, "holds weights that are not finite", "give torchvision's vgg16, loaded anew")
    return network.eval()
