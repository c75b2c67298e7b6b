"""Row-wise writing: whatever the order, batches, interruptions and drops, the result is the same artifact."""

import os
import random
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_files import COUNT, FIELDS, beside, complete, open_writer, provenance, rows_of

from stages.artifact import open_artifact
from stages.artifact.files import lock_partial, partial_path, unlock
from stages.errors import InputError, OutputError, StaleError


def test_rows_come_back_as_written(images):
    with open_artifact(images, "sym3d.images") as artifact:
        assert artifact.count == COUNT
        expected = rows_of(np.arange(COUNT))
        assert artifact.strings("name") == expected["name"]
        assert artifact.strings("skipped/name") == []
        for name in ("image", "split", "depth"):
            assert artifact[name].dtype == expected[name].dtype
            assert np.array_equal(artifact[name][:], expected[name])
        artifact.verify()
    assert beside(images) == ["images.h5"]


def test_images_are_plain_bytes_and_maps_one_compressed_row_a_chunk(images):
    with open_artifact(images) as artifact:
        assert artifact["image"].chunks is None
        assert artifact["depth"].chunks == (1, 8, 8)
        assert (artifact["depth"].compression, artifact["depth"].shuffle) == ("gzip", True)
        assert artifact["depth"].attrs["unit"] == "m"
        assert artifact["depth"].attrs["axes"] == "N H W"


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.permutations(range(COUNT)),
    st.sets(st.integers(1, COUNT - 1), max_size=5),
    st.sets(st.integers(0, COUNT - 1), max_size=5),
)
def test_order_batches_and_interruptions_leave_no_trace(tmp_path_factory, order, cuts, dropped):
    folder = tmp_path_factory.mktemp("rows")
    digests = set()
    for name, batches in (("one.h5", [np.arange(COUNT)]), ("many.h5", np.split(np.array(order), sorted(cuts)))):
        for batch in batches:  # each batch is another process's life
            with open_writer(folder / name) as writer:
                keep = np.array([row for row in batch if row not in dropped], np.int64)
                writer.write(keep, rows_of(keep))
                for row in set(batch.tolist()) & dropped:
                    writer.drop(row, f"{row}.png", "no face found")
        with open_writer(folder / name) as writer:
            assert len(writer.pending()) == 0
            writer.finish()
        with open_artifact(folder / name) as artifact:
            assert artifact.strings("skipped/name") == [f"{row}.png" for row in sorted(dropped)]
            kept = [row for row in range(COUNT) if row not in dropped]
            assert artifact.strings("sha256") == [f"{row:064x}" for row in kept]
            digests.add(artifact.digest)
    assert len(digests) == 1


def test_work_that_was_left_goes_on(tmp_path):
    path = tmp_path / "images.h5"
    with open_writer(path) as writer:
        writer.write([3, 4, 7], rows_of([3, 4, 7]))
    with pytest.raises(InputError, match="was never finished"):
        open_artifact(path)
    with pytest.raises(InputError, match="is unfinished"):
        open_artifact(partial_path(path))
    with open_writer(path) as writer:
        assert not {3, 4, 7} & set(writer.pending().tolist())
        assert len(writer.pending()) == COUNT - 3


def test_nothing_to_do_when_complete(images):
    before = images.stat()
    with open_writer(images) as writer:
        assert writer.complete
        assert len(writer.pending()) == 0
        writer.finish()
    assert (images.stat().st_ino, images.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert beside(images) == ["images.h5"]


CHANGES = {
    "its recipe said 'size = 8', now 'size = 9'": {"provenance": provenance("size = 9")},
    "seed 0, now 1": {"provenance": provenance(seed=1)},
    "the content of its input has changed (faces)": {
        "provenance": provenance(parents=[{"name": "faces", "digest": "ab"}]),
    },
    "attributes {}, now {'fov': 10.0}": {"attrs": {"fov": 10.0}},
    "20 rows, now 21": {"count": 21},
    "'depth' was [20, 8, 8], now [20, 8, 9]": {"dims": {"H": 8, "W": 9}},
    "'depth' was [20, 8, 8], now absent": {"fields": FIELDS[:-1]},
}


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("what", CHANGES)
def test_other_work_is_stale_until_overwritten(tmp_path, what, finished):
    path = tmp_path / "images.h5"
    with open_writer(path) as writer:
        writer.write([0], rows_of([0]))
    if finished:
        complete(path)
    there = beside(path)
    with pytest.raises(StaleError) as error:
        open_writer(path, **CHANGES[what])
    assert error.value.what == f"was made differently: {what}"
    assert "--overwrite" in error.value.fix
    assert beside(path) == there
    with open_writer(path, **CHANGES[what], overwrite=True) as writer:
        assert len(writer.pending()) >= COUNT
    assert path.exists() == finished  # the old file stays until the new one is done


def test_code_and_hour_make_nothing_stale(images):
    later = provenance(git={"revision": "f" * 40}, argv=["sym3d", "-v"], created="2030-01-01")
    with open_writer(images, provenance=later) as writer:
        assert writer.complete


def test_resuming_what_overwrite_began_needs_no_overwrite(images):
    other = provenance("size = 8, again")
    with open_writer(images, provenance=other, overwrite=True) as writer:
        writer.write([5], rows_of([5]))
    with open_writer(images, provenance=other) as writer:
        assert len(writer.pending()) == COUNT - 1


def test_a_file_of_someone_else_is_not_replaced(tmp_path):
    path = tmp_path / "thesis.h5"
    path.write_text("years of work")
    with pytest.raises(StaleError, match="exists and is not an HDF5 file"):
        open_writer(path)
    assert path.read_text() == "years of work"
    assert beside(path) == ["thesis.h5"]


@pytest.mark.parametrize("junk", [b"", b"not HDF5 at all", b"\x89HDF\r\n\x1a\n" + b"\xff" * 4000])
def test_a_partial_that_cannot_be_read_is_begun_anew(tmp_path, junk):
    path = tmp_path / "images.h5"
    partial_path(path).write_bytes(junk)
    with open_writer(path) as writer:
        assert len(writer.pending()) == COUNT


def test_a_row_whose_bytes_were_lost_is_pending_again(tmp_path):
    path = tmp_path / "images.h5"
    with open_writer(path) as writer:
        writer.write(np.arange(10), rows_of(np.arange(10)))
        offset = writer._columns["image"].offset + 4 * 8 * 8 * 3
    with partial_path(path).open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" * 50)
    with open_writer(path) as writer:
        assert writer.pending().tolist() == [4, *range(10, COUNT)]


def test_one_writer_at_a_time(tmp_path):
    path = tmp_path / "images.h5"
    with open_writer(path) as writer:
        writer.write([0], rows_of([0]))
        script = f"from pathlib import Path; from stages.artifact import files; files.lock_partial(Path({str(path)!r}))"
        child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert "OutputError" in child.stderr
        with pytest.raises(OutputError, match="another process is writing it"):
            open_writer(path)
        assert len(writer.pending()) == COUNT - 1
    unlock(lock_partial(path))


def test_a_forked_worker_does_not_keep_the_lock(tmp_path):
    path = tmp_path / "images.h5"
    fd = lock_partial(path)
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, b"!")
        signal.pause()  # outlives the parent's lock, as a worker of a killed process does
    try:
        os.read(read, 1)
        unlock(fd)
        unlock(lock_partial(path))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize(
    ("rows", "change", "message"),
    [
        ([0], {"image": np.zeros((1, 8, 7, 3), np.uint8)}, "needs shape"),
        ([0], {"image": np.zeros((2, 8, 8, 3), np.uint8)}, "needs shape"),
        ([0], {"split": ["train"]}, "cannot|Cannot|could not|invalid"),
        ([0], {"name": np.zeros(1)}, "takes text"),
        ([0], {"view": np.zeros((1, 6))}, "expected the fields"),
        ([COUNT], {}, "rows 20 to 20 of 20"),
        ([-1], {}, "rows -1 to -1 of 20"),
    ],
)
def test_mistakes_of_the_caller(tmp_path, rows, change, message):
    values = {**rows_of([0]), **change}
    with open_writer(tmp_path / "images.h5") as writer, pytest.raises((ValueError, TypeError), match=message):
        writer.write(rows, values)


def test_no_finish_while_rows_are_pending(tmp_path):
    with open_writer(tmp_path / "images.h5") as writer, pytest.raises(ValueError, match="20 rows are still pending"):
        writer.finish()


def test_no_rows_at_all(tmp_path):
    path = complete(tmp_path / "images.h5", count=0)
    with open_artifact(path) as artifact:
        assert artifact.count == 0
        assert artifact["image"].shape == (0, 8, 8, 3)


def test_odd_labels_survive(tmp_path):
    path = tmp_path / "images.h5"
    labels = ["größe/三.png", "", "a\0b", "bad\udcff.png", "deep/" * 500 + "leaf.png"]
    with open_writer(path, count=len(labels)) as writer:
        writer.write(range(len(labels)), {**rows_of(np.arange(len(labels))), "name": labels})
        writer.finish()
    with open_artifact(path) as artifact:
        names = artifact.strings("name")
    assert names[:4] == ["größe/三.png", "", "a\ufffdb", "bad?.png"]
    assert names[4].startswith("…")
    assert names[4].endswith("deep/leaf.png")
    assert len(names[4].encode()) <= 1024


def go_on(path) -> str:
    """Resume and finish in a process of its own, which HDF5 may crash; its outcome in one word."""
    if (child := os.fork()) == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        code = 3
        try:
            with open_writer(path) as writer:
                rows = writer.pending()
                writer.write(rows, rows_of(rows))
                writer.finish()
            with open_artifact(path) as artifact:
                artifact.verify()
                code = 0 if artifact.digest == digest_of_all() else 2
        except StaleError:
            code = 1
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    return "crash" if os.WIFSIGNALED(status) else ("right", "stale", "wrong", "error")[os.WEXITSTATUS(status)]


@cache
def digest_of_all() -> str:
    with tempfile.TemporaryDirectory() as folder, open_artifact(complete(Path(folder) / "images.h5")) as artifact:
        return artifact.digest


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_damaged_partial_gives_the_right_result_or_none(tmp_path, count):
    path, chance = tmp_path / "images.h5", random.Random(0)
    with open_writer(path) as writer:
        writer.write(range(10), rows_of(np.arange(10)))
    partial = path.with_name("images.h5.partial")
    digest_of_all()
    content = partial.read_bytes()
    for number in range(count):
        # One at byte 52 once led to an OverflowError; HDF5's own structures are in the first 16 kB.
        place = 52 if number < 8 else chance.randrange(len(content) if number % 4 else 16_000)
        path.unlink(missing_ok=True)
        partial.write_bytes(content[:place] + bytes([content[place] ^ 1 << number % 8]) + content[place + 1 :])
        assert go_on(path) in ("right", "stale"), (place, number % 8)
