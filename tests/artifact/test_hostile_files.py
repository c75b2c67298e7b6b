"""Files that are no artifact, or no longer, or pretend to be: one InputError of one line, never a crash."""

import hashlib
import json
import os
import random

import h5py
import numpy as np
import pytest
from small_files import reseal

from stages.artifact import open_artifact
from stages.artifact.layout import hash_blocks, read_blocks
from stages.errors import InputError


def refused(path, schema=None) -> str:
    """What is wrong with a file, in the words of its one-line error."""
    with pytest.raises(InputError) as error:
        open_artifact(path, schema)
    assert "\n" not in str(error.value)
    assert str(error.value).isprintable()
    assert error.value.fix
    return error.value.what


def test_no_file(tmp_path):
    assert refused(tmp_path / "none.h5") == "does not exist"
    assert refused(tmp_path) == "is a folder, not an artifact"
    assert refused(tmp_path / "none" / "below.h5") == "does not exist"


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    assert refused(tmp_path / "pipe.h5") == "is no regular file"


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + b"\0" * 2000, b"sym3d artifact\n" + b"\0" * 2000])
def test_no_hdf5(tmp_path, content):
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    assert refused(path) == "is not an HDF5 file"


def test_foreign_hdf5(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["image"] = np.zeros((2, 8, 8, 3), np.uint8)
    assert refused(path) == "is HDF5, but not from sym3d"


def test_another_schema(images):
    expected = "is a sym3d.images file where a sym3d.checkpoint file is needed"
    assert refused(images, "sym3d.checkpoint") == expected


@pytest.mark.parametrize("seal", [True, False])
def test_newer_version(tamper, seal):
    path = tamper(lambda file: file.attrs.__setitem__("version", 2), seal)
    assert refused(path) == "is version 2 of sym3d.images; this sym3d reads up to version 1"


def test_unknown_schema(tamper):
    path = tamper(lambda file: file.attrs.__setitem__("schema", "sym3d.meshes"))
    assert refused(path) == "holds 'sym3d.meshes', which this sym3d does not know"


@pytest.mark.parametrize("length", [0, 1, 511, 512, 600, 5000, -1])
def test_truncated(images, length):
    content = images.read_bytes()
    images.write_bytes(content[:length])
    what = refused(images)
    assert what == "is not an HDF5 file" if 0 <= length < 511 else "is cut short" in what


def test_any_flipped_bit_is_found(images):
    content, chance = images.read_bytes(), random.Random(0)
    for position in [0, 20, 100, 512, 520, len(content) - 1, *(chance.randrange(len(content)) for _ in range(150))]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << chance.randrange(8)
        images.write_bytes(damaged)
        assert refused(images)


def test_flipped_bits_are_diagnosed(images):
    content = images.read_bytes()
    with h5py.File(images) as file:
        place = 512 + file["image"].id.get_offset()
    images.write_bytes(content[: place + 5] + bytes([content[place + 5] ^ 16]) + content[place + 6 :])
    assert refused(images) == "is damaged: 'image' does not fit its digest"
    images.write_bytes(content + b"more")
    assert refused(images) == "was changed after sym3d wrote it"


def replace(name, **options):
    def edit(file):
        del file[name]
        file.create_dataset(name, **options)

    return edit


def nested_groups(file):
    group = file
    for _ in range(50):
        group = group.create_group("deeper")


def virtual(file):
    layout = h5py.VirtualLayout(shape=(4,), dtype="u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "a", shape=(4,))
    file.create_virtual_dataset("elsewhere", layout)


STRUCTURES = {
    "soft or external link": [
        lambda file: file.__setitem__("loop", h5py.SoftLink("/loop")),
        lambda file: file.__setitem__("link", h5py.SoftLink("/image")),
        lambda file: file.__setitem__("out", h5py.ExternalLink("/etc/passwd", "/")),
    ],
    "linked twice": [
        lambda file: file.__setitem__("again", file["image"]),
        lambda file: file.create_group("a").__setitem__("root", file["/"]),
        nested_groups,
        lambda file: [h5py.h5g.create(file.id, b"%d" % i) for i in range(2000)],
    ],
    "virtual or external storage": [
        virtual,
        lambda file: file.create_dataset("out", (4,), "u1", external=[("/etc/passwd", 0, 4)]),
    ],
    "neither group nor dataset": [lambda file: file.__setitem__("type", np.dtype("f4"))],
    "filter other than": [lambda file: file.create_dataset("x", (4,), "u1", chunks=(2,), compression="lzf")],
    "neither numbers nor": [
        lambda file: file.create_dataset("x", data=np.zeros(2, "f4,f4")),
        lambda file: file.create_dataset("x", data=["a"]),
        lambda file: file.create_dataset("x", data=h5py.Empty("f4")),
        lambda file: file.create_dataset("x", data=np.array([file["image"].ref], h5py.ref_dtype)),
    ],
    "far more than the file holds": [
        replace("image", shape=(10**9, 64, 64, 3), dtype="u1"),
        replace("image", shape=(10**12, 64, 64, 3), dtype="u1", chunks=(1, 64, 64, 3), compression="gzip"),
        lambda file: file.create_dataset("x", (2**62,), "u1", chunks=(1,)),
    ],
    "absurdly large rows": [
        replace("depth", shape=(20, 2**14, 2**13), dtype="f4", chunks=(1, 64, 64), compression="gzip"),
        lambda file: file.create_dataset("x", (), f"S{2**29}"),
    ],
    "'name' holds |S1025, not utf8": [replace("name", data=np.zeros(20, "S1025"))],
    "absurdly large chunks": [lambda file: file.create_dataset("x", (2**31,), "u1", chunks=(2**31,))],
    "'extra' has no SHA-256": [lambda file: file.create_dataset("extra", data=np.zeros(3))],
    "has no 'image'": [lambda file: file.__delitem__("image")],
    "'split' holds float32, not u1": [replace("split", data=np.zeros(20, np.float32))],
    "'split' holds |S1, not u1": [replace("split", data=np.zeros(20, "S1"))],
    "'depth' holds >f4, not f4": [replace("depth", data=np.zeros((20, 8, 8), ">f4"))],
    "'name' holds uint8, not utf8": [replace("name", data=np.zeros(20, np.uint8))],
    "'image' has shape (20, 8, 8, 4), not (N, H, W, 3)": [replace("image", data=np.zeros((20, 8, 8, 4), np.uint8))],
    "'image' has shape (20, 8), not (N, H, W, 3)": [replace("image", data=np.zeros((20, 8), np.uint8))],
    "has N = 19, but": [replace("split", data=np.zeros(19, np.uint8))],
    "has W = 9, but": [replace("image", data=np.zeros((20, 8, 9, 3), np.uint8))],
    "do not fit its digest": [
        lambda file: file.attrs.__setitem__("fov", 12.0),
        lambda file: file.attrs.__setitem__("digest", "0" * 64),
        lambda file: file["image"].attrs.__setitem__("sha256", "0" * 64),
        lambda file: file.move("depth", "canonical_depth"),
    ],
    "no digest or provenance": [
        lambda file: file.attrs.__setitem__("provenance", "none"),
        lambda file: file.attrs.__delitem__("digest"),
    ],
    "provenance is malformed": [
        lambda file: file.attrs.__setitem__("provenance", json.dumps({"parents": ["a"]})),
        lambda file: file.attrs.__setitem__("provenance", json.dumps({"parents": [{"provenance": {"git": 3}}]})),
    ],
    "nested too deeply": [lambda file: file.attrs.__setitem__("provenance", "[" * 100_000)],
    "is no single value": [lambda file: file.attrs.__setitem__("step", np.zeros(3))],
    "neither number nor text": [lambda file: file.attrs.__setitem__("step", file["image"].ref)],
    "is no version": [lambda file: file.attrs.__setitem__("version", "one")],
    "is unfinished": [lambda file: file.attrs.__setitem__("state", "partial")],
}
CASES = [(what, edit) for what, edits in STRUCTURES.items() for edit in edits]


@pytest.mark.parametrize(("what", "edit"), CASES, ids=[f"{index}" for index in range(len(CASES))])
def test_structures_that_no_artifact_has(tamper, what, edit):
    assert what in refused(tamper(edit))


def test_names_cannot_paint_the_terminal(tamper):
    refused(tamper(lambda file: file.__setitem__("\x1b[31mred\n", h5py.SoftLink("/image"))))


def test_a_dataset_that_is_not_there(images):
    with open_artifact(images) as artifact:
        assert "mask" not in artifact
        with pytest.raises(InputError, match="has no 'mask'"):
            artifact["mask"]


def test_a_wrong_byte_under_a_right_seal(images):
    with h5py.File(images) as file:
        place = 512 + file["image"].id.get_offset()
    content = bytearray(images.read_bytes())
    content[place] ^= 1
    images.write_bytes(content)
    reseal(images)
    assert refused(images) == "is damaged: 'image' does not fit its digest"


def test_rows_without_end_that_hold_nothing(tmp_path):
    """A billion times a billion rows of no bytes are summed up at once."""
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        rows = file.create_dataset("rows", (2**62, 0), "u1", chunks=(1, 1), maxshape=(None, None))
        assert hash_blocks(read_blocks(rows)) == hashlib.sha256().hexdigest()
