"""Videos: each motion goes where it says and loops, and each format reads back."""

import av
import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image

from stages.io.video import write_video
from stages.motions import MOTIONS, check_videos
from stages.progress import Silent
from stages.scenes import make_canvas, scene_of
from tests.stages.test_export import make_item

COUNT = 8


@pytest.fixture(scope="module")
def scene():
    return scene_of(make_item(), "ann", 10.0)


@pytest.fixture(scope="module")
def canvas():
    return make_canvas(64, device="cpu")


@pytest.fixture(scope="module")
def films(scene, canvas):
    return {name: move(scene, COUNT, canvas).astype(int) for name, move in MOTIONS.items()}


def covered(frame: np.ndarray, canvas) -> np.ndarray:
    return np.abs(frame - np.array(canvas.background) * 255).max(-1) > 2


@pytest.mark.parametrize("name", list(MOTIONS))
def test_frames_move_and_come_back(films, name):
    film = films[name]
    assert film.shape == (COUNT, 64, 64, 3)
    steps = [np.abs(film[i] - film[(i + 1) % COUNT]).mean() for i in range(COUNT)]
    assert np.mean(steps) > 1
    assert steps[-1] < 2.5 * np.mean(steps), "the last frame leads back to the first"


def test_the_face_turns_right_then_left(films, canvas):
    right, left = COUNT // 4, 3 * COUNT // 4
    red = (films["swing"][..., 0] > 1.5 * films["swing"][..., 1:].max(-1)).sum((1, 2))
    green = (films["swing"][..., 1] > 1.5 * films["swing"][..., ::2].max(-1)).sum((1, 2))
    assert red[right] > 1.3 * green[right], "the left of the face, red, comes into view"
    assert green[left] > 1.3 * red[left]
    for name in ("swing", "turntable"):
        assert np.abs(films[name][0] - films[name][COUNT // 2]).max() <= 1
    # In profile the nose reaches further from the axis than the rim does on the other side.
    for frame, sign in ((right, 1), (left, -1)):
        columns = sign * (np.flatnonzero(covered(films["turntable"][frame], canvas)[28:36].any(0)) - 31.5)
        assert columns.max() > -columns.min() + 3
        assert columns.max() - columns.min() < 0.7 * covered(films["turntable"][0], canvas)[32].sum()


def test_the_frontal_video_begins_with_the_photograph_and_turns_to_the_front(scene, canvas, films):
    film = films["frontal"]
    photo = canvas.photo(scene).astype(int)
    assert np.abs(film[0] - photo).max() <= 1
    outline = covered(film[COUNT // 2], canvas)
    assert abs(int(outline[:, :32].sum()) - int(outline[:, 32:].sum())) < 0.02 * outline.sum()


def test_a_photograph_lies_pixel_on_pixel_with_what_is_drawn_from_its_view(canvas):
    # A plane that holds the photograph itself, seen from where it was taken.
    item = make_item()
    ramp = np.linspace(0, 250, 32).astype(np.uint8)
    item["image"] = np.stack([np.tile(ramp, (32, 1)), np.tile(ramp[:, None], (1, 32)), np.full((32, 32), 99)], -1)
    item["canonical_depth"] = np.ones((32, 32), np.float32)
    plane = scene_of(item, "plane", 10.0)
    drawn = canvas.draw(plane, torch.zeros(1, 6), plane.photo[None], fov=10.0)[0].astype(int)
    inside = slice(8, -8)
    assert np.abs(drawn - canvas.photo(plane))[inside, inside].max() <= 2


def test_the_lamp_circles_from_the_left(films, canvas):
    bright = films["light"].sum(-1)
    left, above = (bright[0][:, :28].sum() - bright[0][:, 36:].sum(), bright[2][:28].sum() - bright[6][:28].sum())
    opposite = bright[4][:, :28].sum() - bright[4][:, 36:].sum()
    assert left > opposite
    assert above > 0


def test_normals_are_those_that_the_viewer_sees(canvas):
    plane = scene_of({**make_item(), "canonical_depth": np.ones((32, 32), np.float32)}, "plane", 10.0)
    film = MOTIONS["normals"](plane, COUNT, canvas)
    side, ahead = (127.5 * (1 + part) for part in (np.sin(np.radians(40)), np.cos(np.radians(40))))
    for frame, colour in ((0, (127.5, 127.5, 255)), (2, (side, 127.5, ahead)), (6, (255 - side, 127.5, ahead))):
        assert film[frame, 31, 31].tolist() == pytest.approx(colour, abs=1)


def test_a_wireframe_has_lines(films):
    frame = films["wireframe"][0][20:44, 20:44].mean(-1)
    assert frame.std() > 15


def test_every_format_reads_back(tmp_path, films):
    frames = films["swing"].astype(np.uint8)
    written = write_video(tmp_path, "ann.swing", frames, ["mp4", "gif", "webp", "png"])
    assert [path.name for path in written] == ["ann.swing.mp4", "ann.swing.gif", "ann.swing.webp", "ann.swing"]
    with av.open(str(written[0])) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.frames) == (64, 64, 2 * COUNT)
    for path in written[1:3]:
        image = Image.open(path)
        image.seek(2)
        read = np.asarray(image.convert("RGB")).astype(int)
        assert (image.n_frames, image.info["loop"], image.info["duration"]) == (COUNT, 0, 50)
        assert np.abs(read - frames[2]).mean() < 6
    stills = sorted(written[3].iterdir())
    assert [path.name for path in stills] == [f"{i:04}.png" for i in range(COUNT)]
    assert (np.asarray(Image.open(stills[3])) == frames[3]).all()


def test_an_odd_side_gains_a_line_in_mp4_only(tmp_path):
    frames = np.zeros((2, 33, 33, 3), np.uint8)
    frames[:, -1] = 250
    mp4, gif = write_video(tmp_path, "odd", frames, ["mp4", "gif"])
    film = iio.imread(mp4, plugin="pyav")
    assert film.shape[1:3] == (34, 34)
    assert film[0, -2:].min() > 200 > 50 > film[0, :-2].max(), "the last line twice, and nothing lost"
    assert iio.imread(gif).shape[1:3] == (33, 33)


def test_an_odd_film_is_said_to_be_even(monkeypatch):
    said, report = [], Silent()
    monkeypatch.setattr(report, "note", said.append)
    for motions, formats, size in ((["swing"], ["gif"], 65), ([], ["mp4"], 65), (["swing"], ["mp4"], 64)):
        check_videos(motions, formats, size, report)
    assert said == []
    check_videos(["swing"], ["gif", "mp4"], 65, report)
    assert said == ["MP4 has even sides only: 66 pixels instead of 65"]
