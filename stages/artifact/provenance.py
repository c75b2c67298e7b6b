"""Where an artifact came from: code, versions, command, recipe, and the same of everything it was made from."""

import functools
import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["make_provenance"]

ARGV_KEPT = 64  # a shell glob can put thousands of file names on the command line


def make_provenance(*, recipe: str = "", seed: int | None = None, parents: Sequence[Any] = ()) -> dict:
    """Describe this run for an artifact's ``provenance``.

    recipe: full text of what determines the result (a recipe, or the options of the command in a stable order).
    parents: open artifacts, or dicts with at least ``name`` and ``digest`` for sources that are no artifacts.
    Only recipe, seed and the parents' digests decide whether a result is stale; the rest is for people.
    """
    argv = [*(Path(name).name for name in sys.argv[:1]), *sys.argv[1:]]  # where sym3d is installed is nobody's business
    if len(argv) > ARGV_KEPT:
        argv = [*argv[:ARGV_KEPT], f"... and {len(argv) - ARGV_KEPT} more"]
    return {
        "git": dict(_git_state()),
        "versions": dict(_versions()),
        "seed": seed,
        "argv": argv,
        "recipe": recipe,
        "parents": [_parent(parent) for parent in parents],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _parent(parent: Any) -> dict:
    if isinstance(parent, dict):
        return parent
    return {
        "name": parent.path.name,
        "schema": parent.schema,
        "digest": parent.digest,
        "provenance": parent.provenance,
    }


@functools.cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("sym3d", "torch", "numpy"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


@functools.cache
def _git_state() -> dict[str, str | bool]:
    """Revision and dirty flag of the sym3d checkout; empty for an installed copy, whatever checkout that lies in."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"revision": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {}
