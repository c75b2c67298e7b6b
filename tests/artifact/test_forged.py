"""Files whose inner structures are broken and which bear a valid seal all the same: HDF5 may hang or crash on them, but
not in the process that reads them, which uses the file or refuses it in one line."""

import json
import random
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from small_files import provenance, reseal

from stages.artifact import open_artifact, write_artifact
from stages.artifact.seal import SEAL_BYTES
from stages.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden" / "v1"
KINDS = ("images", "checkpoint", "prediction", "scores", "features")
CRASHED = "is damaged: reading it crashed or did not end"


def forged(folder: Path, kind: str, changes: dict[int, int]) -> Path:
    """A golden file with other bytes at some places, and a fresh seal."""
    content, path = bytearray((GOLDEN / f"{kind}.h5").read_bytes()), folder / f"{kind}.h5"
    for place, byte in changes.items():
        content[place] = byte
    path.write_bytes(content)
    reseal(path)
    return path


def some_changes(content: bytes, chance: random.Random) -> dict[int, int]:
    """One to four bytes, not amid zeros, which most of a file is."""
    changes = {}
    for _ in range(chance.choice([1, 1, 2, 4])):
        place = chance.randrange(SEAL_BYTES, len(content))
        while not any(content[place - 4 : place + 4]):
            place = chance.randrange(SEAL_BYTES, len(content))
        flipped = content[place] ^ 1 << chance.randrange(8)
        changes[place] = chance.choice([flipped, 0, 255, chance.randrange(256)])
    return changes


def read(path: Path) -> str:
    """What becomes of reading all of a file: "read", or what is wrong with it."""
    try:
        with open_artifact(path) as artifact:
            for name in artifact.names:
                artifact[name][()]
    except InputError as error:
        return error.what if str(error).isprintable() else "more than a line"
    return "read"


# What hung or crashed readers before a child went first. HDF5 may mend it one day: then the words are others.
FOUND = [
    ("features", {6261: 0, 6465: 0, 15153: 255}, CRASHED),  # attributes that never end
    ("images", {5368: 0}, CRASHED),
    ("features", {2021: 255, 4887: 32, 8081: 255}, CRASHED),  # a segmentation fault
    ("prediction", {40309: 178}, CRASHED),
    ("scores", {9519: 255, 10024: 48}, "is damaged: "),  # an attribute of gigabytes
    ("scores", {8175: 99, 8186: 130}, "is damaged: "),
]


@pytest.mark.parametrize(("kind", "changes", "what"), FOUND)
def test_what_hung_or_crashed_the_reader(kind, changes, what, tmp_path):
    assert what in read(forged(tmp_path, kind, changes))


@pytest.mark.parametrize("side", [16, 192])
def test_rows_that_inflate_to_less_than_a_row(side, tmp_path):
    """HDF5 reads on past their end: whatever memory is there, or none."""
    path = tmp_path / "a.h5"
    arrays = {"image": np.zeros((1, side, side, 3), np.uint8), "depth": np.ones((1, side, side), np.float32)}
    labels = {"split": np.zeros(1, np.uint8), "name": ["a"], "sha256": ["0" * 64]}
    write_artifact(path, "sym3d.images", {**arrays, **labels}, provenance=provenance())
    with h5py.File(path, "r+") as file:
        few = np.random.default_rng(0).bytes(200)  # not so few that the file could not hold the row
        file["depth"].id.write_direct_chunk((0, 0, 0), zlib.compress(few))
    reseal(path)
    assert read(path) in (CRASHED, "is damaged: 'depth' does not fit its digest")


@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.slow)])
def test_any_bytes_overwritten(count):
    """In a process of its own, whose crash is no crash of the tests."""
    run = subprocess.run([sys.executable, __file__, str(count)], capture_output=True, text=True, timeout=3600)
    assert run.returncode == 0, run.stderr
    outcomes = Counter(json.loads(run.stdout))
    print(dict(outcomes))
    assert sum(outcomes.values()) == count
    assert outcomes["more than a line"] == 0
    assert min(outcomes["read"], outcomes["refused"]) > count / 20


def main(count: int) -> None:
    chance, outcomes = random.Random(0), Counter()
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(count):
            kind = chance.choice(KINDS)
            what = read(forged(Path(folder), kind, some_changes((GOLDEN / f"{kind}.h5").read_bytes(), chance)))
            outcomes[what if what in ("read", CRASHED, "more than a line") else "refused"] += 1
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(int(sys.argv[1]))
