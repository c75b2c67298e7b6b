"""Loops compiled by numba, which let other threads run meanwhile."""

from collections.abc import Callable
from contextlib import suppress

import numba

__all__ = ["compiled"]


def compiled(**options) -> Callable:
    """A decorator, ``numba.njit`` with these options. What it compiles is kept beside the code or in the home folder's
    cache; where neither can be written, or the disk is full, every process compiles anew."""

    def decorate(function: Callable) -> Callable:
        try:
            kernel = numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # numba's word for no place to keep it
            return numba.njit(nogil=True, **options)(function)
        keep = kernel._cache.save_overload

        def keep_where_there_is_room(*compilation) -> None:
            with suppress(OSError):
                keep(*compilation)

        kernel._cache.save_overload = keep_where_there_is_room
        return kernel

    return decorate
