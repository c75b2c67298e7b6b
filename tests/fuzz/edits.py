"""Changes to an HDF5 file that a bit flip would hardly ever make: each is still a file that HDF5 can read."""

import json

import h5py
import numpy as np

from tests.fuzz.choices import Choices

__all__ = ["edit"]

TYPES = ("u1", "<i4", "<i8", "<f2", "<f4", "<f8", ">f4", "?", "S5", "S2000", "f4,f4", "<c8", "<u8")
SIDES = (0, 1, 2, 3, 4, 5, 7, 8, 64, 68, 2**16, 2**31, 2**32, 2**40, 2**63 - 1)
FLOATS = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3e38, 1e300, -1.0, 0.5, 1e-3, 170.0)
INTEGERS = (0, 1, -1, 2, 8, 64, 255, 256, 2**31 - 1, 2**31, 2**53, 2**63 - 1, -(2**63))
MOST = 6  # edits of one file


def edit(file: h5py.File, choices: Choices) -> None:
    """Up to MOST edits; those that HDF5 itself refuses are passed over."""
    for _ in range(MOST):
        if not choices:
            return
        try:
            with np.errstate(all="ignore"):
                choices.pick(EDITS)(file, choices)
        except Exception:  # whatever h5py and NumPy say to what makes no sense
            continue


def _names(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return sorted(found) or ["none"]


def _value(choices: Choices):
    kinds = [
        lambda: choices.pick(INTEGERS),
        lambda: choices.pick(FLOATS),
        choices.float,
        choices.text,
        lambda: np.bytes_(choices.take(choices.number(16)) or b"?"),
        lambda: choices.text().join(choices.pick(["[]", "{}", '[""]', "[[1]]"])),
        lambda: json.dumps(
            choices.pick([[1], [2**70], ["a"], [None], {"a": {"mean": "x"}}, [float("nan")], {"a": [0]}])
        ),
        lambda: np.zeros(choices.pick([0, 1, 3]), choices.pick(TYPES)),
        lambda: h5py.Empty(choices.pick(TYPES[:4])),
        lambda: "[" * choices.pick([3, 10_000]),
    ]
    return choices.pick(kinds)()


def _attribute(file, choices):
    file.attrs[choices.pick([*sorted(file.attrs), "seconds", "skipped", "rollbacks", "steps", "more"])] = _value(
        choices
    )


def _lose_attribute(file, choices):
    del file.attrs[choices.pick(sorted(file.attrs))]


def _mark(file, choices):
    item = file[choices.pick(_names(file))]
    item.attrs[choices.pick(["sha256", "axes", "unit", "doc"])] = _value(choices)


def _provenance(file, choices):
    story = json.loads(file.attrs["provenance"])
    key = choices.pick(["recipe", "parents", "argv", "git", "versions", "seed", "created"])
    if choices.number(2):
        recipe = str(story["recipe"])
        at = choices.number(max(1, len(recipe)))
        story["recipe"] = recipe[:at] + choices.text() + recipe[at + choices.number(8) :]
    else:
        found = choices.pick([None, 1, "x", [], {}, [1], ["a"], [{}], [{"provenance": 1}], [{"name": 3, "digest": []}]])
        story[key] = [found] * choices.number(4) if choices.number(2) else found
    file.attrs["provenance"] = json.dumps(story)


def _reshape(file, choices):
    name = choices.pick(_names(file))
    old = file[name]
    shape, dtype = list(old.shape), old.dtype
    if choices.number(2) and shape:
        shape[choices.number(len(shape))] = choices.pick(SIDES)
    elif choices.number(2):
        shape = [choices.pick(SIDES) for _ in range(choices.number(6))]
    if choices.number(2):
        dtype = np.dtype(choices.pick(TYPES))
    options = choices.pick(
        [
            {},
            {"chunks": True},
            {"chunks": True, "compression": 1, "shuffle": True},
            {"chunks": True, "compression": "lzf"},
            {"chunks": True, "fletcher32": True},
            {"chunks": tuple(max(1, min(side, 2**20)) for side in shape) or None},
            {"external": [("/etc/passwd", 0, 100)]},
            {"fillvalue": 1},
        ]
    )
    del file[name]
    made = file.create_dataset(name, tuple(shape), dtype, **options)
    if made.size < 2**16 and "external" not in options:
        made[...] = np.zeros(made.shape, made.dtype)


def _lose(file, choices):
    del file[choices.pick(_names(file))]


def _move(file, choices):
    names = _names(file)
    file.move(
        choices.pick(names), choices.pick([choices.text(), choices.pick(names) + "2", "ema/a", "log/a", "model/a"])
    )


def _poke(file, choices):
    data = file[choices.pick(_names(file))]
    if data.size > 1 << 20:  # made so by an edit before: a gigabyte of nothing would take the bound for itself
        return
    values = data[...].reshape(-1)
    if data.dtype.kind == "S":
        values[choices.number(len(values))] = choices.take(choices.number(12))
    elif choices.number(3):
        values[choices.number(len(values)) :] = choices.pick(FLOATS if data.dtype.kind == "f" else INTEGERS)
    else:
        values[choices.number(len(values))] = choices.float() if data.dtype.kind == "f" else choices.pick(INTEGERS)
    data[...] = values.reshape(data.shape)


def _link(file, choices):
    names = _names(file)
    new, old = choices.pick([choices.text(), choices.pick(names), "a/b"]), choices.pick(names)
    target = choices.pick(
        [
            h5py.SoftLink(f"/{old}"),
            h5py.SoftLink("/" + new),
            h5py.ExternalLink("/etc/passwd", "/"),
            file[old],
            file["/"],
        ]
    )
    if new in file:
        del file[new]
    file[new] = target


def _strange(file, choices):
    name = choices.pick([*_names(file), "more", "model/more", choices.text()])
    if name in file:
        del file[name]
    kind = choices.number(6)
    if kind == 0:
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource(choices.pick(["/etc/passwd", "."]), "a", (4,))
        file.create_virtual_dataset(name, layout)
    elif kind == 1:
        file[name] = np.dtype(choices.pick(TYPES))
    elif kind == 2:
        file.create_dataset(name, data=["text", choices.text()])
    elif kind == 3:
        file.create_dataset(name, data=np.array([file.ref], h5py.ref_dtype))
    elif kind == 4:
        group = file.create_group(name)
        for _ in range(choices.number(12)):
            group = group.create_group(choices.text())
    else:
        file.create_dataset(name, data=h5py.Empty("f4"))


EDITS = (_attribute, _poke, _reshape, _provenance, _lose, _lose_attribute, _move, _link, _mark, _strange)
