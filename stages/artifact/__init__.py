"""Artifacts: the HDF5 files that stages hand to one another, and the only place that knows HDF5."""

from stages.artifact.foreign import file_sha256, read_foreign
from stages.artifact.origin import Origin, origin_of
from stages.artifact.provenance import make_provenance
from stages.artifact.reader import Artifact, open_artifact
from stages.artifact.rows import RowWriter
from stages.artifact.schema import SCHEMAS, SPLITS, Field, Schema
from stages.artifact.stale import origin_difference
from stages.artifact.writer import copy_artifact, write_artifact

__all__ = [
    "SCHEMAS",
    "SPLITS",
    "Artifact",
    "Field",
    "Origin",
    "RowWriter",
    "Schema",
    "copy_artifact",
    "file_sha256",
    "make_provenance",
    "open_artifact",
    "origin_difference",
    "origin_of",
    "read_foreign",
    "write_artifact",
]
