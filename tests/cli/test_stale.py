"""What was made from something else, or differently, is never taken for the result: exit code 4, and what changed."""

from pathlib import Path

import pytest
from PIL import Image

from tests.stages.small import write_checkpoint, write_data, write_vgg16
from tests.stages.tiny_face import tiny_arrays, write_model

TINY = "-s optim.steps=1 -s optim.batch=2 -s model.width=0.0625 -s run.validate_images=1"
FEATURES = "features data.h5 out.h5 --steps 1 --batch 2"


def photos(path: Path, shade: int = 60) -> None:
    path.mkdir(exist_ok=True)
    Image.effect_noise((70, 70), shade).convert("RGB").save(path / "photo.png")


def features(sym3d, path: Path, seed: int) -> None:
    result = sym3d("features", "data.h5", path, "--steps", 1, "--batch", 2, "--width", 0.0625, "--seed", seed)
    assert result.exit_code == 0, result.stderr


@pytest.fixture
def here(tmp_path) -> Path:
    write_data(tmp_path / "data.h5")
    write_checkpoint(tmp_path / "model.h5")
    photos(tmp_path / "photos")
    write_model(tmp_path / "face.h5", tiny_arrays())
    return tmp_path


# command · the same with another setting · what it says
SETTINGS = [
    ("prep photos out.h5", "prep photos out.h5 --size 128", "its recipe said 'size = 64', now 'size = 128'"),
    ("prep photos out.h5", "prep photos out.h5 --crop 0.5", "its recipe said 'fraction = 1.0', now 'fraction = 0.5'"),
    ("synth out.h5 -n 2", "synth out.h5 -n 2 --seed 1", "seed 0, now 1"),
    ("synth out.h5 -n 2", "synth out.h5 -n 3", "2 rows, now 3"),
    ("synth out.h5 -n 2", "synth out.h5 -n 2 --kind cars", "now 'cars, generator"),
    (f"{FEATURES} --width 0.0625", f"{FEATURES} --width 0.05", "now 'places in other light, width 0.05,"),
    (f"{FEATURES} --width 0.0625", f"{FEATURES} --width 0.0625 --seed 1", "seed 0, now 1"),
    (f"train tiny --data data.h5 {TINY}", f"train tiny --data data.h5 {TINY} -s optim.lr=0.5", "is 0.5"),
    (f"train tiny --data data.h5 {TINY}", f"train tiny --data data.h5 {TINY} --init model.h5", "is given"),
    ("infer model.h5 data.h5 -o out", "infer model.h5 data.h5 -o out --split test", "now 'split = test'"),
    ("infer model.h5 photos -o out", "infer model.h5 photos -o out --crop 0.5", "now 'crop = 0.5'"),
    ("eval model.h5 data.h5 -o out.h5", "eval model.h5 data.h5 -o out.h5 --split val", "now 'split = val'"),
]


QUICK = ("prep photos out.h5 --size 128", "synth out.h5 -n 2 --seed 1", "eval model.h5 data.h5 -o out.h5 --split val")


@pytest.mark.parametrize(
    ("command", "changed", "said"),
    [case if case[1] in QUICK else pytest.param(*case, marks=pytest.mark.slow) for case in SETTINGS],
)
def test_another_setting(here, sym3d, command, changed, said):
    assert_stale(sym3d, command, changed, said)


# command · which of its inputs becomes another · what it says
INPUTS = {
    "prep photos out.h5": (lambda: photos(Path("photos"), 90), "the content of its input has changed (photos)"),
    "synth out.h5 -n 2 --morphable face.h5": (
        lambda: write_model(Path("face.h5"), tiny_arrays(colours=True)),
        "the content of its input has changed (face.h5)",
    ),
    f"{FEATURES} --width 0.0625": (
        lambda: write_data(Path("data.h5"), seed=1),
        "the content of its input has changed (data.h5)",
    ),
    f"train tiny --data data.h5 {TINY}": (
        lambda: write_data(Path("data.h5"), seed=1),
        "was trained on other data than data.h5",
    ),
    f"train tiny --data data.h5 {TINY} --init model.h5": (
        lambda: write_checkpoint(Path("model.h5"), seed=1),
        "was trained from other weights than model.h5",
    ),
    "infer model.h5 data.h5 -o out": (
        lambda: write_checkpoint(Path("model.h5"), seed=1),
        "the content of its input has changed (model.h5)",
    ),
    "infer model.h5 photos -o out": (
        lambda: photos(Path("photos"), 90),
        "the content of its input has changed (photos)",
    ),
    "eval model.h5 data.h5 -o out.h5": (
        lambda: write_data(Path("data.h5"), seed=1),
        "the content of its input has changed (data.h5)",
    ),
}


@pytest.mark.parametrize("command", INPUTS)
def test_another_input(here, sym3d, command):
    change, said = INPUTS[command]
    assert_stale(sym3d, command, command, said, change)


@pytest.mark.parametrize(
    ("kind", "make", "said"),
    [("vgg16", write_vgg16, "with other VGG16 weights than"), ("self", None, "with other features than")],
)
def test_other_perceptual_weights(here, sym3d, kind, make, said):
    path = here / "weights.safetensors"
    make = make or (lambda path, seed: (path.unlink(missing_ok=True), features(sym3d, path, seed)))
    make(path, 0)
    options = f"-s loss.features={kind} -s loss.perceptual=1 -s loss.features_path={path}"
    command = f"train tiny --data data.h5 {TINY} {options}"
    assert_stale(sym3d, command, command, f"{said} weights.safetensors", lambda: make(path, 1))


def assert_stale(sym3d, command, changed, said, change=lambda: None):
    first = sym3d(*command.split())
    assert first.exit_code == 0, first.stderr
    change()
    result = sym3d(*changed.split())
    assert (result.exit_code, result.stdout) == (4, ""), result.stderr
    line = result.stderr.splitlines()[-1]
    assert said in line
    assert "--overwrite" in line


def test_a_prediction_is_judged_on_what_it_was_made_from(here, sym3d):
    assert sym3d("infer", "model.h5", "data.h5", "-o", "out").exit_code == 0
    write_data(here / "data.h5", seed=1)
    result = sym3d("eval", "out/prediction.h5", "data.h5")
    assert result.exit_code == 4
    assert "was not made from data.h5, or from an earlier version of it" in result.stderr
