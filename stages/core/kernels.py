"""Loops compiled by numba, which let other threads run meanwhile."""

from collections.abc import Callable

import numba

__all__ = ["compiled"]


def compiled(**options) -> Callable:
    """A decorator, ``numba.njit`` with these options. What it compiles is kept beside the code or in the home folder's
    cache; where neither can be written, every process compiles anew."""

    def decorate(function: Callable) -> Callable:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # numba's word for no place to keep it
            return numba.njit(nogil=True, **options)(function)

    return decorate
