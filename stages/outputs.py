"""Where results may be written: under the name of a file, in the place of nothing but results."""

import os
from collections.abc import Iterable
from pathlib import Path

from stages.errors import OutputError, UsageError

__all__ = ["check_output", "no_room"]


def check_output(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Raises OutputError where ``path`` is a folder, a device or a pipe, all of which a result would replace, or cannot
    be looked at; UsageError where it is one of the ``inputs``."""
    try:
        if not path.name or path.is_dir():
            raise OutputError(path, "is a folder", "name a file")
        # A link into /proc is what /dev/stdout is, also while that is redirected to a file.
        if (path.exists() and not path.is_file()) or (path.is_symlink() and str(path.readlink()).startswith("/proc/")):
            raise OutputError(path, "is no regular file", "name a file")
        if path.exists() and any(os.path.exists(given) and path.samefile(given) for given in inputs):
            raise UsageError(path, "is what is to be read", "name another output")
    except OSError as error:
        raise OutputError(path, f"cannot be written ({error.strerror})", "choose another output") from error


def no_room(error: OSError) -> OutputError:
    """What to raise where temporary files cannot be written."""
    what = f"could not be written ({error.strerror or error})"
    return OutputError("temporary files", what, "free some space there, or set TMPDIR")
