"""3DFAW's files: pictures and points find each other, and the points lie where they did in the crop."""

import math
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.artifact import open_artifact
from stages.data.faces import render_faces
from stages.data.three_dfaw import LIST, depth_sign, pair_files, read_points
from stages.errors import InputError, StaleError, UsageError
from stages.prep import PrepRequest, run


@pytest.fixture(scope="module")
def faces():
    return render_faces(3, range(6), size=128)


def write(root, faces, form="{:.4f},{:.4f},{:.4f}"):
    """Faces as 3DFAW's files, in pictures of 160 × 140 that are grey around them; returns x, y, z."""
    points = faces["keypoints"].astype(np.float64)
    points[..., 2] *= -128 / (2 * math.tan(math.radians(5)))  # to pixels, towards the viewer
    points[..., :2] += (20, 6)
    for part, rows in (("train", range(3)), ("valid", range(3, 6))):
        (root / f"{part}_img").mkdir(parents=True)
        (root / f"{part}_lm").mkdir()
        for row in rows:
            picture = np.full((140, 160, 3), 128, np.uint8)
            picture[6:134, 20:148] = faces["image"][row]
            Image.fromarray(picture).save(root / f"{part}_img/f{row}.png")
            lines = [form.format(*point) for point in points[row]]
            (root / f"{part}_lm/f{row}_lm.csv").write_text("\n".join(lines) + "\n")
    return points


def read(path):
    with open_artifact(path, "sym3d.images") as images:
        return {name: images[name][:] for name in ("image", "split", "box", "keypoints")} | {
            "name": images.strings("name")
        }


def test_the_points_lie_where_they_did(faces, tmp_path):
    points = write(tmp_path / "3dfaw", faces)
    (tmp_path / "3dfaw" / LIST).write_text("f3,valid,left\nf4,test,center\nf5,test,right\n")
    result = run(PrepRequest(tmp_path / "3dfaw", tmp_path / "out.h5", layout="3dfaw"))
    found = read(tmp_path / "out.h5")
    assert result.splits == {"train": 3, "val": 1, "test": 2}
    assert result.skipped == ()
    assert found["name"][3] == "valid_img/f3.png"
    box = found["box"].astype(np.float64)
    side = box[:, 2] - box[:, 0]
    spread = np.ptp(points[..., :2], axis=1).max(1)
    assert np.abs(side - 8 / 7 * spread).max() <= 0.5  # whole pixels
    back = (found["keypoints"][..., :2] + 0.5) * side[:, None, None] / 64 - 0.5 + box[:, None, :2]
    np.testing.assert_allclose(back, points[..., :2], atol=1e-3)
    assert (found["keypoints"][..., :2] > -0.5).all()
    assert (found["keypoints"][..., :2] < 63.5).all()
    # The crop is of that place: its mean colour is that of the face there.
    x0, y0, x1, y1 = (box[0] - (20, 6, 20, 6)).clip(0, 128).astype(int)
    theirs = faces["image"][0][y0:y1, x0:x1].mean((0, 1))
    assert np.abs(found["image"][0].mean((0, 1)) - theirs).max() < 12
    # Depth points forward though the files' does not, in the crop's own scale.
    depth = found["keypoints"][..., 2]
    assert (depth[:, 30] < depth[:, [0, 16]].mean(1)).all()
    scale = 2 * math.tan(math.radians(5)) / 63 * 64 / side
    np.testing.assert_allclose(np.ptp(depth, axis=1), np.ptp(points[..., 2], axis=1) * scale, rtol=1e-3)


def test_a_zip_of_them_and_blanks_for_commas_give_the_same(faces, tmp_path):
    write(tmp_path / "a", faces)
    write(tmp_path / "b", faces, "{:.4f} {:.4f}\t{:.4f}")
    for path in (tmp_path / "b").glob("*_lm/*"):
        path.write_text(f"{path.stem}\n66\n{path.read_text()}")
        path.rename(path.with_name(path.name.replace("_lm.csv", ".lms")))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for path in (tmp_path / "b").glob("*/*"):
            archive.write(path, f"3DFAW/{path.parent.name}/{path.name}")
    run(PrepRequest(tmp_path / "a", tmp_path / "a.h5", layout="3dfaw"))
    run(PrepRequest(tmp_path / "b.zip", tmp_path / "b.h5", layout="3dfaw"))
    one, other = read(tmp_path / "a.h5"), read(tmp_path / "b.h5")
    assert one["split"].tolist() == [0, 0, 0, 2, 2, 2]
    for name in ("image", "split", "box", "keypoints"):
        assert one[name].tobytes() == other[name].tobytes()


def test_bad_points_cost_their_picture_only_and_changed_ones_are_stale(faces, tmp_path):
    root = tmp_path / "3dfaw"
    write(root, faces)
    (root / "train_lm/f0_lm.csv").unlink()
    (root / "train_lm/f1_lm.csv").write_text("1,2,3\n")
    far = (root / "train_lm/f2_lm.csv").read_text().splitlines()
    (root / "train_lm/f2_lm.csv").write_text("\n".join(f"9{line}" for line in far))
    request = PrepRequest(root, tmp_path / "out.h5", layout="3dfaw")
    assert dict(run(request).skipped) == {
        "train_img/f0.png": "no key points: there is no file of them",
        "train_img/f1.png": "no key points: 1 points instead of 66",
        "train_img/f2.png": "key points outside the picture",
    }
    assert run(request).already_complete
    (root / "train_lm/f2_lm.csv").write_text("\n".join(far))
    with pytest.raises(StaleError, match="the content of its input has changed"):
        run(request)


def test_what_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "photos/a.png")
    with pytest.raises(InputError, match=r"no folder of pictures as 3DFAW has them; name the folder or zip"):
        run(PrepRequest(tmp_path / "photos", tmp_path / "out.h5", layout="3dfaw"))
    with pytest.raises(UsageError, match="cropped about their key points; leave it out"):
        run(PrepRequest(tmp_path / "photos", tmp_path / "out.h5", crop="face", layout="3dfaw"))
    with pytest.raises(UsageError, match="aflw is not a layout; use photographs or 3dfaw"):
        run(PrepRequest(tmp_path / "photos", tmp_path / "out.h5", layout="aflw"))


def test_files_are_paired_by_folder_and_name():
    names = ["x/train_img/a.jpg", "x/train_lm/a_lm.csv", "valid_img/a.jpg", "valid_lm/b.lms", "list.txt", "lm/a.csv"]
    assert pair_files(names) == {0: 1, 2: None}


@given(st.binary(max_size=3000))
def test_points_are_read_whole_or_not_at_all(content):
    try:
        points = read_points(content)
    except ValueError:
        return
    assert points.shape == (66, 3)


@settings(max_examples=20)
@given(st.lists(st.tuples(*[st.floats(-900, 900)] * 3), min_size=66, max_size=66), st.sampled_from([",", " ", " ; "]))
def test_written_points_are_read_back(points, between):
    text = "x,y,z\n" + "\n".join(between.join(map(repr, point)) for point in points)
    assert read_points(text.encode()).tolist() == [list(point) for point in points]


def test_the_sign_of_depth_is_that_of_most_faces():
    face = np.zeros((66, 3))
    face[30, 2] = 5
    assert depth_sign([face, face, -face]) == -1
    assert depth_sign([-face]) == depth_sign([]) == 1
