"""Read the weights in a torch checkpoint as data, safely: whatever else is pickled in the file stays inert.

torch.load(weights_only=True) refuses the reference implementation's checkpoints, because they hold a training history
of the reference's own class; allowing that class would mean importing it, or calling a stand-in as the file says. And
of a zip that unpacks to any size, it takes all. So the pickle is only looked at (:mod:`stages.io.pickles`), and the
tensors are cut from the raw bytes that it points to.
Both of torch's formats are read: the zip archive (torch ≥ 1.6) and the older sequence of pickles.
"""

import os
import struct
import zipfile
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from stages.errors import InputError
from stages.io.pickles import Call, Name, PickleError, Stored, read_pickle

__all__ = ["TorchCheckpoint", "read_torch_checkpoint"]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2"}
_ITEM_BYTES = {
    **{"FloatStorage": 4, "DoubleStorage": 8, "HalfStorage": 2, "BFloat16Storage": 2, "BoolStorage": 1},
    **{"LongStorage": 8, "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1},
}
_REBUILD = {"_rebuild_tensor", "_rebuild_tensor_v2"}
_FIX = "give a checkpoint as torch.save writes it"


class _Unreadable(Exception):
    """What is wrong with the file, in words."""


# ValueError: zipfile lets names through that are not UTF-8; IndexError and struct.error: and directories that are cut.
_DAMAGED = (
    *(_Unreadable, PickleError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError),
    *(ValueError, IndexError, struct.error),
)


@dataclass(frozen=True)
class TorchCheckpoint:
    """The state dicts in a checkpoint and the plain numbers beside them; everything else was left out. A file that is
    one state dict itself has it under ""."""

    states: dict[str, dict[str, np.ndarray]]
    numbers: dict[str, int | float]


def read_torch_checkpoint(path: str | Path, keys: Container[str] | None = None) -> TorchCheckpoint:
    """Read every top-level state dict (a dict of floating-point tensors) of a torch checkpoint, or of it these keys.

    Nothing in the file is executed or imported. Raises InputError when it is missing, damaged, or no torch checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise InputError(path, what, _FIX)
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    content, read_storage = _open_zip(archive)
                    return _collect(content, read_storage, path.stat().st_size, keys)
            file.seek(0)
            content, read_storage = _open_legacy(file)
            return _collect(content, read_storage, path.stat().st_size, keys)
    except _DAMAGED as error:
        reason = " ".join(str(error).split())
        raise InputError(path, f"cannot be read as a torch checkpoint: {reason}", _FIX) from error
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror or error})", "check the file") from error


_ReadStorage = Callable[[str, str, int], np.ndarray]  # (storage class, key, count) → flat array


def _open_zip(archive: zipfile.ZipFile) -> tuple[Any, _ReadStorage]:
    """``<folder>/data.pkl`` beside one stored member ``<folder>/data/<key>`` per storage."""
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1 or len(entries) != len(archive.infolist()):
        raise _Unreadable("it is a zip file, but not one that torch.save wrote")
    folder = pickles[0].removesuffix("data.pkl")

    def member(name: str) -> BinaryIO:
        entry = entries.get(folder + name)
        if entry is None:
            raise _Unreadable(f"{name} is missing in it")
        # torch never compresses; refusing it bounds what can be read by the size of the file.
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise _Unreadable(f"{name} is compressed or encrypted")
        return archive.open(entry)

    if folder + "byteorder" in entries and member("byteorder").read(16) != b"little":
        raise _Unreadable("it was written on a big-endian machine")

    def read_storage(kind: str, key: str, count: int) -> np.ndarray:
        dtype = np.dtype(_DTYPES[kind])
        with member(f"data/{key}") as stream:
            data = stream.read()
        if len(data) != count * dtype.itemsize:
            raise _Unreadable(f"data/{key} has {len(data)} bytes, not {count * dtype.itemsize}")
        return np.frombuffer(data, dtype)

    with member("data.pkl") as stream:
        return read_pickle(stream), read_storage


def _open_legacy(file: BinaryIO) -> tuple[Any, _ReadStorage]:
    """Pickles of a magic number, a version, the writer's machine, the content and the storages' keys; then each
    storage in that order, as a 64-bit count and its bytes."""
    if read_pickle(file) != _LEGACY_MAGIC or read_pickle(file) != 1001:
        raise _Unreadable("it does not start as one")
    machine = read_pickle(file)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise _Unreadable("it was written on a big-endian machine")
    storages: dict[str, tuple[str, int]] = {}
    content = read_pickle(file, lambda key: _register(storages, key))
    keys = read_pickle(file)
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in storages for key in keys):
        raise _Unreadable("the list of its storages does not fit its content")
    size, places = os.fstat(file.fileno()).st_size, {}
    for key in keys:
        kind, count = storages[key]
        head = file.read(8)
        if len(head) < 8 or struct.unpack("<q", head)[0] != count:
            raise _Unreadable(f"storage {key} is not where it should be")
        places[key] = file.tell()
        end = file.seek(count * _ITEM_BYTES[kind], os.SEEK_CUR)
        if end > size:
            raise _Unreadable("it is truncated")

    def read_storage(kind: str, key: str, count: int) -> np.ndarray:
        if key not in places:
            raise _Unreadable(f"storage {key} is missing in it")
        file.seek(places[key])
        dtype = np.dtype(_DTYPES[kind])
        return np.frombuffer(file.read(count * dtype.itemsize), dtype)

    return content, read_storage


def _register(storages: dict[str, tuple[str, int]], stored: Stored) -> None:
    kind, key, count = _storage_of(stored)
    if storages.setdefault(key, (kind, count)) != (kind, count):
        raise _Unreadable(f"storage {key} has two sizes")


def _storage_of(stored: Any) -> tuple[str, str, int]:
    """(class, key, count) of a persistent id ('storage', class, key, device, count[, view])."""
    key = stored.key if isinstance(stored, Stored) else None
    if (
        isinstance(key, tuple)
        and len(key) in (5, 6)
        and key[5:] in ((), (None,))
        and isinstance(key[1], Name)
        and key[1].module in ("torch", "torch.cuda")
        and key[1].name in _ITEM_BYTES
        and isinstance(key[2], str)
        and _is_count(key[4])
    ):
        return key[1].name, key[2], key[4]
    raise _Unreadable("it refers to data in a way torch does not")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**40


def _collect(content: Any, read_storage: _ReadStorage, file_size: int, keys: Container[str] | None) -> TorchCheckpoint:
    if not isinstance(content, dict):
        raise _Unreadable("it holds no dictionary")
    if content and all(_is_tensor(value) for value in content.values()):
        content = {"": content}
    budget = [file_size]
    states = {
        name: {
            key: _tensor(f"{name}.{key}", tensor, read_storage, budget)
            for key, tensor in state.items()
            if keys is None or key in keys
        }
        for name, state in content.items()
        if isinstance(state, dict) and state and all(_is_tensor(value) for value in state.values())
    }
    numbers = {name: value for name, value in content.items() if type(value) in (int, float)}
    return TorchCheckpoint(states, numbers)


def _is_tensor(value: Any) -> bool:
    return (
        isinstance(value, Call)
        and isinstance(value.function, Name)
        and value.function.module == "torch._utils"
        and value.function.name in {*_REBUILD, "_rebuild_parameter"}
        and isinstance(value.arguments, tuple)
        and len(value.arguments) > 0
    )


def _tensor(name: str, value: Call, read_storage: _ReadStorage, budget: list[int]) -> np.ndarray:
    """Cut a tensor (storage, offset, shape, strides, …) from its storage; a Parameter wraps one."""
    if value.function.name == "_rebuild_parameter":
        value = value.arguments[0]
        if not _is_tensor(value) or value.function.name not in _REBUILD:
            raise _Unreadable(f"{name} is no tensor")
    if len(value.arguments) < 4:
        raise _Unreadable(f"{name} is no tensor")
    stored, offset, shape, strides = value.arguments[:4]
    kind, key, count = _storage_of(stored)
    if kind not in _DTYPES:
        raise _Unreadable(f"{name} holds no floating-point numbers that can be read ({kind})")
    fits = (
        _is_count(offset)
        and isinstance(shape, tuple)
        and isinstance(strides, tuple)
        and len(shape) == len(strides) <= 8
        and all(map(_is_count, (*shape, *strides)))
        and all(shape)
        and offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) < count
    )
    if not fits:
        raise _Unreadable(f"{name} reaches outside its storage")
    # Each parameter has bytes of its own in an honest file, so together they cannot be larger than it.
    itemsize = np.dtype(_DTYPES[kind]).itemsize
    budget[0] -= max(count, int(np.prod(shape, dtype=object))) * itemsize
    if budget[0] < 0:
        raise _Unreadable("its tensors are larger than the file")
    flat = read_storage(kind, key, count)
    if len(flat) != count:
        raise _Unreadable("it is truncated")
    view = np.lib.stride_tricks.as_strided(flat[offset:], shape, [step * itemsize for step in strides])
    return np.array(view, order="C")
