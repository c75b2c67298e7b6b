"""Where the numbers are computed, and how the processor treats the smallest of them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from stages.errors import UsageError

__all__ = ["fast_precision", "flushing_denormals", "pick_device"]


def pick_device(name: str | None = None) -> torch.device:
    """The named device; None is CUDA where there is one. Raises UsageError when this machine has no such device."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError(f"{device.type} is not supported")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"--device {name}", "this machine has no such device", "use cpu, or see sym3d doctor"
        ) from error
    return device


def fast_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor itself multiplies in it, which is faster than float32; float32 elsewhere."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32


@contextmanager
def flushing_denormals() -> Iterator[None]:
    """Denormals slow a CPU severalfold after some hundred steps; others in this process may want theirs."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
