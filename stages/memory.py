"""Memory that is freed is kept for the next step, which wants as much again."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["keeping_memory"]

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # what mallopt(3) calls M_TRIM_THRESHOLD and so on
KEEPING = {TRIM_THRESHOLD: -1, MMAP_MAX: 0}  # the heap never shrinks, and no block lies outside it
RETURNING = {TRIM_THRESHOLD: 64 << 20, MMAP_THRESHOLD: 32 << 20, MMAP_MAX: 65536}  # where glibc's own tuning ends


@contextmanager
def keeping_memory() -> Iterator[None]:
    """Inside, tensors get the pages of those before them; at the end, all that is free goes back to the system.

    glibc returns blocks above 32 MiB at once, and Linux clears every page of those that follow, which takes up to a
    fifth of a step at 128 pixels. Does nothing where the C library has no mallopt.
    """
    try:
        libc = ctypes.CDLL(None)
        mallopt, trim = libc.mallopt, libc.malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, another system
        yield
        return
    for option, value in KEEPING.items():
        mallopt(option, value)
    try:
        yield
    finally:
        for option, value in RETURNING.items():
            mallopt(option, value)
        trim(0)
