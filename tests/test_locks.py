"""The lock files hold what pyproject.toml asks for, and a hash of every file that pip may take."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "torch-cpu.lock", "torch.lock")


def locked(name: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Package → its line and its hashes."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / name).read_text(encoding="utf-8")).replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        requirement, *hashes = line.split(" --hash=")
        requirement = Requirement(requirement.strip())
        found[canonicalize_name(requirement.name)] = requirement, [value.strip() for value in hashes]
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_version_is_exact_and_has_hashes(name):
    assert locked(name)
    for requirement, hashes in locked(name).values():
        assert re.fullmatch(r"==[^=*]+", str(requirement.specifier)), requirement
        assert requirement.url is None
        assert hashes
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", value) for value in hashes)


@pytest.mark.parametrize("torch", ["torch-cpu.lock", "torch.lock"])
def test_they_hold_what_is_asked_for(torch):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    asked = [
        *project["project"]["dependencies"],
        *extras["dev"],
        *extras["docs"],
        *extras["fuzz"],
        *project["build-system"]["requires"],
    ]
    found = locked("requirements.lock") | locked(torch)
    for wanted in map(Requirement, asked):
        version = str(found[canonicalize_name(wanted.name)][0].specifier).removeprefix("==")
        assert wanted.specifier.contains(version), wanted


def test_nothing_in_them_says_where_it_came_from():
    assert not [name for name in LOCKS if "//" in (ROOT / name).read_text(encoding="utf-8")]
