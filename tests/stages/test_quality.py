"""Grading: good sets pass every check, and each way to spoil one is named, with what will go wrong and what to do."""

import cv2
import numpy as np
import pytest

from stages.artifact import make_provenance, write_artifact
from stages.data.cars import CAR_NOISE, render_cars
from stages.data.draws import Draws
from stages.data.quality import WANTED, grade, measure
from stages.data.scenery import BACKGROUND_NOISE, draw_background
from stages.errors import InputError
from stages.grade import GradeRequest, run
from stages.progress import Silent
from tests.stages.small import write_checkpoint

COUNT = 500


@pytest.fixture(scope="module")
def cars():
    """Their images, each before a background of its own, and their yaws in degrees."""
    draws = (Draws(11, range(first, first + 50), noise=CAR_NOISE) for first in range(0, COUNT, 50))
    parts = [render_cars(draw, 64) for draw in draws]
    images, masks, views = (np.concatenate([part[name] for part in parts]) for name in ("image", "mask", "view"))
    behind = draw_background(Draws(12, range(COUNT), noise=BACKGROUND_NOISE), 64).permute(0, 2, 3, 1) * 255
    return np.where(masks[..., None], images, behind.byte().numpy()), np.degrees(views[:, 1])


def complaints(images: np.ndarray, count: int = 1000) -> set[str]:
    return {finding.check for finding in grade(images, count) if not finding.ok}


def shifted(image: np.ndarray, rng: np.random.Generator, reach: float) -> np.ndarray:
    across, down = rng.uniform(-reach, reach, 2)
    move = np.array([[1, 0, across], [0, 1, down]], np.float32)
    return cv2.warpAffine(image, move, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def pasted(image: np.ndarray, rng: np.random.Generator, scattered: bool) -> np.ndarray:
    """A smaller one on one colour: anywhere, or in the middle."""
    side = 32 if scattered else int(rng.integers(24, 64))
    left, top = rng.integers(0, 64 - side, 2) if scattered else [(64 - side) // 2] * 2
    page = np.full_like(image, rng.integers(0, 256, 3))
    page[top : top + side, left : left + side] = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return page


def text(rng: np.random.Generator) -> np.ndarray:
    page = np.full((64, 64, 3), 255, np.uint8)
    for line in range(4):
        word = "".join(map(chr, rng.integers(65, 91, 6)))
        cv2.putText(page, word, (2, 14 + 15 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1)
    return page


def spoil(how: str, images: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    if how == "video":
        frames = [shifted(images[i % 20], rng, 1) for i in range(200)]
        return np.clip(np.array(frames) * rng.uniform(0.9, 1.1, (200, 1, 1, 1)), 0, 255).astype(np.uint8)
    if how == "one scene":
        return np.stack([shifted(images[0], rng, 1) for _ in range(200)])
    if how == "off-centre":
        return np.stack([shifted(image, rng, 22) for image in images])
    if how in ("scattered", "of all sizes"):
        return np.stack([pasted(image, rng, scattered=how == "scattered") for image in images])
    if how == "blurred":
        return np.stack([cv2.GaussianBlur(image, (0, 0), 2) for image in images])
    if how == "grain":
        return rng.integers(0, 256, images.shape, np.uint8)
    if how == "text":
        return np.stack([text(rng) for _ in range(COUNT)])
    if how == "from the front":
        return images[np.abs(yaw) < 6]
    if how == "turned right":
        return images[(yaw > 15) & (yaw < 45)]
    if how == "watermark":
        return np.stack(
            [cv2.putText(i.copy(), "ABC", (2, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255,) * 3, 2) for i in images]
        )
    if how == "on their side":
        return np.rot90(images, axes=(1, 2))
    raise ValueError(how)


def test_good_pictures_pass(cars):
    assert complaints(cars[0]) == set()


def test_outlines_on_white_are_no_duplicates():
    draws = (Draws(13, range(first, first + 50), noise=CAR_NOISE) for first in range(0, COUNT, 50))
    images = np.concatenate([render_cars(draw, 64)["image"] for draw in draws])
    assert "near duplicates" not in complaints(images)


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("video", {"near duplicates"}),
        ("one scene", {"near duplicates"}),
        ("off-centre", {"framing"}),
        ("scattered", {"place"}),
        ("of all sizes", {"size"}),
        ("blurred", {"blurred"}),
        ("grain", {"noise", "framing", "asymmetry"}),
        ("text", {"noise", "one-sidedness"}),
        ("from the front", {"pose spread"}),
        ("turned right", {"one-sidedness"}),
        ("watermark", {"one-sidedness"}),
        ("on their side", {"one-sidedness"}),
    ],
)
def test_each_way_to_spoil_them_is_named(cars, how, found):
    assert found <= complaints(spoil(how, *cars))


def test_too_few_are_said_to_be_and_one_is_no_crash(cars):
    assert complaints(cars[0], count=999) == {"pictures"}
    assert [finding.check for finding in grade(cars[0][:1], 1)] == ["pictures"]
    black = np.zeros((3, 64, 64, 3), np.uint8)
    assert all(np.isfinite(value) for value in measure(black).values())


def test_figures_hardly_depend_on_size_and_not_on_the_order(cars):
    images = cars[0][:200]
    large = np.stack([cv2.resize(image, (128, 128), interpolation=cv2.INTER_LINEAR) for image in images])
    small, again, other = measure(images), measure(images[::-1]), measure(large)
    assert small.keys() | {"pictures"} == WANTED.keys()
    for name, value in small.items():
        assert again[name] == pytest.approx(value, rel=1e-4, abs=1e-6)
        if name not in ("noise", "blurred"):  # enlarging blurs
            assert other[name] == pytest.approx(value, rel=0.1, abs=0.02)


def test_stage_reports_what_will_go_wrong_and_how_to_mend_it(cars, tmp_path):
    images = cars[0][:60]
    path = tmp_path / "cars.h5"
    rows = range(len(images))
    labels = {
        "split": np.zeros(len(images), np.uint8),
        "name": [f"{i}" for i in rows],
        "sha256": ["0" * 64] * len(rows),
    }
    write_artifact(path, "sym3d.images", {"image": images, **labels}, provenance=make_provenance(recipe="test"))

    heard, report = [], Silent()
    report.warn = heard.append
    result = run(GradeRequest(path), report=report)
    assert result.count == 60
    assert heard[0] == (
        "pictures 60, wanted 1000 or more: the networks will learn these pictures by heart and not the shape; "
        "add pictures of other individuals, or start from a shipped model of a similar kind"
    )
    with pytest.raises(InputError):
        run(GradeRequest(write_checkpoint(tmp_path / "model.h5")))
