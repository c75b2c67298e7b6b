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
        if cache := getattr(kernel, "_cache", None):  # none with NUMBA_DISABLE_JIT; numba has no public name for it
            cache.save_overload = _where_there_is_room(cache.save_overload)
        return kernel

    return decorate


def _where_there_is_room(save: Callable) -> Callable:
    def save_or_do_without(*compilation) -> None:
        with suppress(OSError):
            save(*compilation)

    return save_or_do_without
