"""What differs between what is on disk and what is asked for, in a few words."""

import itertools
from typing import Any

from stages.artifact.meta import parent_digests

__all__ = ["difference", "same_origin"]


def same_origin(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two provenances name the same recipe, seed and parents, and so the same result."""
    return all(one.get(key) == other.get(key) for key in ("recipe", "seed")) and (
        parent_digests(one) == parent_digests(other)
    )


def difference(wanted: dict[str, Any], found: dict[str, Any]) -> str | None:
    """The first difference that makes old rows worthless, or None. Code and library versions are none of them."""
    for key in ("schema", "version"):
        if wanted[key] != found[key]:
            return f"{key} {found[key]!r}, now {wanted[key]!r}"
    now, then = wanted["provenance"], found["provenance"]
    if now.get("recipe") != then.get("recipe"):
        return _recipe_difference(str(now.get("recipe", "")), str(then.get("recipe", "")))
    if now.get("seed") != then.get("seed"):
        return f"seed {then.get('seed')}, now {now.get('seed')}"
    if parent_digests(now) != parent_digests(then):
        names = ", ".join(str(parent.get("name", "?")) for parent in now.get("parents", []))
        return f"the content of its input has changed ({names or 'none now'})"
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
