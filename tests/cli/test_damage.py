"""Damage anywhere in a published file is found by whoever opens it: one line, exit code 3, never a wrong result."""

import random
import re
from pathlib import Path

import pytest

from stages.artifact import seal
from stages.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden" / "v1"
SECTOR = 512
DIAGNOSED = 50  # in every so many cases the process that finds out what is wrong really runs: it may take its seconds


def undiagnosed(fd: int, path: Path, request: bytes) -> None:
    raise InputError(path, "is damaged", "make it again")


def flip(content: bytes, place: int, chance: random.Random) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def cut(content: bytes, place: int, chance: random.Random) -> bytes:
    return content[:place]


def lose_a_sector(content: bytes, place: int, chance: random.Random) -> bytes:
    """As after a power cut."""
    start = place // SECTOR * SECTOR
    return content[:start] + bytes(len(content[start : start + SECTOR])) + content[start + SECTOR :]


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["images", "checkpoint", "prediction", "scores", "features"])
def test_damage_is_found_wherever_it_is(kind, count, refused, tmp_path, monkeypatch):
    content, chance = (GOLDEN / f"{kind}.h5").read_bytes(), random.Random(kind)
    path, taste, tried = tmp_path / "a.h5", seal.taste, 0
    while tried < count:
        damage = chance.choice([flip, flip, cut, lose_a_sector])
        damaged = damage(content, chance.randrange(len(content)), chance)
        if damaged == content:  # a sector of zeros
            continue
        path.write_bytes(damaged)
        monkeypatch.setattr(seal, "taste", taste if tried % DIAGNOSED == DIAGNOSED - 1 else undiagnosed)
        assert re.search(r"a\.h5: (is|was) ", refused(3, "info", path, "--verify"))
        tried += 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "tiny", "--data", "images.h5"],
        ["features", "images.h5", "out.h5"],
        ["infer", "checkpoint.h5", "images.h5", "-o", "out"],
        ["infer", "synfaces", "images.h5", "-o", "out"],
        ["eval", "prediction.h5", "images.h5"],
        ["eval", "checkpoint.h5", "images.h5"],
        ["export", "prediction.h5", "-o", "out"],
        ["train", "tiny", "-s", "loss.features=self", "-s", "loss.features_path=features.h5", "--data", "images.h5"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_no_command_uses_a_damaged_file(arguments, refused, tmp_path, monkeypatch):
    monkeypatch.setattr(seal, "taste", undiagnosed)
    for kind in ("images", "checkpoint", "prediction", "features"):
        content = (GOLDEN / f"{kind}.h5").read_bytes()
        (tmp_path / f"{kind}.h5").write_bytes(flip(content, len(content) // 2, random.Random(0)))
    before = sorted(tmp_path.iterdir())
    assert ".h5: is damaged" in refused(3, *arguments)
    assert sorted(tmp_path.iterdir()) == before
