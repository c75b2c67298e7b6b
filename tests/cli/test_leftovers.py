"""A command that is refused leaves nothing behind: no folder, no lock, no index, no half of a file."""

import shutil
from pathlib import Path

import h5py
import pytest
from PIL import Image

from tests.cli.test_names import write_inputs
from tests.cli.test_outputs import GOLDEN
from tests.stages.test_train import write_images

TINY = ["-s", "optim.steps=1", "-s", "optim.batch=2", "-s", "model.width=0.07", "-s", "run.validate_images=1"]
FEW = ["--steps", "1", "--batch", "2", "--width", "0.0625"]
ONE = ["-o", "out/deep", "--row", "0", "--size", "16"]
# Commands, with BAD where each of the bad files goes.
COMMANDS = {
    "prep": ["BAD", "out/a.h5"],
    "prep --images": ["photos", "out/a.h5", "--crop", "BAD"],
    "synth --morphable": ["out/a.h5", "-n", "2", "--morphable", "BAD"],
    "grade": ["BAD", "--data", "data.h5", "-o", "out/a.h5"],
    "features": ["BAD", "out/a.h5", *FEW],
    "train": ["BAD", "--data", "data.h5", *TINY],
    "train --data": ["tiny", "--data", "BAD", *TINY],
    "train --init": ["tiny", "--data", "data.h5", *TINY, "--init", "BAD"],
    "train features": ["tiny", "--data", "data.h5", *TINY, "-s", "loss.features=self", "-s", "loss.features_path=BAD"],
    "train vgg16": ["tiny", "--data", "data.h5", *TINY, "-s", "loss.features=vgg16", "-s", "loss.features_path=BAD"],
    "infer": ["BAD", "photos", "-o", "out/deep"],
    "infer photos": ["model.h5", "BAD", "-o", "out/deep"],
    "eval": ["BAD", "data.h5", "-o", "out/a.h5"],
    "eval data": ["model.h5", "BAD", "-o", "out/a.h5"],
    "export": ["BAD", "-o", "out/deep"],
    "export --photos": ["prediction.h5", "-o", "out/deep", "--texture", "photo", "--photos", "BAD"],
    "export --truth": ["prediction.h5", "-o", "out/deep", "--sheet", "--format", "ply", "--truth", "BAD"],
    "edit": ["BAD", *ONE, "--frontal"],
    "relight": ["BAD", *ONE, "--ambient", "1"],
    "composite": ["BAD", "photos/one.png", "-o", "out/a.png", "--ambient", "1"],
    "composite photo": ["prediction.h5", "BAD", "-o", "out/a.png", "--ambient", "1"],
    "import": ["BAD", "out/a.h5"],
    "report": ["BAD", "-o", "out/a.html"],
    "rerun": ["BAD", "-o", "out/a.h5"],
    "reproduce": ["baselines", "BAD", "--quick", "--steps", "1"],
    "recipes copy": ["BAD", "out/a.toml"],
}
BAD = ("text", "foreign.h5", "other.h5", "cut.h5")
MORE = ("absent", "empty", "folder", "picture.png", "scores.h5")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Good inputs and bad ones; other.h5: images of another size, without truth."""
    folder = write_inputs(tmp_path_factory.mktemp("made"))
    (folder / "folder").mkdir()
    Image.effect_noise((70, 70), 200).convert("RGB").save(folder / "picture.png")
    (folder / "empty").touch()
    (folder / "text").write_text("what = 'is this'\n")
    with h5py.File(folder / "foreign.h5", "w") as file:
        file["numbers"] = [1, 2, 3]
    write_images(folder / "other.h5", size=32, truth=False)
    shutil.copy(GOLDEN / "scores.h5", folder / "scores.h5")
    (folder / "cut.h5").write_bytes((folder / "data.h5").read_bytes()[:-100])
    return folder


@pytest.mark.parametrize("bads", [BAD, pytest.param(MORE, marks=pytest.mark.slow)], ids=["some", "more"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_refused_command_leaves_nothing(name, bads, made, sym3d, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    command = name.split()[:2] if name == "recipes copy" else name.split()[:1]
    refusals = 0
    for bad in bads:
        result = sym3d(*command, *(part.replace("BAD", bad) for part in COMMANDS[name]))
        if result.exit_code == 0:  # what is bad for one is good for another
            shutil.rmtree(tmp_path)
            shutil.copytree(made, tmp_path)
            continue
        refusals += 1
        assert result.exit_code in (2, 3, 4, 5), (bad, result.stderr)
        assert result.stderr.splitlines()[-1].startswith("sym3d: error: "), (bad, result.stderr)
        assert sorted(tmp_path.rglob("*")) == before, (bad, result.stderr)
    assert refusals >= len(bads) // 2
