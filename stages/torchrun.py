"""Which of several processes this is, as torchrun says it: in the environment."""

import os

from stages.errors import UsageError

__all__ = ["launched"]

NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def launched() -> tuple[int, int]:
    """This process's rank and the count of processes: (0, 1) without torchrun, and for its only one.

    Raises UsageError when the variables that torchrun sets do not fit together: job managers set some of them too.
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if count == "1":
        return 0, 1
    rank = os.environ.get("RANK", "")
    missing = [name for name in NEEDED if name not in os.environ]
    fits = rank.isdecimal() and count.isdecimal() and int(rank) < int(count)
    if missing or not fits:
        what = f"without {missing[0]}" if missing else f"with RANK={rank}"
        raise UsageError(
            f"WORLD_SIZE={count} {what}", "is not what torchrun sets", "start with torchrun, or unset them"
        )
    return int(rank), int(count)
