"""Attributes of the wrong type, out of range or absent: refused when the file is opened, whoever reads it."""

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_files import forge

from stages.artifact import SCHEMAS, open_artifact
from stages.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden" / "v1"
WRONG = {
    "checkpoint": [
        *[
            ("step", value)
            for value in ("x", -1, 2.5, np.nan, np.True_, 2**60, b"\xff\xfe", "[1, 2]", "[" + "9" * 5000)
        ],
        *[("size", value) for value in (0, 2**40, -8, "64")],
        *[("seconds", value) for value in (np.inf, np.nan, -1.5, "soon")],
        *[("skipped", value) for value in (3, "[1.5]", '["a"]', "[[1]]", "{}", "[NaN]", "[1e999]", f"[{10**30}]")],
        ("rollbacks", "{}"),
    ],
    "prediction": [
        *[("fov", value) for value in (0, -10.0, 171.0, np.nan, "wide", 1e300)],
        *[("depth_min", value) for value in (0.0, 1.1, 5.0, np.inf, -np.inf)],
        ("depth_max", np.float32(np.nan)),
    ],
    "features": [("width", "wide"), ("width", 1e9), ("width", 0.0), ("size", 8.5), ("accuracy", np.nan)],
    "scores": [("summary", 3), ("summary", "[]"), ("reliability", "text")],
}
CASES = [(kind, name, value) for kind, pairs in WRONG.items() for name, value in pairs]


def reason(path: Path) -> str:
    with pytest.raises(InputError) as error:
        open_artifact(path)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300
    return error.value.what


@pytest.mark.parametrize(
    ("kind", "name", "value"), CASES, ids=[f"{kind}-{name}-{i}" for i, (kind, name, _) in enumerate(CASES)]
)
def test_an_attribute_that_makes_no_sense(kind, name, value, tmp_path):
    path = shutil.copy(GOLDEN / f"{kind}.h5", tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
    forge(path)
    assert re.search(rf"attribute {name} |Exceeds the limit|not smaller than depth_max|surrogate|decode", reason(path))


@pytest.mark.parametrize(
    ("kind", "name"),
    [(s.name[6:], name) for s in SCHEMAS.values() for name, known in s.attrs.items() if known.required],
)
def test_an_attribute_that_is_missing(kind, name, tmp_path):
    path = shutil.copy(GOLDEN / f"{kind}.h5", tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
    forge(path)
    assert reason(path) == f"is damaged: has no attribute {name}"


def test_attributes_that_nobody_knows_are_passed_over(tmp_path):
    path = shutil.copy(GOLDEN / "checkpoint.h5", tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["more"] = json.dumps({"a": [1, None]})
    forge(path)
    with open_artifact(path) as artifact:
        assert artifact.attrs == {"step": 7, "size": 8, "more": {"a": [1, None]}}


values = (
    st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
    | st.binary(min_size=1, max_size=8).map(np.bytes_)
    | st.lists(st.integers(0, 9), max_size=3).map(lambda items: np.array(items, np.int16))
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=6,
    ).map(json.dumps)
)
KNOWN = [(schema.name[6:], name) for schema in SCHEMAS.values() for name in schema.attrs]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(known=st.sampled_from(KNOWN), value=values)
def test_what_passes_is_of_its_type_and_range(known, value, tmp_path):
    kind, name = known
    path = shutil.copy(GOLDEN / f"{kind}.h5", tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
    forge(path)
    try:
        with open_artifact(path) as artifact:
            found = artifact.attrs[name]
    except InputError:
        reason(path)
    else:
        known = SCHEMAS[f"sym3d.{kind}"].attrs[name]
        numbers = found if known.kind == "ints" else [] if known.kind == "dict" else [found]
        assert isinstance(found, dict | list) == (known.kind in ("dict", "ints"))
        assert all(np.isfinite(number) and known.above < number <= known.most for number in numbers)
