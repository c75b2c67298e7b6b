"""Evaluation: the figures are the metrics' own, the masks and baselines exact, and what does not belong is refused."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stages import infer
from stages.artifact import make_provenance, open_artifact, write_artifact
from stages.core.health import convexity
from stages.core.metrics import evaluation_mask, mad, side
from stages.errors import InputError, StaleError, UsageError
from stages.evaluate import BASELINES, EvaluateRequest, run
from stages.loading import load_model
from stages.predict import predict

from .small import write_checkpoint, write_data


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path / "faces.h5", 10)


@pytest.fixture
def checkpoint(tmp_path, data):
    return write_checkpoint(tmp_path / "runs" / "first" / "checkpoint.h5", images=str(data))


def test_scores_are_those_of_the_metrics(tmp_path, checkpoint, data):
    result = run(EvaluateRequest(checkpoint, data, out=tmp_path / "s.h5", batch=2))
    with open_artifact(data) as images:
        rows = np.flatnonzero(images["split"][:] == 2)
        found = predict(load_model(checkpoint).model, images["image"][:][rows])
        depth, true = torch.from_numpy(found["depth"]), torch.from_numpy(images["depth"][:][rows])
        mask = evaluation_mask(torch.from_numpy(images["mask"][:][rows]), torch.from_numpy(found["valid"]))
    true = torch.where(true > 0, true, 1.0)
    expected = {"side": side(depth, true, mask).numpy(), "mad": mad(depth, true, mask).numpy()}
    with open_artifact(result.scores, "sym3d.scores") as scores:
        assert scores.strings("name") == ["face 7", "face 8", "face 9"]
        for metric, values in expected.items():
            np.testing.assert_allclose(scores[metric][:], values, rtol=1e-4)
            score = result.summary["model"][metric]
            assert score.mean == pytest.approx(values.mean(), rel=1e-4)
            assert score.std == pytest.approx(values.std(), rel=1e-2)
            assert score.count == 3
            assert scores.attrs["summary"]["model"][metric]["mean"] == score.mean
    assert result.sheet.is_file()


def test_whoever_finds_scores_finds_their_picture(tmp_path, checkpoint, data, monkeypatch):
    def killed(path, *rest, **more):
        assert path.with_suffix(".png").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr("stages.evaluate.write_artifact", killed)
    with pytest.raises(KeyboardInterrupt):
        run(EvaluateRequest(checkpoint, data, out=tmp_path / "scores.h5"))


def test_a_prediction_file_scores_as_its_checkpoint(tmp_path, checkpoint, data):
    made = infer.run(infer.InferRequest(checkpoint, (data,), tmp_path / "out"))
    by_file = run(EvaluateRequest(made.prediction, data, out=tmp_path / "a.h5"))
    by_model = run(EvaluateRequest(checkpoint, data, out=tmp_path / "b.h5"))
    for metric in ("side", "mad"):
        mine, theirs = by_file.summary["model"][metric], by_model.summary["model"][metric]
        assert mine.mean == pytest.approx(theirs.mean, rel=1e-4)
    assert by_file.images == by_model.images == 3
    # The data set is known from the recipe of the prediction's model, and the scores' place from its own.
    by_itself = run(EvaluateRequest(made.prediction))
    assert by_itself.summary == by_file.summary
    assert by_itself.scores == tmp_path / "out" / "scores.h5"


def test_depth_that_fits_no_number_is_said_to_be(tmp_path, checkpoint, data):
    """Of true depths of 1e30 MAD is NaN, though SIDE is not: it ended in a traceback."""
    with open_artifact(data) as images:
        depth = np.where(images["mask"][:], np.float32(1e30), 0)
    huge = write_data(tmp_path / "huge.h5", 10, depth=depth)
    with pytest.raises(InputError, match=r"huge\.h5 does; see that its depth is sound"):
        run(EvaluateRequest(checkpoint, huge, out=tmp_path / "s.h5"))


def test_reliability_is_kept_with_the_scores_and_judged(tmp_path, checkpoint, data):
    made = infer.run(infer.InferRequest(checkpoint, (data,), tmp_path / "out"))
    with open_artifact(made.prediction) as prediction:
        known = dict(zip(prediction.strings("name"), prediction["reliability"][:].tolist(), strict=True))
        kept = {name: prediction[name][...] for name in prediction.names if name != "reliability"}
        write_artifact(
            tmp_path / "older.h5", "sym3d.prediction", kept, provenance=prediction.provenance, attrs=prediction.attrs
        )
    assert made.reliability == tuple(sorted(known.items(), key=lambda item: item[1]))
    for target in (checkpoint, made.prediction):
        result = run(EvaluateRequest(target, data, out=tmp_path / "s.h5", overwrite=True))
        assert set(result.reliability) == {"side", "mad"}
        assert result.reliability["mad"].risk[-1] == pytest.approx(result.summary["model"]["mad"].mean, rel=1e-6)
        with open_artifact(result.scores) as scores:
            expected = [known[name] for name in scores.strings("name")]
            np.testing.assert_allclose(scores["reliability"][:], expected, atol=1e-4)
            assert scores.attrs["reliability"]["side"]["spearman"] == result.reliability["side"].spearman
    assert run(EvaluateRequest(tmp_path / "older.h5", data, out=tmp_path / "o.h5")).reliability == {}


def test_perfect_predictions_score_zero(tmp_path, checkpoint, data):
    """A data set whose truth is what the model says, up to a factor that SIDE and MAD ignore."""
    with open_artifact(data) as images:
        found = predict(load_model(checkpoint).model, images["image"][:])
        kept = {name: images[name][:] for name in ("image",)}
    depth = np.where(found["valid"], found["depth"], 0) * np.float32(1.25)
    own = write_data(tmp_path / "own.h5", 10, **kept, depth=depth, mask=found["valid"])
    result = run(EvaluateRequest(checkpoint, own, split="all", out=tmp_path / "s.h5"))
    assert result.images == 10
    assert result.summary["model"]["side"].mean < 1e-6
    assert result.summary["model"]["mad"].mean < 0.05


def test_baselines_in_closed_form(tmp_path, checkpoint):
    """Depths 1 + k on a disc: a constant is right for each; the mean of the train split is one, too."""
    depth = write_data(tmp_path / "flat.h5", 10)
    with open_artifact(depth) as images:
        mask = images["mask"][:]
    flat = np.where(mask, 1 + np.arange(10)[:, None, None] / 100, 0).astype(np.float32)
    data = write_data(tmp_path / "flat.h5", 10, depth=flat)
    result = run(EvaluateRequest(checkpoint, data, baselines=BASELINES, out=tmp_path / "s.h5"))
    for baseline in BASELINES:
        assert result.summary[baseline]["side"].mean < 1e-7
        assert result.summary[baseline]["mad"].mean < 0.01
    with open_artifact(result.scores) as scores:
        assert "baseline/null-depth/side" in scores

    # A ramp of slope s in ln d: SIDE of any constant is s times the deviation of u over the mask.
    u = np.arange(64, dtype=np.float32) / 1000
    ramp = np.where(mask, np.exp(u)[None, None, :], 0).astype(np.float32)
    data = write_data(tmp_path / "ramp.h5", 10, depth=ramp)
    result = run(EvaluateRequest(checkpoint, data, baselines=BASELINES, out=tmp_path / "r.h5"))
    inner = evaluation_mask(torch.from_numpy(mask[:1]), torch.ones(1, 64, 64, dtype=torch.bool))[0].numpy()
    expected = np.broadcast_to(u, (64, 64))[inner].std()
    assert result.summary["null-depth"]["side"].mean == pytest.approx(expected, rel=1e-4)
    assert result.summary["average-depth"]["side"].mean < 1e-6


def test_average_depth_is_learned_from_the_train_split(tmp_path, checkpoint):
    with open_artifact(write_data(tmp_path / "d.h5", 10)) as images:
        mask, split = images["mask"][:], images["split"][:]
    u = np.arange(64, dtype=np.float32) / 1000
    slope = np.where(split == 0, 1.0, -1.0)[:, None, None]
    depth = np.where(mask, np.exp(slope * u), 0).astype(np.float32)
    data = write_data(tmp_path / "d.h5", 10, depth=depth)

    def average(split, data=data):
        request = EvaluateRequest(checkpoint, data, split=split, baselines=BASELINES, out=tmp_path / "s.h5")
        summary = run(replace(request, overwrite=True)).summary
        return summary["average-depth"]["side"].mean / summary["null-depth"]["side"].mean

    assert average("train") < 1e-4
    assert average("test") == pytest.approx(2, rel=1e-3)
    no_train = write_data(tmp_path / "e.h5", 10, depth=depth, split=np.maximum(split, 1))
    assert average("test", no_train) < 1e-4


def test_images_of_the_training_however_far_back_in_the_chain(tmp_path, checkpoint, data):
    """A shipped model descends from the run that descends from the images."""
    notes = []
    report = infer.Silent()
    report.note = notes.append
    with open_artifact(data) as images, open_artifact(checkpoint) as fresh:
        recipe = fresh.provenance["recipe"]
        arrays = {name: fresh[name][...] for name in fresh.names}
        trained = {"name": "run", "schema": "sym3d.checkpoint", "digest": "0" * 64}
        trained["provenance"] = make_provenance(parents=[images])
        provenance = make_provenance(recipe=recipe, parents=[trained])
        attrs = {key: fresh.attrs[key] for key in ("step", "steps", "size")}
    write_artifact(tmp_path / "shipped.h5", "sym3d.checkpoint", arrays, provenance=provenance, attrs=attrs)
    run(EvaluateRequest(tmp_path / "shipped.h5", data, out=tmp_path / "s.h5"), report=report)
    assert not any("other images" in note for note in notes)


def test_the_newest_complete_run_and_its_recipe_s_test_split(tmp_path, checkpoint, data, monkeypatch):
    newer = write_checkpoint(tmp_path / "runs" / "newer" / "checkpoint.h5", seed=1, images="faces.h5")
    unfinished = write_checkpoint(tmp_path / "runs" / "unfinished" / "checkpoint.h5", seed=1, steps=(3, 10))
    for age, path in enumerate((unfinished, newer, checkpoint)):
        os.utime(path, (1e9 - age, 1e9 - age))
    monkeypatch.chdir(tmp_path)
    notes = []
    report = infer.Silent()
    report.note = notes.append
    result = run(EvaluateRequest(), report=report)
    assert (result.target.parent.name, result.split, result.data.name) == ("newer", "test", "faces.h5")
    assert notes == [
        "runs/newer/checkpoint.h5 was trained on other images than faces.h5",  # it does not say on any
        "runs/newer/checkpoint.h5 on the test split of faces.h5: 3 images",
    ]
    assert result.scores.resolve() == newer.parent / "scores.h5"
    run(EvaluateRequest(metrics=("mad",), baselines=("null-depth",)))  # its own file may be replaced


def test_an_image_that_cannot_be_judged_is_left_out(tmp_path, checkpoint, data):
    with open_artifact(data) as images:
        mask = images["mask"][:]
    mask[8] = False
    mask[8, 5, 5:7] = True  # nothing is left of it after the erosion
    warnings = []
    report = infer.Silent()
    report.warn = warnings.append
    partly = write_data(tmp_path / "partly.h5", 10, mask=mask)
    result = run(EvaluateRequest(checkpoint, partly, out=tmp_path / "s.h5"), report=report)
    assert result.summary["model"]["side"].count == 2
    assert np.isfinite(result.summary["model"]["side"].mean)
    assert "1 of 3 images" in warnings[0]
    nowhere = write_data(tmp_path / "nowhere.h5", 10, mask=np.zeros_like(mask))
    with pytest.raises(InputError, match="nowhere"):
        run(EvaluateRequest(checkpoint, nowhere, out=tmp_path / "t.h5"))
    assert not (tmp_path / "t.h5").exists()


def test_a_smaller_model_is_judged_at_the_size_of_the_data(tmp_path, checkpoint):
    large = write_data(tmp_path / "large.h5", size=128)
    result = run(EvaluateRequest(checkpoint, large, upscale=True, out=tmp_path / "s.h5"))
    with open_artifact(large) as images:
        rows = np.flatnonzero(images["split"][:] == 2)
        pictures, true, mask = (images[name][:][rows] for name in ("image", "depth", "mask"))
    means = pictures.reshape(3, 64, 2, 64, 2, 3).mean((2, 4))
    found = predict(load_model(checkpoint).model, (means + 0.5).astype(np.uint8))
    around = ((0, 0), (1, 1), (1, 1))
    depth, seen = (np.pad(found[name], around, "edge").astype(np.float32) for name in ("depth", "valid"))
    for axis in (1, 2):  # a quarter of a pixel to either side of a pixel's middle
        depth, seen = (_between(maps, axis) for maps in (depth, seen))
    judged = evaluation_mask(torch.from_numpy(mask), torch.from_numpy(seen == 1))
    truth = torch.from_numpy(np.where(true > 0, true, 1.0))
    with open_artifact(result.scores, "sym3d.scores") as scores:
        np.testing.assert_allclose(scores["side"][:], side(torch.from_numpy(depth), truth, judged), rtol=1e-3)
    with pytest.raises(StaleError, match="made differently: its recipe said 'upscale = true'"):
        run(EvaluateRequest(checkpoint, write_data(tmp_path / "small.h5"), out=tmp_path / "s.h5"))
    uneven = write_data(tmp_path / "uneven.h5", size=96)
    with pytest.raises(InputError, match="96 pixels and the model takes 64"):
        run(EvaluateRequest(checkpoint, uneven, upscale=True))


def _between(maps: np.ndarray, axis: int) -> np.ndarray:
    before, here, after = (np.take(maps, range(first, first + 64), axis) for first in (0, 1, 2))
    pair = np.stack([0.75 * here + 0.25 * before, 0.75 * here + 0.25 * after], axis + 1)
    return pair.reshape(*maps.shape[:axis], 128, *maps.shape[axis + 1 :])


def test_what_cannot_be_evaluated(tmp_path, checkpoint, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blind = write_data(tmp_path / "blind.h5", truth=False)
    with pytest.raises(InputError, match="no true depth"):
        run(EvaluateRequest(checkpoint, blind))
    with pytest.raises(InputError, match="64 pixels and the model takes 128"):
        run(EvaluateRequest(write_checkpoint(tmp_path / "large.h5", size=128), data))
    with pytest.raises(InputError, match="no image in its split 'test'"):
        run(EvaluateRequest(checkpoint, write_data(tmp_path / "few.h5", 5)))
    with pytest.raises(InputError, match=r"sym3d\.images"):
        run(EvaluateRequest(data, data))
    with pytest.raises(InputError, match="sym3d synth faces"):
        run(EvaluateRequest(write_checkpoint(tmp_path / "lost.h5", images="gone.h5")))
    with pytest.raises(InputError, match="no complete run"):
        run(EvaluateRequest(runs=tmp_path / "none"))
    for changed in ({"metrics": ("psnr",)}, {"baselines": ("guess",)}, {"split": "dev"}, {"metrics": ()}):
        with pytest.raises(UsageError, match="choose from"):
            run(replace(EvaluateRequest(checkpoint, data), **changed))
    assert not list(tmp_path.glob("*.scores.h5"))


def test_convexity_needs_no_truth(tmp_path, checkpoint, data):
    photos = write_data(tmp_path / "photos.h5", 10, truth=False)
    model = load_model(checkpoint).model
    with open_artifact(photos) as images:
        found = predict(model, images["image"][:][images["split"][:] == 2])
    expected = convexity(torch.from_numpy(found["canonical_depth"]))
    result = run(EvaluateRequest(checkpoint, photos, metrics=("convexity",), out=tmp_path / "photos.scores.h5"))
    figure = result.summary["model"]["convexity"]
    assert (figure.mean, figure.count) == (pytest.approx(float(expected.mean()), abs=1e-4), 3)
    assert result.sheet.is_file()
    out = tmp_path / "both.scores.h5"
    both = EvaluateRequest(checkpoint, data, metrics=("convexity", "side"), baselines=("null-depth",), out=out)
    assert [set(who) for who in run(both).summary.values()] == [{"convexity", "side"}, {"side"}]
    with pytest.raises(InputError, match=r"no true depth to compare with; .*--metric convexity"):
        run(EvaluateRequest(checkpoint, photos))


def test_a_prediction_of_something_else(tmp_path, checkpoint, data):
    made = infer.run(infer.InferRequest(checkpoint, (data,), tmp_path / "out", split="train"))
    with pytest.raises(InputError, match="no image of the test split"):
        run(EvaluateRequest(made.prediction, data))
    with pytest.raises(StaleError, match="was not made from"):
        run(EvaluateRequest(made.prediction, write_data(tmp_path / "changed.h5", seed=1), split="train"))
    names = write_data(tmp_path / "twice.h5", name=["same"] * 10)
    twice = infer.run(infer.InferRequest(checkpoint, (names,), tmp_path / "twice"))
    with pytest.raises(InputError, match="same name"):
        run(EvaluateRequest(twice.prediction, names))


def test_scores_of_something_else_are_kept(tmp_path, checkpoint, data):
    request = EvaluateRequest(checkpoint, data, out=tmp_path / "s.h5")
    run(request)
    assert run(request).images == 3
    before = (tmp_path / "s.h5").read_bytes()
    with pytest.raises(StaleError, match="--overwrite"):
        run(replace(request, split="train"))
    with pytest.raises(InputError, match=r"sym3d\.images"):
        run(replace(request, out=Path(shutil.copy(data, tmp_path / "other.h5"))))
    with pytest.raises(UsageError, match="is what is to be read"):
        run(replace(request, out=data))
    assert (tmp_path / "s.h5").read_bytes() == before
    assert run(replace(request, split="train", overwrite=True)).images == 6
