"""Every error that sym3d raises on purpose, and the exit code the command line gives it.

    Sym3dError                1   (never raised itself; an exit code of 1 is a bug, with its traceback)
    ├── UsageError            2   the command or recipe asks for something impossible
    ├── InputError            3   a file, image or artifact is missing, damaged or of the wrong kind
    ├── StaleError            4   an artifact exists but was made from other inputs or another recipe
    ├── MissingPartError      5   an optional part (pip extra, weights file) is not there
    ├── OutputError           6   the result could not be written (full disk, no permission)
    ├── DivergedError         7   training produced a non-finite loss
    └── PeerLostError         9   another process of the same training went away

Every error prints as one line: where, what was wrong, what to do.
"""

__all__ = [
    "DivergedError",
    "InputError",
    "MissingPartError",
    "OutputError",
    "PeerLostError",
    "StaleError",
    "Sym3dError",
    "UsageError",
]


class Sym3dError(Exception):
    """Base class; ``str(error)`` is ``<where>: <what>; <fix>``."""

    exit_code = 1

    def __init__(self, where: object, what: str, fix: str):
        self.where, self.what, self.fix = str(where), what, fix
        super().__init__(f"{where}: {what}; {fix}")


class UsageError(Sym3dError):
    exit_code = 2


class InputError(Sym3dError):
    exit_code = 3


class StaleError(Sym3dError):
    exit_code = 4


class MissingPartError(Sym3dError):
    exit_code = 5


class OutputError(Sym3dError):
    exit_code = 6


class DivergedError(Sym3dError):
    exit_code = 7


class PeerLostError(Sym3dError):
    exit_code = 9
