"""docs/artifact-format.md: its programs run, and its tables are those of the code."""

import re
from pathlib import Path

import pytest

from stages.artifact import SCHEMAS

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "artifact-format.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
TYPES = {"u1": "uint8", "f4": "float32", "f8": "float64", "bool": "bool", "utf8": "text", "any": "any"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_run(program, monkeypatch):
    monkeypatch.chdir(ROOT / "tests" / "golden" / "v1")
    exec(compile(program, "artifact-format.md", "exec"), {})


@pytest.mark.parametrize("file", ["images.h5", "checkpoint.h5", "prediction.h5", "scores.h5", "features.h5"])
def test_the_digest_is_what_the_document_says(file, monkeypatch):
    monkeypatch.chdir(ROOT / "tests" / "golden" / "v1")
    program = next(program for program in PROGRAMS if "hashlib" in program)
    exec(compile(program.replace("images.h5", file), "artifact-format.md", "exec"), {})


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_tables_list_every_field(schema):
    section = DOCUMENT.split(f"### {schema.name}\n")[1].split("\n## ")[0].split("\n### ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    listed = {name.strip("` "): row for row in rows[2:] for name in row[0].split(",")}
    names = {"any other name" if name == "*" else name for name in schema.fields}
    assert set(listed) == names
    for name, row in listed.items():
        field = schema.fields["*" if name == "any other name" else name]
        axes = "any" if field.dims is None else " ".join(map(str, field.dims))
        assert row[1:3] == [TYPES[field.dtype], axes], name
        assert ("required" in row or "at least one" in row) == field.required, name
