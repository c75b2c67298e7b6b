"""The chain of everything that an artifact was made from, as a tree to walk and print."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stages.artifact.reader import Artifact

__all__ = ["Origin", "origin_of"]


@dataclass(frozen=True)
class Origin:
    """One link of the provenance chain; ``parents`` are the links that it was made from."""

    name: str
    schema: str
    digest: str
    created: str
    revision: str
    command: str
    parents: tuple["Origin", ...]

    def walk(self, depth: int = 0) -> Iterator[tuple[int, "Origin"]]:
        """This link and all before it, each with its distance from the start."""
        yield depth, self
        for parent in self.parents:
            yield from parent.walk(depth + 1)


def origin_of(artifact: Artifact) -> Origin:
    """The chain that ends in this artifact."""
    top = {"name": artifact.path.name, "schema": artifact.schema, "digest": artifact.digest}
    return _origin({**top, "provenance": artifact.provenance})


def _origin(link: dict[str, Any]) -> Origin:
    provenance = link.get("provenance", {})
    git = provenance.get("git") or {}
    return Origin(
        name=str(link.get("name", "?")),
        schema=str(link.get("schema", "")),
        digest=str(link.get("digest", "")),
        created=str(provenance.get("created", "")),
        revision=f"{str(git.get('revision', ''))[:12]}{'+changes' if git.get('dirty') else ''}",
        command=" ".join(map(str, provenance.get("argv", []))),
        parents=tuple(_origin(parent) for parent in provenance.get("parents", [])),
    )
