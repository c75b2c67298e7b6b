"""The attributes of an artifact's root: what it is, its digest, where it came from, and a few values of its own."""

import json
from typing import Any

import h5py
import numpy as np

__all__ = ["RESERVED", "parent_digests", "plain", "read_meta", "write_meta"]

RESERVED = ("schema", "version", "state", "digest", "provenance")
SCALARS = (bool, int, float, str)


def plain(attrs: dict | None) -> dict[str, Any]:
    """Attributes as plain JSON values (NumPy scalars become Python's); raises ValueError for anything else."""
    result = {}
    for key, value in (attrs or {}).items():
        if isinstance(value, np.generic):
            value = value.item()
        if key in RESERVED or not isinstance(value, (*SCALARS, dict, list)):
            raise ValueError(f"attribute {key!r} cannot be {type(value).__name__} {value!r}")
        if isinstance(value, str) and value[:1] in ("{", "["):
            raise ValueError(f"attribute {key!r}: text that starts with {{ or [ would be read back as JSON")
        result[key] = json.loads(json.dumps(value))
    return result


def write_meta(file: h5py.File, values: dict[str, Any]) -> None:
    """Write root attributes: scalars as they are, dicts and lists as JSON text."""
    for key, value in values.items():
        file.attrs[key] = value if isinstance(value, SCALARS) else json.dumps(value, sort_keys=True)


def read_meta(file: h5py.File) -> dict[str, Any]:
    """All root attributes as plain values; raises ValueError for anything but scalars and JSON text."""
    values = {}
    for key in file.attrs:
        handle = file.attrs.get_id(key)
        if handle.shape != () or handle.get_storage_size() > (64 << 20):
            raise ValueError(f"attribute {key} is no single value")
        value = file.attrs[key]
        value = value.item() if isinstance(value, np.generic) else value
        if not isinstance(value, SCALARS):
            raise ValueError(f"attribute {key} is neither number nor text")
        try:
            values[key] = json.loads(value) if isinstance(value, str) and value[:1] in ("{", "[") else value
        except RecursionError:
            raise ValueError(f"attribute {key} is nested too deeply") from None
    return values


def parent_digests(provenance: dict) -> list[str]:
    return [str(parent.get("digest", "")) for parent in provenance.get("parents", [])]
