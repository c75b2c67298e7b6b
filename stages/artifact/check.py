"""Whether an HDF5 file is safe to read and is what its schema says. Hostile files are expected: nothing is followed,
decompressed or allocated before its kind and size are known. Every fault is a ValueError in plain words."""

import math
import reprlib
from typing import Any

import h5py

from stages.artifact.schema import TEXT_BYTES, Attribute, Field, Schema

__all__ = ["BROKEN", "check_attrs", "check_dataset", "check_fields", "check_provenance", "list_datasets"]

# What a damaged or hostile file makes HDF5, and whoever reads with it, raise.
BROKEN = (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError)
MAX_OBJECTS = 2000  # each takes a millisecond or more to look at; the largest training has 900
MAX_DEPTH = 8
MAX_CHUNK_BYTES = MAX_ROW_BYTES = 256 << 20  # what is read at once
MAX_INFLATION = 1040  # deflate cannot do better than 1032 to 1
PLAIN_LAYOUTS = (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED)
KNOWN_FILTERS = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE)
PROVENANCE_TYPES = {"git": dict, "versions": dict, "argv": list, "recipe": str, "parents": list, "created": str}
KINDS = {"u1": ("u", 1), "f4": ("f", 4), "f8": ("f", 8), "bool": ("b", 1)}


def list_datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Every dataset by path, in order; raises ValueError for links, layouts and sizes that no artifact has."""
    found: dict[str, h5py.Dataset] = {}
    seen = {_address(file)}
    waiting: list[tuple[str, h5py.Group, int]] = [("", file, 0)]
    while waiting:
        prefix, group, depth = waiting.pop()
        for key in group:
            path = f"{prefix}{key}"
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"'{path}' is a soft or external link")
            item = group[key]
            if _address(item) in seen or depth >= MAX_DEPTH or len(seen) >= MAX_OBJECTS:
                raise ValueError(f"'{path}' is linked twice, nested too deeply or one of too many")
            seen.add(_address(item))
            if isinstance(item, h5py.Group):
                waiting.append((f"{path}/", item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                check_dataset(path, item)
                found[path] = item
            else:
                raise ValueError(f"'{path}' is neither group nor dataset")
    return dict(sorted(found.items()))


def _address(item: Any) -> int:
    return h5py.h5o.get_info(item.id).addr


def check_dataset(path: str, dataset: h5py.Dataset) -> None:
    """Raise ValueError for a dataset kept elsewhere, that is no plain numbers or text, or is larger than its file."""
    plist = dataset.id.get_create_plist()
    layout = plist.get_layout()
    if layout not in PLAIN_LAYOUTS or plist.get_external_count() > 0:
        raise ValueError(f"'{path}' takes its data from elsewhere (virtual or external storage)")
    if any(plist.get_filter(index)[0] not in KNOWN_FILTERS for index in range(plist.get_nfilters())):
        raise ValueError(f"'{path}' is compressed by a filter other than gzip and shuffle")
    if dataset.shape is None or dataset.dtype.kind not in "buifS":
        raise ValueError(f"'{path}' holds neither numbers nor fixed-width text")
    wanted = math.prod(dataset.shape) * dataset.dtype.itemsize
    if wanted > max((1, *dataset.shape[:1])) * MAX_ROW_BYTES:
        raise ValueError(f"'{path}' claims absurdly large rows, of shape {dataset.shape[1:]}")
    stored = dataset.id.get_storage_size()
    if layout == h5py.h5d.CHUNKED:
        chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize
        if chunk > MAX_CHUNK_BYTES:
            raise ValueError(f"'{path}' has absurdly large chunks")
        stored *= MAX_INFLATION
    if wanted > stored:
        raise ValueError(f"'{path}' claims shape {dataset.shape}, far more than the file holds")


def check_fields(schema: Schema, datasets: dict[str, Any]) -> None:
    """Raise ValueError unless names, types and shapes are those of the schema; unknown datasets are passed over."""
    for name, field in schema.fields.items():
        if field.required and not any(schema.field(dataset) is field for dataset in datasets):
            raise ValueError(f"has no '{name}'")
    lengths: dict[str, tuple[int, str]] = {}
    for name, dataset in datasets.items():
        field = schema.field(name)
        if field is None:
            continue
        if not _type_fits(field, dataset.dtype):
            raise ValueError(f"'{name}' holds {dataset.dtype}, not {field.dtype}")
        if field.dims is None:
            continue
        if len(field.dims) != len(dataset.shape):
            raise ValueError(f"'{name}' has shape {dataset.shape}, not {_words(field.dims)}")
        for symbol, length in zip(field.dims, dataset.shape, strict=True):
            if isinstance(symbol, int) and length != symbol:
                raise ValueError(f"'{name}' has shape {dataset.shape}, not {_words(field.dims)}")
            known, where = lengths.setdefault(str(symbol), (length, name))
            if length != known:
                raise ValueError(f"'{name}' has {symbol} = {length}, but '{where}' has {known}")


def _type_fits(field: Field, dtype: Any) -> bool:
    if field.dtype == "any":
        return True
    if field.dtype == "utf8":
        return dtype.kind == "S" and dtype.itemsize <= TEXT_BYTES
    return (dtype.kind, dtype.itemsize) == KINDS[field.dtype] and dtype.isnative


def _words(dims: tuple[str | int, ...]) -> str:
    return "(" + ", ".join(map(str, dims)) + ")"


def check_attrs(schema: Schema, attrs: dict[str, Any]) -> None:
    """Raise ValueError unless the attributes are of the schema's types and ranges; unknown ones are passed over."""
    for name, known in schema.attrs.items():
        if name not in attrs:
            if known.required:
                raise ValueError(f"has no attribute {name}")
        elif not _attribute_fits(known, attrs[name]):
            raise ValueError(f"attribute {name} is {reprlib.repr(attrs[name])}, which makes no sense")
    for name, known in schema.attrs.items():
        if known.below and not attrs[name] < attrs[known.below]:
            raise ValueError(f"attribute {name} is not smaller than {known.below}")


def _attribute_fits(known: Attribute, value: Any) -> bool:
    if known.kind == "dict":
        return isinstance(value, dict)
    if known.kind == "ints":
        return isinstance(value, list) and all(_number_fits(known, item, (int,)) for item in value)
    return _number_fits(known, value, (int,) if known.kind == "int" else (int, float))


def _number_fits(known: Attribute, value: Any, kinds: tuple[type, ...]) -> bool:
    return type(value) in kinds and known.above < value <= known.most  # no bool, and no NaN


def check_provenance(provenance: Any) -> None:
    """Raise ValueError unless the chain of parents can be walked and its known entries are of their types."""
    waiting = [provenance]
    while waiting:
        link = waiting.pop()
        if not isinstance(link, dict) or any(
            key in link and not isinstance(link[key], kind) for key, kind in PROVENANCE_TYPES.items()
        ):
            raise ValueError("its provenance is malformed")
        for parent in link.get("parents", []):
            if not isinstance(parent, dict):
                raise ValueError("its provenance is malformed")
            waiting.append(parent.get("provenance", {}))
