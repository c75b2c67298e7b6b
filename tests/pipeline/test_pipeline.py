"""The whole pipeline through the command line, on a handful of images: every stage on what the one before it wrote."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pipeline")


def sym3d(folder: Path, *arguments: object, code: int = 0) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "sym3d_cli", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done


def test_the_pipeline_on_faces_with_truth(folder):
    sym3d(folder, "synth", "faces.h5", "-n", 60, "--seed", 3)
    fast = ["-s", "optim.steps=4", "-s", "optim.batch=4", "-s", "model.width=0.0625", "-s", "run.validate_images=4"]
    sym3d(folder, "train", "tiny", "--data", "faces.h5", *fast)
    assert (folder / "runs/tiny/checkpoint.h5").is_file()

    found = json.loads(sym3d(folder, "eval", "--metric", "side,mad", "--baseline", "null-depth", "--json").stdout)
    text = json.dumps(found)
    assert "runs/tiny" in text
    assert "null-depth" in text

    sym3d(folder, "infer", "runs/tiny", "faces.h5", "--split", "test", "-o", "out")
    sym3d(folder, "export", "out/prediction.h5", "-o", "meshes", "--format", "obj,glb", "--row", 0)
    meshes = sorted((folder / "meshes").glob("*.glb"))
    assert len(meshes) == 1
    assert len(trimesh.load(meshes[0], force="mesh").faces) > 1000

    chain = json.loads(sym3d(folder, "info", "out/prediction.h5", "--json").stdout)
    assert "sym3d.checkpoint" in json.dumps(chain)
    assert "sym3d.images" in json.dumps(chain)


def test_the_pipeline_on_photographs(folder):
    photos = folder / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for index in range(40):
        Image.fromarray(rng.integers(0, 255, (80, 100, 3), np.uint8)).save(photos / f"{index}.jpg")
    sym3d(folder, "prep", "photos/", "out.h5")
    fast = ["-s", "optim.steps=2", "-s", "optim.batch=4", "-s", "model.width=0.0625", "-s", "loss.features=none"]
    sym3d(folder, "train", "cats", "--data", "out.h5", *fast)
    sym3d(folder, "infer", "runs/cats", "photos/3.jpg", "--export", "obj")
    assert list((folder / "3.sym3d").rglob("*.obj"))
    done = sym3d(folder, "eval", "runs/cats", code=3)
    assert "no true depth" in done.stderr


def test_the_shipped_model_beats_constant_depth_on_faces_it_never_saw(folder):
    sym3d(folder, "synth", "unseen.h5", "-n", 200, "--seed", 11)
    done = sym3d(folder, "eval", "synfaces", "unseen.h5", "--split", "all", "--baseline", "null-depth", "--json")
    summary = json.loads(done.stdout)["summary"]
    ours, constant = summary["model"], summary["null-depth"]
    assert ours["side"]["mean"] < 0.75 * constant["side"]["mean"]
    assert ours["mad"]["mean"] < 0.7 * constant["mad"]["mean"]


def test_shipped_weights_are_small(folder):
    from stages.shipped import shipped_models

    sizes = {name: path.stat().st_size for name, path in shipped_models().items()}
    assert sizes["synfaces"] <= 4 * 2**20
