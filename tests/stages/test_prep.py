"""Prep from end to end: what goes in, what is skipped and why, and what survives an interruption."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import prep
from stages.artifact import open_artifact
from stages.errors import InputError, OutputError, StaleError, UsageError
from stages.io import sources
from stages.prep import PrepRequest, run, split_of
from stages.progress import Silent


def png(seed: int, width: int = 80, height: int = 80) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = BytesIO()
    Image.fromarray(noise).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def fill(folder: Path, count: int, start: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(start, start + count):
        (folder / f"{seed:04}.png").write_bytes(png(seed, 16, 16))
    return folder


def contents(path: Path) -> dict:
    with open_artifact(path, "sym3d.images") as artifact:
        artifact.verify()
        return {"digest": artifact.digest, "name": artifact.strings("name")} | {
            key: artifact[key][:] for key in ("image", "split", "sha256", "box")
        }


class Recorder(Silent):
    def __init__(self):
        self.warnings, self.tasks = [], []

    def warn(self, text):
        self.warnings.append(text)

    @contextmanager
    def task(self, title, total, done=0):
        self.tasks.append([title, total, done])
        yield self

    def advance(self, amount=1, status=""):
        self.tasks[-1][2] += amount


def test_folder_zip_and_list_give_the_same_pictures(tmp_path):
    folder = fill(tmp_path / "faces", 5)
    fill(folder / "more" / "deep", 3, start=10)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for name in reversed(names):
            archive.write(folder / name, name)
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf" + "".join(f"faces/{name}\r\n\n" for name in names).encode())

    made = {}
    for source in ("faces", "faces.zip", "list.txt"):
        result = run(PrepRequest(tmp_path / source, tmp_path / f"{source}.h5"))
        assert result.count == 8
        assert sum(result.splits.values()) == 8
        assert result.skipped == ()
        made[source] = contents(result.path)
    assert made["faces"]["name"] == names
    assert made["list.txt"]["name"] == [f"faces/{name}" for name in names]
    for other in ("faces.zip", "list.txt"):
        np.testing.assert_array_equal(made[other]["image"], made["faces"]["image"])
    first = (folder / names[0]).read_bytes()
    assert made["faces"]["sha256"][0].decode() == hashlib.sha256(first).hexdigest()
    assert made["faces"]["digest"] == made["faces.zip"]["digest"]


def test_pixels_and_boxes(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (64, 200, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(picture).save(tmp_path / "in" / "a.png")
    result = run(PrepRequest(tmp_path / "in", tmp_path / "out.h5"))
    made = contents(result.path)
    np.testing.assert_array_equal(made["image"][0], picture[:, 68:132])
    np.testing.assert_array_equal(made["box"], [[68, 0, 132, 64]])
    half = run(PrepRequest(tmp_path / "in", tmp_path / "half.h5", crop="0.5", size=128))
    assert half.upscaled == 1
    np.testing.assert_array_equal(contents(half.path)["box"], [[84, 16, 116, 48]])
    whole = run(PrepRequest(tmp_path / "in", tmp_path / "whole.h5", crop="none"))
    assert (whole.squeezed, whole.upscaled) == (1, 0)


def test_boxes_count_the_pixels_of_the_file_even_where_a_jpeg_is_decoded_smaller(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (4000, 3000), (10, 200, 30)).save(tmp_path / "in" / "a.jpg")
    result = run(PrepRequest(tmp_path / "in", tmp_path / "out.h5"))
    np.testing.assert_allclose(contents(result.path)["box"], [[500, 0, 3500, 3000]], atol=8)


def test_every_bad_file_is_skipped_with_its_reason(tmp_path):
    folder = fill(tmp_path / "in", 3)
    (folder / "same.png").write_bytes((folder / "0001.png").read_bytes())
    (folder / "cut.png").write_bytes(png(7)[:5000])
    (folder / "notes.txt").write_text("no picture")
    (folder / "empty.jpg").touch()
    (folder / "tiny.png").write_bytes(png(8, 4, 4))
    (folder / "right.txt").write_bytes(png(9))  # a wrong extension is fine
    (folder / ".hidden.png").write_bytes(png(10))
    fill(folder / ".git", 2, start=20)
    fill(tmp_path / "outside", 1, start=30)
    (folder / "inside.png").symlink_to("0002.png")
    (folder / "outside.png").symlink_to(tmp_path / "outside" / "0030.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "loop").symlink_to(".")
    os.mkfifo(folder / "pipe.png")
    (folder / "secret.png").write_bytes(png(11))
    report = Recorder()
    result = run(PrepRequest(folder, tmp_path / "out.h5"), report=report)
    assert result.count == 5
    assert dict(result.skipped) == {
        "cut.png": "truncated image",
        "empty.jpg": "empty file",
        "gone.png": "unreadable file: does not exist",
        "inside.png": "duplicate: same content as 0002.png",
        "loop": "link to a folder: not followed",
        "notes.txt": "not an image",
        "outside.png": "link that leads out of the folder: not followed",
        "pipe.png": "not a file",
        "same.png": "duplicate: same content as 0001.png",
        "tiny.png": "too small: 4×4 pixels, at least 8×8 are needed",
    }
    assert result.reasons["duplicate"] == 2
    assert result.upscaled == 3
    assert any("enlarged" in text for text in report.warnings)
    assert report.tasks == [["reading", 15, 15], ["preparing", 15, 15], ["writing out.h5", 25, 25]]
    with open_artifact(tmp_path / "out.h5", "sym3d.images") as artifact:
        assert artifact.strings("skipped/name") == [name for name, _ in result.skipped]


def test_strange_names(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    names = [
        b"\xff\xfe.png",
        b"new\nline.png",
        b"\x1b[31mred.png",
        "猫.png".encode(),
        b"a\xe2\x80\xaeb.png",
        b"x" * 250,
    ]
    for seed, name in enumerate(names):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(png(seed, 16, 16))
    result = run(PrepRequest(folder, tmp_path / "out.h5"))
    stored = contents(result.path)["name"]
    assert len(stored) == result.count == len(names)
    assert all(name.isprintable() for name in stored)
    assert {r"\xff\xfe.png", r"new\nline.png", r"\x1b[31mred.png", "猫.png"} <= set(stored)
    with open(tmp_path / "list.txt", "wb") as stream:
        stream.write(b"\n".join(b"in/" + name for name in names if b"\n" not in name))
    assert run(PrepRequest(tmp_path / "list.txt", tmp_path / "list.h5")).count == len(names) - 1


def test_list_with_missing_and_foreign_entries(tmp_path):
    fill(tmp_path / "in", 2)
    lines = ["in/0000.png", "in/none.png", "in", "/dev/zero", "in/0000.png", str(tmp_path / "in" / "0001.png")]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    result = run(PrepRequest(tmp_path / "list.txt", tmp_path / "out.h5"))
    assert result.count == 2
    assert [reason.partition(":")[0] for _, reason in result.skipped] == [
        "unreadable file",
        "unreadable file",
        "not a file",
        "duplicate",
    ]


def test_a_picture_that_vanishes_meanwhile_is_skipped(tmp_path, monkeypatch):
    fill(tmp_path / "photos", 3)
    read, gone = sources._read_file, []

    def vanishing(item):
        if not gone:
            gone.append(item.name)
            Path(item.handle).unlink()
        return read(item)

    monkeypatch.setattr(sources, "_read_file", vanishing)
    run(PrepRequest(tmp_path / "photos", tmp_path / "out.h5"))
    with open_artifact(tmp_path / "out.h5") as images:
        assert images.count == 2
        assert images.strings("skipped/name") == gone
        assert images.strings("skipped/reason") == ["unreadable file: does not exist"]


def test_files_of_a_zip_that_share_their_bytes_are_not_unpacked(tmp_path):
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.png", png(0))
        archive.writestr("bomb.png", png(1))
    content = path.read_bytes()
    start = content.index(b"PK\1\2", content.index(b"PK\1\2") + 4)
    end = content.index(b"PK\5\6")
    entry, tail = content[start:end], bytearray(content[end:])
    tail[8:12] = (2 + 50).to_bytes(2, "little") * 2  # entries
    tail[12:16] = (int.from_bytes(tail[12:16], "little") + 50 * len(entry)).to_bytes(4, "little")
    path.write_bytes(content[:end] + 50 * entry + tail)
    run(PrepRequest(path, tmp_path / "out.h5"))
    with open_artifact(tmp_path / "out.h5") as images:
        assert images.strings("name") == ["good.png"]
        assert images.strings("skipped/reason") == ["damaged in the zip: overlaps another file"] * 51


def test_hostile_zip(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST_FILE", 2**20)
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../escape.png", png(0))
        archive.writestr("/absolute.png", png(1))
        archive.writestr("bomb.png", bytes(2**24))
        archive.writestr("lie.png", bytes(2**21))
        archive.writestr("broken.png", png(2))
        archive.writestr("__MACOSX/._a.png", b"junk")
        archive.writestr("folder/", b"")
        archive.writestr(zipfile.ZipInfo(""), png(3))
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "../../etc/passwd")
    content = bytearray(path.read_bytes())
    lie = content.rindex(b"lie.png") - 46
    content[lie + 24 : lie + 28] = (100).to_bytes(4, "little")  # claims to unpack to 100 bytes
    broken = content.index(b"broken.png")
    content[broken + 2000 : broken + 2010] = bytes(10)
    path.write_bytes(content)
    result = run(PrepRequest(path, tmp_path / "out.h5"))
    assert contents(result.path)["name"] == ["/absolute.png", "../../escape.png"]
    reasons = {name: reason.partition(":")[0] for name, reason in result.skipped}
    assert reasons == {
        "bomb.png": "too large",
        "lie.png": "damaged in the zip",
        "broken.png": "damaged in the zip",
        "link.png": "not an image",
    }
    assert sorted(os.listdir(tmp_path)) == ["in.zip", "out.h5"]


CROWD = """
import resource, sys
from pathlib import Path
from stages.io.sources import open_source
with open_source(Path(sys.argv[1])) as source:
    size = len(source.read(source.items[0]))
    print(len(source.items), size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_a_zip_of_very_many_entries(count, tmp_path):
    """All of them the same 100 bytes; the directory is most of the file."""
    path = tmp_path / "crowd.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0000000.png", bytes(100))
    content = path.read_bytes()
    start, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    entry = content[start:end]
    directory = b"".join(entry.replace(b"0000000", b"%07d" % i) for i in range(count))
    tail = bytearray(content[end:])
    tail[12:16] = len(directory).to_bytes(4, "little")
    path.write_bytes(content[:start] + directory + tail)
    done = subprocess.run([sys.executable, "-c", CROWD, path], capture_output=True, text=True)
    found, size, peak = map(int, done.stdout.split())
    assert (found, size) == (count, 100)
    assert peak < 2 * 1024
    print(f"{peak} MiB")


def test_splits_are_stable_and_near_80_10_10(tmp_path):
    codes = [split_of(hashlib.sha256(str(i).encode()).hexdigest()) for i in range(5000)]
    share = np.bincount(codes) / 5000
    np.testing.assert_allclose(share, [0.8, 0.1, 0.1], atol=0.02)
    edges = ("00", 0), ("cc", 0), ("cd", 1), ("e6", 1), ("e7", 2), ("ff", 2)
    assert all(split_of(first + "0" * 62) == code for first, code in edges)
    folder = fill(tmp_path / "in", 30)
    before = contents(run(PrepRequest(folder, tmp_path / "a.h5")).path)
    fill(folder / "0", 30, start=100)
    after = contents(run(PrepRequest(folder, tmp_path / "b.h5")).path)
    split_after = dict(zip(after["sha256"], after["split"], strict=True))
    assert all(split_after[key] == split for key, split in zip(before["sha256"], before["split"], strict=True))


def interrupted_after(monkeypatch, writes: int) -> None:
    """Ctrl-C once so many chunks are written."""
    original, seen = prep.RowWriter.write, []

    def write(self, rows, values):
        if len(seen) == writes:
            raise KeyboardInterrupt
        seen.append(rows)
        original(self, rows, values)

    monkeypatch.setattr(prep.RowWriter, "write", write)


def test_resume_after_ctrl_c_gives_the_same_file(tmp_path, monkeypatch):
    folder = fill(tmp_path / "in", 300)
    (folder / "0200.png").write_bytes(b"rubbish")
    request = PrepRequest(folder, tmp_path / "whole.h5", workers=2)
    run(request)
    request = replace(request, out=tmp_path / "parts.h5")
    with monkeypatch.context() as patch:
        interrupted_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run(request)
    assert not request.out.exists()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]
    report = Recorder()
    result = run(request, report=report)
    assert report.tasks[1] == ["preparing", 300, 300]
    assert (result.count, result.skipped) == (299, (("0200.png", "not an image"),))
    assert contents(request.out)["digest"] == contents(tmp_path / "whole.h5")["digest"]

    again = run(request)
    assert again.already_complete
    assert replace(again, already_complete=False) == result


def test_resume_after_a_kill(tmp_path):
    folder = fill(tmp_path / "in", 300)
    script = (
        "import os, sys; from pathlib import Path; from stages import prep\n"
        "write = prep.RowWriter.write; seen = []\n"
        "def killer(*a):\n    write(*a); seen.append(1); len(seen) == 3 and os.kill(os.getpid(), 9)\n"
        "prep.RowWriter.write = killer\n"
        "prep.run(prep.PrepRequest(Path(sys.argv[1]), Path(sys.argv[2])))\n"
    )
    out = tmp_path / "killed.h5"
    root = Path(prep.__file__).parents[1]
    killed = subprocess.run([sys.executable, "-c", script, folder, out], cwd=root, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists()
    report = Recorder()
    run(PrepRequest(folder, out), report=report)
    assert report.tasks[1][1:] == [300, 300]
    run(PrepRequest(folder, tmp_path / "whole.h5"))
    assert contents(out)["digest"] == contents(tmp_path / "whole.h5")["digest"]


def test_stale_results_are_not_touched_without_overwrite(tmp_path):
    folder = fill(tmp_path / "in", 4)
    request = PrepRequest(folder, tmp_path / "out.h5")
    run(request)
    before = request.out.read_bytes()
    with pytest.raises(StaleError, match="--overwrite"):
        run(replace(request, crop="0.5"))
    fill(folder, 1, start=50)
    with pytest.raises(StaleError, match="content of its input has changed"):
        run(request)
    assert request.out.read_bytes() == before
    assert run(replace(request, overwrite=True)).count == 5


def test_result_inside_the_source_folder(tmp_path):
    folder = fill(tmp_path / "in", 3)
    request = PrepRequest(folder, folder / "out.h5")
    assert run(request).skipped == ()
    assert run(request).already_complete


def test_a_folder_of_results_inside_the_source_is_no_source(tmp_path):
    folder = fill(tmp_path / "in", 2)
    fill(folder / "out" / "deeper", 2, start=2)
    with sources.open_source(folder, exclude=[folder / "out"]) as source:
        assert [item.name for item in source.items] == ["0000.png", "0001.png"]


@pytest.mark.parametrize("make", ["missing", "empty", "hidden", "binary", "zip", "broken zip", "empty list", "fifo"])
def test_sources_that_hold_nothing(tmp_path, make):
    source = tmp_path / "source"
    if make in ("empty", "hidden"):
        source.mkdir()
    if make == "hidden":
        (source / ".DS_Store").write_bytes(b"x")
    if make == "binary":
        source.write_bytes(png(0))
    if make == "zip":
        zipfile.ZipFile(source, "w").close()
    if make == "broken zip":
        source.write_bytes(b"PK\x03\x04" + bytes(100))
    if make == "empty list":
        source.write_text("\n\n")
    if make == "fifo":
        os.mkfifo(source)
    with pytest.raises(InputError) as caught:
        run(PrepRequest(source, tmp_path / "out.h5"))
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not [name for name in os.listdir(tmp_path) if name.startswith("out")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"in/0000.png\n" * 10_001, "longer than a list may be"),
        (b"in/0000.png\n" + b"x" * 2**21, "longer than a list may be"),
        (b"in/0000.png\n" * 6000 + b"\0", "is no folder, zip or list"),
        (b"in/0000.png\n" + b"x" * 2**16, "a line too long for a path"),
    ],
)
def test_lists_without_end(tmp_path, monkeypatch, content, words):
    """A sparse file of a few kilobytes claims any length."""
    monkeypatch.setattr(sources, "LONGEST_LIST", 2**20)
    monkeypatch.setattr(sources, "MOST_LINES", 10_000)
    fill(tmp_path / "in", 1)
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(InputError, match=words):
        run(PrepRequest(tmp_path / "list.txt", tmp_path / "out.h5"))


def test_folders_in_folders_without_end(tmp_path):
    """A thousand of them made Python's walk end in a RecursionError."""
    fill(tmp_path / "in", 1)
    fill((tmp_path / "in").joinpath(*"a" * 150), 1)
    result = run(PrepRequest(tmp_path / "in", tmp_path / "out.h5"))
    assert result.count == 1
    assert [(len(Path(name).parts), reason) for name, reason in result.skipped] == [
        (101, "folder in more than 100 others: not looked into")
    ]


def test_no_usable_picture_leaves_the_earlier_result_alone(tmp_path):
    folder = fill(tmp_path / "in", 3)
    request = PrepRequest(folder, tmp_path / "out.h5")
    run(request)
    before = request.out.read_bytes()
    for path in folder.iterdir():
        path.write_bytes(b"rubbish" + path.name.encode())
    with pytest.raises(InputError, match=r"no usable picture among 3 files: not an image \(3\)"):
        run(replace(request, overwrite=True))
    assert request.out.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["in", "out.h5"]


def test_wrong_requests(tmp_path):
    folder = fill(tmp_path / "in", 1)
    request = PrepRequest(folder, tmp_path / "out.h5")
    for wrong in ({"size": 65}, {"crop": "dog"}, {"workers": 0}):
        with pytest.raises(UsageError):
            run(replace(request, **wrong))
    (tmp_path / "list.txt").write_text("in/0000.png\n")
    with pytest.raises(UsageError, match="is what is to be read"):
        run(PrepRequest(tmp_path / "list.txt", tmp_path / "list.txt", overwrite=True))
    assert (tmp_path / "list.txt").read_text() == "in/0000.png\n"
    with pytest.raises(OutputError):
        run(PrepRequest(folder, tmp_path / "list.txt" / "out.h5"))


@pytest.mark.parametrize(("crop", "ending"), [("face", "_face.png"), ("cat", "_cat.png")])
def test_faces_are_found_in_real_scenes(shared, tmp_path, crop, ending):
    """Reference crops put into a larger scene come back as the same crops."""
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(shared / "unsup3d_demo.zip") as archive:
        for name in [name for name in archive.namelist() if name.endswith(ending)][:8]:
            tight = Image.open(archive.open(name)).convert("RGB").resize((220, 220))
            scene = Image.new("RGB", (900, 700), tuple(np.asarray(tight).mean((0, 1)).astype(int).tolist()))
            scene.paste(tight, (300, 200))
            scene.save(tmp_path / "in" / Path(name).name)
    Image.new("RGB", (300, 300), (90, 120, 60)).save(tmp_path / "in" / "lawn.png")
    result = run(PrepRequest(tmp_path / "in", tmp_path / "out.h5", crop=crop))
    assert ("lawn.png", "no face found" if crop == "face" else "no cat face found") in result.skipped
    assert result.count >= 7
    middle = np.median(contents(result.path)["box"], axis=0)
    np.testing.assert_allclose(middle, [300, 200, 520, 420], atol=25)


@pytest.mark.parametrize("name", ["cats.zip", "utkface.zip"])
@pytest.mark.slow
def test_real_collections(shared, tmp_path, name):
    result = run(PrepRequest(shared / name, tmp_path / "out.h5"))
    assert result.count == {"cats.zip": 8998, "utkface.zip": 16000}[name]
