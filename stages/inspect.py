"""What a file is: schema, shapes, units, digest and the chain of everything it was made from (``sym3d info``)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.artifact import SCHEMAS, Artifact, Origin, open_artifact, origin_of
from stages.progress import Report, Silent

__all__ = ["DatasetInfo", "InfoRequest", "InfoResult", "run"]


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
    with open_artifact(request.path, report=report, verify=request.verify) as artifact:
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
            origin=origin_of(artifact),
        )


def _describe(artifact: Artifact, name: str) -> DatasetInfo:
    data, field = artifact[name], SCHEMAS[artifact.schema].field(name)
    dtype = "text" if data.dtype.kind == "S" else str(data.dtype)
    if field is None:
        return DatasetInfo(name, data.shape, dtype, "", "", "", "", "not part of the schema")
    axes = " ".join(map(str, field.dims or ()))
    return DatasetInfo(name, data.shape, dtype, axes, field.unit, field.range, field.frame, field.doc)
