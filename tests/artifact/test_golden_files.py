"""Files of every version stay readable, and today's program still writes them byte for byte."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from stages.artifact import SCHEMAS, open_artifact
from stages.inspect import InfoRequest, run

GOLDEN = Path(__file__).parents[1] / "golden"
DIGESTS = {
    "v1/images.h5": "93079894d4ea7f2d8baf2737875453fd5d41178d06083c71972540e05645c9e6",
    "v1/checkpoint.h5": "04fdf97fe83ec25d61f4b9e3d8ba0b8e118b0b9b08bf20f7f5716a8622acc55d",
    "v1/prediction.h5": "54fc2fd00827f0f95b085509d1d720007a8eda5a40c33b011a8e22051a17aec1",
    "v1/scores.h5": "1b2e987e93bde8150643f6339a482fe058d457f67f0aa53c86cd6cab67b60a35",
    "v1/features.h5": "f7c40c070eec61e962297640ff2667009e431336a63ba4051771774c8fc047b2",
}
CURRENT = "v1"


@pytest.fixture(scope="module")
def recipe():
    """tests/golden/make_golden.py as a module."""
    spec = importlib.util.spec_from_file_location("make_golden", GOLDEN / "make_golden.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_golden_file_has_its_digest_here():
    assert {str(path.relative_to(GOLDEN)) for path in GOLDEN.glob("v*/*")} == set(DIGESTS)
    assert {f"sym3d.{Path(name).stem}" for name in DIGESTS} == set(SCHEMAS)


@pytest.mark.parametrize("name", DIGESTS)
def test_golden_files_open(name):
    path = GOLDEN / name
    assert path.stat().st_size < 50_000
    with open_artifact(path, f"sym3d.{path.stem}") as artifact:
        artifact.verify()
        assert artifact.digest == DIGESTS[name]
        assert artifact.version == int(path.parent.name[1:])
        assert artifact.count == (0 if path.stem in ("checkpoint", "features") else 3)


def test_golden_contents(recipe):
    with open_artifact(GOLDEN / "v1" / "images.h5") as images:
        assert images.strings("name") == ["one.png", "zwei/größe.jpg", "三.webp"]
        assert images.strings("skipped/name") == ["broken.jpg"]
        assert images.strings("skipped/reason") == ["truncated image"]
        assert np.array_equal(images["depth"][:], recipe.ramp(3, 8, 8, low=0.9, high=1.1))
        assert np.array_equal(images["mask"][:], recipe.ramp(3, 8, 8) > 0.5)
    with open_artifact(GOLDEN / "v1" / "checkpoint.h5") as checkpoint:
        assert checkpoint.attrs == {"step": 7, "size": 8}
        assert checkpoint["optim/netD.network.0.weight.step"][()] == 7
        assert np.isnan(checkpoint["log/loss"][1])
    with open_artifact(GOLDEN / "v1" / "scores.h5") as scores:
        assert scores.attrs == {"summary": {"side": {"mean": 0.01, "std": 0.008}}}
    with open_artifact(GOLDEN / "v1" / "prediction.h5") as prediction:
        assert prediction.attrs == {"depth_min": 0.9, "depth_max": 1.1, "fov": 10.0}
    with open_artifact(GOLDEN / "v1" / "features.h5") as features:
        assert features.attrs == {"width": 1 / 64, "size": 8, "accuracy": 0.75}
        assert np.array_equal(features["encoder/features.14.weight"][:], recipe.ramp(4, 4, 3, 3, low=-1))


def test_the_same_content_gives_the_same_digests(recipe, tmp_path):
    made = recipe.make(tmp_path / CURRENT)
    assert {f"{CURRENT}/{name}": digest for name, digest in made.items()} == {
        name: digest for name, digest in DIGESTS.items() if name.startswith(CURRENT)
    }


def test_info_tells_the_whole_story():
    result = run(InfoRequest(GOLDEN / "v1" / "scores.h5"))
    assert (result.schema, result.version, result.state, result.count) == ("sym3d.scores", 1, "complete", 3)
    assert result.digest == DIGESTS["v1/scores.h5"]
    chain = [(depth, link.name, link.digest) for depth, link in result.origin.walk()]
    assert [(depth, name) for depth, name, _ in chain] == [
        (0, "scores.h5"),
        (1, "prediction.h5"),
        (2, "checkpoint.h5"),
        (3, "images.h5"),
        (2, "images.h5"),
    ]
    assert all(digest == DIGESTS[f"v1/{name}"] for _, name, digest in chain)
    side = next(dataset for dataset in result.datasets if dataset.name == "side")
    assert (side.shape, side.dtype, side.axes, side.unit) == ((3,), "float32", "N", "log m")
    assert result.origin.command == "sym3d eval"
    assert result.origin.revision == "000000000000"
