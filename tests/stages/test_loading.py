"""Loading a model: every fault of a checkpoint is an InputError that names it."""

import os

import numpy as np
import pytest
import torch

import stages.loading
from stages.artifact import make_provenance, write_artifact
from stages.errors import InputError
from stages.loading import build_model, find_target, load_model
from stages.recipe import parse_recipe

from .small import RECIPE, small_model, write_checkpoint, write_data

FIRST = "model/netD.network.0.weight"  # 4×3×4×4


def test_weights_recipe_and_origin_come_back(tmp_path):
    path = write_checkpoint(tmp_path / "run" / "checkpoint.h5", seed=3)
    for name in (path, path.parent):
        loaded = load_model(name)
        for key, value in small_model(seed=3)[0].state_dict().items():
            assert torch.equal(loaded.model.state_dict()[key], value)
        assert not loaded.model.training
        assert loaded.recipe.model.width == 0.0625
        assert loaded.step == 10
        assert loaded.parent["digest"] == loaded.digest


def test_what_a_recipe_claims_takes_no_memory(tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr(stages.loading, "build_model", lambda section: built.append(build_model(section)) or built[-1])
    recipe = parse_recipe(RECIPE.format(size=256, images="faces.h5").replace("0.0625", "4.0")).text()
    provenance, arrays = make_provenance(recipe=recipe), {FIRST: np.zeros((4, 3, 4, 4), np.float32)}
    write_artifact(tmp_path / "c.h5", "sym3d.checkpoint", arrays, provenance=provenance, attrs={"step": 1})
    with pytest.raises(InputError, match="its weights do not fit its networks"):
        load_model(tmp_path / "c.h5")
    assert {weight.device.type for model in built for weight in model.parameters()} == {"meta"}


def test_averaged_weights_are_preferred(tmp_path):
    average = {f"ema/{name}": tensor.numpy() for name, tensor in small_model(seed=1)[0].state_dict().items()}
    path = write_checkpoint(tmp_path / "c.h5", seed=0, **average)
    wanted = {True: small_model(seed=1)[0], False: small_model(seed=0)[0]}
    for ema, model in wanted.items():
        loaded = load_model(path, ema=ema)
        assert loaded.averaged is ema
        assert torch.equal(loaded.model.netD.network[0].weight, model.netD.network[0].weight)


def test_a_shipped_model_goes_by_its_name(tmp_path, monkeypatch):
    path = write_checkpoint(tmp_path / "faces-small.h5")
    monkeypatch.setattr(stages.loading, "shipped_models", lambda: {"faces-small": path})
    monkeypatch.chdir(tmp_path)
    assert load_model("faces-small").path == path
    with pytest.raises(InputError, match="did you mean faces-small"):
        load_model("face-small")


def test_a_folder_of_results_does_not_hide_the_shipped_model_of_its_name(tmp_path, monkeypatch):
    path = write_checkpoint(tmp_path / "shipped.h5")
    monkeypatch.setattr(stages.loading, "shipped_models", lambda: {"faces": path})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    assert load_model("faces").path == path
    ours = write_checkpoint(tmp_path / "faces" / "checkpoint.h5")
    assert load_model("faces").path.samefile(ours)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({FIRST: None}, r"missing netD\.network\.0\.weight"),
        ({"model/netX.0.weight": np.zeros(3, np.float32)}, r"unknown netX\.0\.weight"),
        ({FIRST: np.zeros((4, 3, 3, 4), np.float32)}, r"netD\.network\.0\.weight is 4×3×3×4 and not 4×3×4×4"),
        ({FIRST: np.zeros((4, 3, 4, 4), np.int32)}, "holds int32, not floats"),
        ({FIRST: np.full((4, 3, 4, 4), np.nan, np.float32)}, r"not finite: netD\.network\.0\.weight"),
        ({FIRST: np.full((4, 3, 4, 4), np.inf, np.float64)}, r"not finite: netD\.network\.0\.weight"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, replaced, message):
    path = write_checkpoint(tmp_path / "c.h5", **replaced)
    with pytest.raises(InputError, match=message) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_without_a_recipe_it_understands(tmp_path):
    arrays = {f"model/{name}": tensor.numpy() for name, tensor in small_model()[0].state_dict().items()}
    for recipe in ("", "name = 'x'\nfuture = 1\n", "this is [ no TOML"):
        path = tmp_path / "c.h5"
        write_artifact(path, "sym3d.checkpoint", arrays, provenance=make_provenance(recipe=recipe), attrs={"step": 1})
        with pytest.raises(InputError, match="its recipe"):
            load_model(path)


def test_what_is_no_checkpoint(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(InputError, match=r"no checkpoint\.h5 in this folder"):
        load_model(tmp_path / "empty")
    with pytest.raises(InputError, match="no such checkpoint"):
        load_model(tmp_path / "nowhere.h5")
    with pytest.raises(InputError):
        load_model(tmp_path / "text.h5")
    with pytest.raises(InputError, match=r"sym3d\.images"):
        load_model(write_data(tmp_path / "data.h5"))


def test_the_newest_complete_run(tmp_path):
    with pytest.raises(InputError, match="no complete run"):
        find_target(None, tmp_path / "runs")
    runs = {
        name: write_checkpoint(tmp_path / "runs" / name / "checkpoint.h5", steps=steps)
        for name, steps in {"old": (10, 10), "new": (12, 12), "unfinished": (5, 10)}.items()
    }
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "checkpoint.h5").write_bytes(b"damaged")
    for age, path in enumerate((runs["unfinished"], runs["new"], runs["old"])):
        os.utime(path, (1e9 - age, 1e9 - age))
    assert find_target(None, tmp_path / "runs") == runs["new"]
    runs["new"].unlink()
    runs["old"].unlink()
    (tmp_path / "runs" / "broken" / "checkpoint.h5").unlink()
    with pytest.raises(InputError, match="unfinished is at step 5 of 10"):
        find_target(None, tmp_path / "runs")
