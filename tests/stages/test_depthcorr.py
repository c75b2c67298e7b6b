"""The table of depth correlation, from DepthNet to pre-training; that of seeds; and the picture of confidence maps."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import stages.reproduce.depthcorr
import stages.reproduce.depthnet
import stages.reproduce.seeds
from stages.artifact import open_artifact
from stages.core.depthnet import affine_residual
from stages.core.metrics import depth_correlation
from stages.errors import InputError
from stages.evaluate import EvaluateRequest
from stages.evaluate import run as evaluate
from stages.progress import Silent
from stages.recipe import load_recipe
from stages.reproduce import ReproduceRequest, run
from stages.reproduce.confidence import confidence_sheet
from stages.reproduce.depthcorr import _half
from stages.reproduce.depthnet import ask_depthnet, learn_depthnet
from stages.reproduce.seeds import ROWS, SeedsLine, seeds_scale
from stages.reproduce.tables import scale
from tests.core.test_keypoints import turned
from tests.stages.small import train_here, write_checkpoint, write_data


def key_points(count: int = 10, seed: int = 0) -> np.ndarray:
    """Inside the disc that small data sets have their object on, with its depth there and some noise."""
    rng = np.random.default_rng(seed)
    uv = rng.uniform(16, 48, (count, 66, 2))
    depth = 1 + 0.1 * rng.random((count, 66, 1))
    return np.concatenate([uv, depth], 2).astype(np.float32)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stages.reproduce.depthnet, "STEPS", 3)
    for module in (stages.reproduce.depthcorr, stages.reproduce.seeds):
        monkeypatch.setattr(module, "train_all", train_here)
    write_data(tmp_path / "faces.h5", count=10, keypoints=key_points())
    return tmp_path


def test_depthnet_finds_the_depth_of_turned_points():
    faces = turned(400, 0)
    flat = affine_residual(faces[:200, :, :2], torch.zeros(200, 66), faces[200:, :, :2]).mean()
    net = learn_depthnet(faces[:200, :, :2], 0, Silent(), steps=150)
    depth = ask_depthnet(net, faces[200:, :, :2], faces[:8, :, :2])
    assert affine_residual(faces[200:, :, :2], depth, faces[:200, :, :2]).mean() < 0.2 * flat
    # The pose in the depths is theirs to choose; what is left of them must follow the truth, up to sign and scale.
    left = [_less_slope(values, faces[200:, :, :2]) for values in (depth, faces[200:, :, 2])]
    within = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(*left, strict=True)])
    assert within.abs().mean() > 0.9


def _less_slope(depth, uv):
    plane = torch.cat([uv, torch.ones_like(depth)[..., None]], 2)
    return depth - (plane @ torch.linalg.lstsq(plane, depth[..., None]).solution)[..., 0]


def test_eval_judges_key_points_also_without_depth_maps(here):
    checkpoint = write_checkpoint(here / "model.h5")
    result = evaluate(EvaluateRequest(checkpoint, here / "faces.h5", metrics=("depthcorr", "side")))
    figure = result.summary["model"]["depthcorr"]
    with open_artifact(result.scores, "sym3d.scores") as scores, open_artifact(here / "faces.h5") as data:
        predicted = torch.from_numpy(scores["keypoint_depth"][:])
        truth = torch.from_numpy(data["keypoints"][:][data["split"][:] == 2, :, 2])
        assert scores["keypoint_relief"].shape == (3,)
        assert scores.attrs["summary"]["model"]["depthcorr"]["mean"] == figure.mean
    assert figure.mean == pytest.approx(depth_correlation(predicted, truth).item())
    assert (figure.std, figure.count) == (None, 3)
    write_data(here / "points.h5", count=10, truth=False, keypoints=key_points())
    alone = evaluate(EvaluateRequest(checkpoint, here / "points.h5", metrics=("depthcorr",)))
    assert alone.summary["model"]["depthcorr"] == figure
    with pytest.raises(InputError, match=r"has no true depth.*--metric depthcorr"):
        evaluate(EvaluateRequest(checkpoint, here / "points.h5"))
    write_data(here / "dense.h5", count=10)
    with pytest.raises(InputError, match="has no key points to compare with"):
        evaluate(EvaluateRequest(checkpoint, here / "dense.h5", metrics=("depthcorr",)))


def test_without_depth_maps_or_other_faces_the_table_is_shorter(here):
    write_data(here / "points.h5", count=10, truth=False, keypoints=key_points())
    result = run(ReproduceRequest("depthcorr", Path("points.h5"), quick=True, steps=1))
    assert [line.cells()[0].split()[0] for line in result.lines] == ["ground", "unsupervised", "DepthNet:"]
    assert [line.seeds for line in result.lines] == [0, 1, 1]


@pytest.mark.slow
def test_a_table_of_depth_correlation(here):
    write_data(here / "others.h5", count=10, truth=False, seed=1)
    request = ReproduceRequest("depthcorr", Path("faces.h5"), quick=True, steps=2, pretrain=Path("others.h5"))
    result = run(request)
    assert [line.label for line in result.lines] == [
        "ground truth",
        "unsupervised",
        "unsupervised, with pre-training",
        "supervised",
        "average depth",
        "DepthNet: from the key points' positions",
    ]
    assert result.lines[0].figures == (pytest.approx(66),)
    assert all(0 < line.figures[0] < 66 for line in result.lines[1:])
    assert result.lines[2].cells()[2:4] == ("54.65", "1")
    assert "| ground truth | 66.00 | 66 |  |" in (here / "results/depthcorr-quick.md").read_text()
    with open_artifact(next(here.glob("runs/*-after-*/checkpoint.h5"))) as checkpoint:
        first = checkpoint.provenance["parents"][1]
        assert first["provenance"]["parents"][0]["name"] == "others.h5"
        assert "\nsteps = 1\n" in first["provenance"]["recipe"]
        assert checkpoint.attrs["step"] == 1, "all rows see as many images"
    made = sorted((here / "runs").rglob("*.h5"))
    before = [path.stat().st_mtime_ns for path in made]
    assert run(request).lines == result.lines
    assert [path.stat().st_mtime_ns for path in made] == before, "what was complete was done again"


@pytest.mark.parametrize(("steps", "half"), [(None, 4000), (1, 1), (7, 3)])
def test_pretraining_takes_half_of_the_steps(steps, half):
    size = _half(ReproduceRequest("depthcorr", quick=True, steps=steps))
    assert (size.settings, size.steps) == ((f"optim.steps={half}",), half)
    assert _half(ReproduceRequest("depthcorr", steps=steps)).settings == scale(False, steps).settings


def test_data_without_key_points_are_refused(here):
    write_data(here / "dense.h5", count=10)
    with pytest.raises(InputError, match="has no key points; make some with sym3d synth"):
        run(ReproduceRequest("depthcorr", Path("dense.h5"), quick=True, steps=1))


@pytest.mark.parametrize("quick", [False, True])
def test_every_row_of_the_seeds_is_a_recipe_of_its_own(quick):
    size = seeds_scale(quick, None)
    recipes = [load_recipe(size.recipe, (*size.settings, *settings)) for _, settings in ROWS[quick].values()]
    assert len({recipe.text() for recipe in recipes}) == len(ROWS[quick])
    assert recipes[0].model.convex_prior == 0
    assert not recipes[0].model.symmetric
    assert recipes[0].loss.yaw_spread is None
    assert recipes[0].optim.search_steps == 0


def test_a_table_of_seeds(here, monkeypatch):
    rows = {True: dict(list(ROWS[True].items())[:1])}
    monkeypatch.setattr(stages.reproduce.seeds, "ROWS", rows)
    request = ReproduceRequest("seeds", Path("faces.h5"), quick=True, seeds=1, steps=1)
    result = run(request)
    (line,) = result.lines
    assert (line.label, line.seeds, line.diverged) == ("as in the paper, narrow", 1, 0)
    assert line.sound == 1 - line.inverted
    assert json.loads((here / "results/seeds-quick.json").read_text())["rows"][0]["seeds"] == 1
    with open_artifact(next(here.glob("runs/seeds-quick-*-plain-0/ending.h5"))) as scores:
        assert np.abs(scores["yaw"][:]).max() < np.pi / 3
    assert run(request).lines == result.lines


def test_seeds_are_counted_by_how_they_end():
    ends = [(True, False), (True, True), (False, True), (False, False)]
    endings = [stages.reproduce.seeds._Ending(*end, np.array([0.01, 0.03]), np.array([10.0, 20]), 2) for end in ends]
    line = stages.reproduce.seeds._line("x", [*endings, None])
    assert line.cells() == ("x", "2 of 5", "2 of 5", "1 of 5", "1 of 5", "2.00 ± 1.00", "15.0 ± 5.0")
    assert stages.reproduce.seeds._line("x", [None]) == SeedsLine("x", 1, 0, 0, 1, 0, None, None, 0)


def test_confidence_maps_are_drawn(here):
    run_dir = write_checkpoint(here / "run/checkpoint.h5").parent
    path = confidence_sheet(here / "sheet.png", run_dir, here / "faces.h5")
    assert path.read_bytes()[:4] == b"\x89PNG"
