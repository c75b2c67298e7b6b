"""Perceptual weights: where to look for VGG16, and how to read it safely."""

import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from stages.core.perceptual import VGG16_LAYERS, VGG16Features
from stages.errors import InputError, MissingPartError
from stages.io.foreign import read_torch_checkpoint

__all__ = ["ENVIRONMENT", "find_vgg16", "load_vgg16"]

ENVIRONMENT = "SYM3D_VGG16"
KEYS = {f"features.{i}.{part}" for i in VGG16_LAYERS for part in ("weight", "bias")}
MOST_BYTES = 1 << 30  # torchvision's file has 553 MB
MOST_HEADER = 1 << 20  # of safetensors: that of all of VGG16 has 3 kB, that of a million tensors takes a minute to read
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _candidates(path: str | Path | None) -> list[Path]:
    """Where VGG16 is searched, in this order: the recipe's path, the environment variable, the user's cache."""
    if path:
        return [Path(os.path.expanduser(path))]  # unlike Path's own, it leaves "~" alone where there is no home
    named = os.environ.get(ENVIRONMENT)
    cache = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME", "~/.cache"))) / "sym3d"
    return [*([Path(named)] if named else []), cache / "vgg16.safetensors", cache / "vgg16.pth"]


def find_vgg16(path: str | Path | None = None) -> Path:
    """The weights file; ``path`` (a recipe's ``loss.features_path``) is the only candidate when it is given.

    Raises MissingPartError that says where it looked and how to get the file.
    """
    candidates = _candidates(path)
    for candidate in candidates:
        if os.path.isfile(candidate):  # unlike Path's own, also where nobody may look or the name is too long
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
    if file.stat().st_size > MOST_BYTES:
        raise InputError(file, f"has more than {MOST_BYTES >> 20} MiB, which is no VGG16", "give torchvision's vgg16")
    state = _read_safetensors(file) if file.suffix == ".safetensors" else _read_state_dict(file)
    network = VGG16Features()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(file, "is not a VGG16 state dict", "give torchvision's vgg16 or the same keys") from error
    if not all(tensor.isfinite().all() for tensor in network.state_dict().values()):
        raise InputError(file, "holds weights that are not finite", "give torchvision's vgg16, loaded anew")
    return network.eval()


def _read_safetensors(file: Path) -> dict[str, torch.Tensor]:
    """Read, not mapped into memory: a mapped file that is cut short meanwhile ends the process."""
    try:
        with file.open("rb") as stream:
            header = int.from_bytes(stream.read(8), "little")
        if header > MOST_HEADER:
            raise ValueError(f"a header of {header} bytes")
        with safe_open(file, "pt", backend="pread") as tensors:
            state = {key: tensors.get_tensor(key) for key in KEYS.intersection(tensors.keys())}
    except (OSError, ValueError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(file, f"unreadable weights ({reason})", "give a state dict (.pth) or safetensors") from error
    if not all(tensor.dtype in FLOATS for tensor in state.values()):
        raise InputError(file, "its weights are no floating-point numbers of 16 to 64 bits", "give torchvision's vgg16")
    return state


def _read_state_dict(file: Path) -> dict[str, torch.Tensor]:
    states = read_torch_checkpoint(file, KEYS).states
    return {key: torch.from_numpy(array) for key, array in states.get("", {}).items()}
