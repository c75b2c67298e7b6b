"""From TOML text and ``key=value`` overrides to a `Recipe`, or to one message that names every fault."""

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages.errors import InputError, UsageError
from stages.recipe.sections import Recipe, as_setting, recipe_keys
from stages.recipe.shipped import find_recipe

__all__ = ["load_recipe", "parse_recipe", "path_setting"]

MAX_BYTES = 256 * 1024  # a recipe is a page of text; whatever is larger was named by mistake
MAX_DOTS = 200  # in a line: tomllib takes the square of a key's parts, minutes for a hostile file
MAX_FAULTS = 12  # the rest of a hopeless file would only bury the line


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, or a shipped recipe by its name, and apply ``key=value`` overrides.

    Raises InputError when there is no such file or it is no TOML, UsageError naming every fault in the recipe.
    """
    found = find_recipe(path)
    try:
        with found.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "check the path and its permissions") from None
    except UnicodeDecodeError:
        raise InputError(path, "is no text in UTF-8", "name a recipe, a .toml file") from None
    if len(raw) > MAX_BYTES:
        raise InputError(path, f"is larger than {MAX_BYTES // 1024} KiB", "name a recipe, a small .toml file")
    return parse_recipe(text, overrides, where=str(path))


def parse_recipe(text: str, overrides: Sequence[str] = (), where: str = "recipe") -> Recipe:
    """The recipe that a TOML text describes; raises as `load_recipe`, with ``where`` named in the message."""
    try:
        if any(line.count(".") > MAX_DOTS for line in text.splitlines()):
            raise RecursionError
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also covers numbers of thousands of digits
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(where, f"is not valid TOML: {reason}", "correct that place") from None
    values = _override(values, overrides)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False)
    faults = [_describe(fault) for fault in found[:MAX_FAULTS]]
    more = f" · and {len(found) - MAX_FAULTS} more" if len(found) > MAX_FAULTS else ""
    raise UsageError(
        where,
        " · ".join(faults) + more,
        "correct the recipe or the -s overrides; `sym3d recipes keys` explains every key",
    )


def path_setting(key: str, path: Path) -> str:
    """The override that makes a recipe name this file."""
    return as_setting(key, str(path))


def _override(values: dict, overrides: Sequence[str]) -> dict:
    """Apply ``key=value``; an empty value takes the key out, so that its default holds."""
    values = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    given = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"-s {override}", "is not key=value", "write for example -s optim.lr=3e-4")
        given[key.strip()] = value.strip()
    # A recipe has one length: asking for the other kind replaces it.
    for key, other in (("optim.epochs", "optim.steps"), ("optim.steps", "optim.epochs")):
        if given.get(key) and other not in given:
            given[other] = ""
    for key, value in given.items():
        section, _, leaf = key.rpartition(".")
        table = values.setdefault(section, {}) if section else values
        if not isinstance(table, dict):
            raise UsageError(f"-s {key}", f"{section} is a value, not a section", "see `sym3d recipes keys`")
        if value:
            table[leaf] = _parse_value(value)
        else:
            table.pop(leaf, None)
    return values


def _parse_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _describe(fault: Any) -> str:
    """One pydantic fault as ``section.key: what``."""
    key = ".".join(map(str, fault["loc"])) or "recipe"
    if fault["type"] == "extra_forbidden":
        nearest = _nearest(key)
        return f"{key}: no such key" + (f", did you mean {nearest}?" if nearest else "")
    if fault["type"] == "missing":
        return f"{key}: is missing"
    if fault["type"] == "model_type":
        return f"{key}: must be a section, [{key}]"
    if fault["type"] == "string_pattern_mismatch":
        wanted = "letters, digits and . _ - (at most 64)" if key == "name" else "text without control characters"
        return f"{key}: must be {wanted}"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    shown = "" if isinstance(fault["input"], dict) else f" (got {_short(fault['input'])})"
    return f"{key}: {message[:1].lower()}{message[1:]}{shown}"


def _short(value: Any) -> str:
    text = "a huge number" if isinstance(value, int) and abs(value) > 10**30 else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _nearest(key: str) -> str | None:
    """The known key or section most like this one: the right word in another section, else the nearest spelling."""
    known = [dotted for dotted, _, _ in recipe_keys()] + list(Recipe.model_fields)
    by_word: dict[str, str] = {}
    for dotted in known:
        by_word.setdefault(dotted.rsplit(".", 1)[-1], dotted)
    word = key.rsplit(".", 1)[-1]
    if word in by_word:
        return by_word[word]
    close = difflib.get_close_matches(key, known, n=1)
    return close[0] if close else next((by_word[w] for w in difflib.get_close_matches(word, by_word, n=1)), None)
