"""Text that any terminal can take: nothing in it moves the cursor, and no letter is beyond the locale."""

import codecs

__all__ = ["clean", "register_plain"]

PLAIN = {"·": "|", "×": "x", "±": "+-", "°": " deg", "⁻": "-", "²": "2", "…": "...", "→": "->", "━": "-", "╸": "-"}


def clean(text: object) -> str:
    """Text in which nothing can move the cursor, break the line or fail to encode: such characters become escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


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
