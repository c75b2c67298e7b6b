"""Text that any terminal can take: nothing in it moves the cursor, and no letter is beyond the locale."""

import codecs
import re
from collections.abc import MutableMapping

__all__ = ["bound_terminal", "clean", "register_plain", "said"]

LONGEST = 4000  # letters of a message: names in a stranger's file may have millions
MOST_LETTERS = 999  # across or down a terminal
PLAIN = {"·": "|", "×": "x", "±": "+-", "°": " deg", "⁻": "-", "²": "2", "…": "...", "→": "->", "━": "-", "╸": "-"}


def clean(text: object) -> str:
    """Text in which nothing can move the cursor, break the line or fail to encode: such characters become escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def said(text: str) -> str:
    """The one line of a message, clean, and without its middle where it is longer than any path."""
    line = clean(text)
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]}…{line[-LONGEST // 2 :]}"


def register_plain() -> str:
    """Make "plain" an error handler for encoding, and return its name: our own signs become ASCII where the locale
    lacks them, ``SIDE x10-2``, and all other letters escapes."""

    def plain(error: UnicodeError):
        if not isinstance(error, UnicodeEncodeError):
            raise error
        letters = error.object[error.start : error.end]
        escaped = (PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in letters)
        return "".join(escaped), error.end

    codecs.register_error("plain", plain)
    return "plain"


def bound_terminal(environment: MutableMapping[str, str]) -> None:
    """Make the variables that give a terminal's size sensible: Rich fills whole lines, however long they say these are,
    and fails on what is no number."""
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        size = environment.pop(name, "")
        if re.fullmatch("[0-9]*[1-9][0-9]*", size):
            environment[name] = size if len(size) <= len(str(MOST_LETTERS)) else str(MOST_LETTERS)
