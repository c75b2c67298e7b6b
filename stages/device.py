"""Where the numbers are computed, and how the processor treats the smallest of them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from stages.errors import UsageError

__all__ = ["flushing_denormals", "pick_device"]


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


@contextmanager
def flushing_denormals() -> Iterator[None]:
    """Denormals slow a CPU severalfold after some hundred steps; others in this process may want theirs."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
