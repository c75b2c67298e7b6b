"""A kernel over the images of a batch, on as many threads as torch may use.

Threads are Python's own (the kernels release the GIL) rather than numba's: its OpenMP layer aborts in a forked child
and its other built-in layer aborts when two threads call it at once.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise

import torch

__all__ = ["over_images"]


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="sym3d-kernel")


if hasattr(os, "register_at_fork"):  # a child inherits the pool but not its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def over_images(kernel: Callable, count: int, *arguments) -> None:
    """Run ``kernel(start, stop, …)`` over ``count`` images on as many threads as torch may use."""
    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        kernel(0, count, *arguments)
        return
    parts = min(count, 4 * threads)  # more parts than threads: a thread whose core is busy takes fewer
    bounds = [count * part // parts for part in range(parts + 1)]
    jobs = [_pool(torch.get_num_threads()).submit(kernel, *span, *arguments) for span in pairwise(bounds)]
    for job in jobs:
        job.result()
