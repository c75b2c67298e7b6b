"""What differs between what is on disk and what is asked for, in a few words."""

import itertools
from typing import Any

from stages.artifact.meta import parent_digests

__all__ = ["difference", "origin_difference"]


def origin_difference(now: dict[str, Any], then: dict[str, Any]) -> str | None:
    """What of recipe, seed and parents two provenances differ in; None is the same result."""
    if now.get("recipe") != then.get("recipe"):
        return _recipe_difference(str(now.get("recipe", "")), str(then.get("recipe", "")))
    if now.get("seed") != then.get("seed"):
        return f"seed {then.get('seed')}, now {now.get('seed')}"
    if parent_digests(now) != parent_digests(then):
        names = ", ".join(str(parent.get("name", "?")) for parent in _others(now, then))
        return f"the content of its input has changed ({names or 'none now'})"
    return None


def _others(now: dict[str, Any], then: dict[str, Any]) -> list[dict[str, Any]]:
    """The parents that were others or, where only their number or order differs, all."""
    before, parents = parent_digests(then), now.get("parents", [])
    return [parent for parent in parents if str(parent.get("digest", "")) not in before] or parents


def difference(wanted: dict[str, Any], found: dict[str, Any]) -> str | None:
    """The first difference that makes old rows worthless, or None. Code and library versions are none of them."""
    for key in ("schema", "version"):
        if wanted[key] != found[key]:
            return f"{key} {found[key]!r}, now {wanted[key]!r}"
    if change := origin_difference(wanted["provenance"], found["provenance"]):
        return change
    if wanted["attrs"] != found["attrs"]:
        return f"attributes {found['attrs']}, now {wanted['attrs']}"
    rows_now, rows_then = _rows(wanted), _rows(found)
    if rows_now != rows_then:
        return f"{rows_then} rows, now {rows_now}"
    for name in sorted({*wanted["shapes"], *found["shapes"]}):
        here, there = wanted["shapes"].get(name), found["shapes"].get(name)
        if here != there:
            return f"'{name}' was {there or 'absent'}, now {here or 'absent'}"
    return None


def _rows(identity: dict[str, Any]) -> int:
    return next((shape[0] for shape in identity["shapes"].values()), 0)


def _recipe_difference(now: str, then: str) -> str:
    for new, old in itertools.zip_longest(now.splitlines(), then.splitlines(), fillvalue=""):
        if new != old:
            return f"its recipe said '{old.strip()}', now '{new.strip()}'"
    return "its recipe has other line ends"
