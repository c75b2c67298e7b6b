"""The memory that a piece of work needs at its peak."""

import ctypes
from pathlib import Path

import torch

__all__ = ["Footprint"]

STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Footprint:
    """Everything from here on, weights included, above what is in memory now.

    On CUDA that is what torch allocates for tensors. On a CPU it is resident memory, as Linux counts it, once
    :meth:`begin` was called; elsewhere it is not known.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.before = self._start()

    def begin(self) -> None:
        """What was needed only to get here, such as a compiler, does not count.

        On CUDA it does: a recorded graph allocates while it is recorded and never again.
        """
        if self.device.type == "cpu":
            self._start()

    def peak(self) -> int | None:
        """Bytes."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) - self.before
        return None if self.before is None else _resident("VmHWM") - self.before

    def _start(self) -> int | None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return torch.cuda.memory_allocated(self.device)
        try:
            # Freed memory that the C library keeps would be used again without growing.
            ctypes.CDLL(None).malloc_trim(0)
            FORGET.write_text("5")
            return _resident("VmRSS")
        except (OSError, AttributeError, TypeError, KeyError):  # another system, or another C library
            return None


def _resident(key: str) -> int:
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[key].split()[0]) * 1024
