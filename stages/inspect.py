"""What a file is: schema, shapes, units, digest and the chain of everything it was made from (``sym3d info``)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.artifact import SCHEMAS, Artifact, open_artifact
from stages.progress import Report, Silent

__all__ = ["DatasetInfo", "InfoRequest", "InfoResult", "Origin", "run"]


@dataclass(frozen=True)
class InfoRequest:
    path: Path
    verify: bool = True  # read all of it against its digest


@dataclass(frozen=True)
class DatasetInfo:
    name: str
    shape: tuple[int, ...]
    dtype: str
    axes: str
    unit: str
    range: str
    frame: str
    doc: str


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


@dataclass(frozen=True)
class InfoResult:
    path: Path
    schema: str
    version: int
    state: str
    digest: str
    count: int
    size_bytes: int
    datasets: tuple[DatasetInfo, ...]
    attrs: dict[str, Any]
    provenance: dict[str, Any]
    origin: Origin


def run(request: InfoRequest, *, report: Report = Silent()) -> InfoResult:
    """Describe an artifact, by default after reading all of it against its digest. Raises InputError."""
    with open_artifact(request.path) as artifact:
        if request.verify:
            artifact.verify()
        top = {"name": artifact.path.name, "schema": artifact.schema, "digest": artifact.digest}
        return InfoResult(
            path=artifact.path,
            schema=artifact.schema,
            version=artifact.version,
            state=artifact.state,
            digest=artifact.digest,
            count=artifact.count,
            size_bytes=artifact.path.stat().st_size,
            datasets=tuple(_describe(artifact, name) for name in artifact.names),
            attrs=artifact.attrs,
            provenance=artifact.provenance,
            origin=_origin({**top, "provenance": artifact.provenance}),
        )


def _describe(artifact: Artifact, name: str) -> DatasetInfo:
    data, field = artifact[name], SCHEMAS[artifact.schema].field(name)
    dtype = "text" if data.dtype.kind == "S" else str(data.dtype)
    if field is None:
        return DatasetInfo(name, data.shape, dtype, "", "", "", "", "not part of the schema")
    axes = " ".join(map(str, field.dims or ()))
    return DatasetInfo(name, data.shape, dtype, axes, field.unit, field.range, field.frame, field.doc)


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
