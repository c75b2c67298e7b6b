"""Writing in one go: exact round trips, mistakes refused, provenance that explains itself."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from small_files import beside, provenance

from stages.artifact import SCHEMAS, make_provenance, open_artifact, write_artifact
from stages.artifact.files import lock_partial, unlock
from stages.errors import OutputError

TYPES = st.sampled_from(["u1", "i8", "f4", "f8", "?", "u4", "f2"])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_arrays_come_back_bit_for_bit(tmp_path, data):
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    arrays = {f"model/{name}": data.draw(hnp.arrays(data.draw(TYPES), shapes)) for name in "ab"}
    path = tmp_path / "checkpoint.h5"
    digest = write_artifact(path, "sym3d.checkpoint", arrays, provenance=provenance(), attrs={"step": 0})
    with open_artifact(path) as artifact:
        artifact.verify()
        assert artifact.digest == digest
        for name, array in arrays.items():
            back = artifact[name][...]
            assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert (
        write_artifact(path, "sym3d.checkpoint", arrays, provenance=provenance(created="later"), attrs={"step": 0})
        == digest
    )
    assert write_artifact(path, "sym3d.checkpoint", arrays, provenance=provenance("other"), attrs={"step": 0}) != digest


def test_strides_and_byte_order_do_not_matter(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    twins = [array, np.asfortranarray(array), array.astype(">f4"), np.repeat(array, 2, axis=1)[:, ::2]]
    path = tmp_path / "checkpoint.h5"
    digests = {
        write_artifact(path, "sym3d.checkpoint", {"model/a": twin}, provenance={}, attrs={"step": 0}) for twin in twins
    }
    assert len(digests) == 1


def test_attributes_come_back(checkpoint):
    attrs = {
        "step": np.int64(3),
        "size": 64,
        "lr": 1e-4,
        "done": True,
        "name": "größe",
        "summary": {"a": [1, 2.5, None]},
    }
    write_artifact(checkpoint, "sym3d.checkpoint", {"model/a": np.zeros(1)}, provenance={}, attrs=attrs)
    with open_artifact(checkpoint) as artifact:
        assert artifact.attrs == attrs
        assert {key: type(value) for key, value in artifact.attrs.items()} == {
            **{key: type(value) for key, value in attrs.items()},
            "step": int,
        }


@pytest.mark.parametrize(
    ("schema", "arrays", "attrs", "message"),
    [
        ("sym3d.checkpoint", {"optim/a": np.zeros(1)}, {}, r"has no 'model/\*'"),
        ("sym3d.checkpoint", {"model/a": np.zeros(1), "other": np.zeros(1)}, {}, "has no field"),
        ("sym3d.checkpoint", {"model/a": np.array([object()])}, {}, "cannot hold object"),
        ("sym3d.checkpoint", {"model/a": np.zeros(1), "log/a": np.zeros(1, np.float32)}, {}, "holds float32, not f8"),
        ("sym3d.scores", {"name": ["a"], "side": np.zeros(2, np.float32)}, {}, "has N = 2, but"),
        ("sym3d.checkpoint", {"model/a": np.zeros(1)}, {"schema": "x"}, "attribute 'schema'"),
        ("sym3d.checkpoint", {"model/a": np.zeros(1)}, {"x": None}, "attribute 'x'"),
        ("sym3d.checkpoint", {"model/a": np.zeros(1)}, {"x": "[not JSON"}, "read back as JSON"),
        ("sym3d.checkpoint", {"model/a": np.zeros(1)}, {}, "has no attribute step"),
        ("sym3d.checkpoint", {"model/a": np.zeros(1)}, {"step": 1.5}, "attribute step is 1.5, which makes no sense"),
    ],
)
def test_mistakes_of_the_caller_leave_nothing(tmp_path, schema, arrays, attrs, message):
    path = tmp_path / "a.h5"
    with pytest.raises(ValueError, match=message):
        write_artifact(path, schema, arrays, provenance=provenance(), attrs=attrs)
    assert beside(path) == []


def test_the_old_file_stays_when_writing_is_interrupted(checkpoint, monkeypatch):
    before = checkpoint.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("stages.artifact.writer.publish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_artifact(
            checkpoint, "sym3d.checkpoint", {"model/a": np.zeros(9)}, provenance=provenance(), attrs={"step": 0}
        )
    assert checkpoint.read_bytes() == before
    assert beside(checkpoint) == ["checkpoint.h5"]


def test_two_writers_of_one_checkpoint(checkpoint):
    fd = lock_partial(checkpoint)
    with pytest.raises(OutputError, match="another process is writing it"):
        write_artifact(
            checkpoint, "sym3d.checkpoint", {"model/a": np.zeros(9)}, provenance=provenance(), attrs={"step": 0}
        )
    unlock(fd)


def test_readers_keep_the_file_they_opened(checkpoint):
    with open_artifact(checkpoint) as artifact:
        before = artifact["model/netD.weight"][:]
        write_artifact(
            checkpoint,
            "sym3d.checkpoint",
            {"model/netD.weight": np.zeros(1)},
            provenance=provenance(),
            attrs={"step": 0},
        )
        assert np.array_equal(artifact["model/netD.weight"][:], before)
        artifact.verify()


def test_folders_on_the_way_are_made(tmp_path):
    path = tmp_path / "runs" / "cats" / "checkpoint.h5"
    write_artifact(path, "sym3d.checkpoint", {"model/a": np.zeros(9)}, provenance=provenance(), attrs={"step": 0})
    assert beside(path) == ["checkpoint.h5"]


def test_a_long_story_fits(checkpoint):
    """HDF5 allows 64 kB for an attribute's value in place; the chain of recipes may be longer."""
    story = provenance("# a comment\n" * 20_000)
    write_artifact(checkpoint, "sym3d.checkpoint", {"model/a": np.zeros(1)}, provenance=story, attrs={"step": 0})
    with open_artifact(checkpoint) as artifact:
        assert artifact.provenance == story


def test_provenance_says_what_when_and_from_what(images, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/me/.venv/bin/sym3d", "prep", *map(str, range(1000))])
    with open_artifact(images) as parent:
        origin = make_provenance(recipe="size = 8", seed=3, parents=[parent, {"name": "faces", "digest": "ab"}])
        assert origin["parents"][0] == {
            "name": "images.h5",
            "schema": "sym3d.images",
            "digest": parent.digest,
            "provenance": parent.provenance,
        }
    assert origin["parents"][1]["name"] == "faces"
    assert (origin["recipe"], origin["seed"]) == ("size = 8", 3)
    assert set(origin["versions"]) == {"python", "sym3d", "torch", "numpy"}
    assert len(origin["argv"]) == 65
    assert origin["argv"][0] == "sym3d"
    assert origin["created"].endswith("+00:00")
    json.dumps(origin)


def test_no_torch_is_needed_to_open_an_artifact(images):
    script = "import sys, stages.artifact as a; a.open_artifact(sys.argv[1]); print('torch' in sys.modules)"
    child = subprocess.run([sys.executable, "-c", script, str(images)], capture_output=True, text=True)
    assert child.stdout.strip() == "False"


def test_every_field_is_described():
    for schema in SCHEMAS.values():
        for name, field in schema.fields.items():
            assert field.doc, name
            assert field.dtype in ("u1", "f4", "f8", "bool", "utf8", "any"), name
