"""Inference: photographs and data sets in; predictions, sheets and meshes out; resumable, lenient with bad files."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import stages.infer
from stages.artifact import open_artifact
from stages.core.inference import QuickSym3D
from stages.core.model import Sym3D
from stages.errors import InputError, OutputError, StaleError, UsageError
from stages.infer import InferRequest, run
from stages.loading import load_model
from stages.predict import predict, prediction_fields

from .small import small_model, write_checkpoint, write_data


@pytest.fixture
def checkpoint(tmp_path):
    return write_checkpoint(tmp_path / "checkpoint.h5")


@pytest.fixture
def photos(tmp_path):
    """Five pictures of a folder, one of them nested and one not square."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    shapes = {"a.png": (64, 64), "b.png": (80, 100), "c.png": (64, 64), "d.png": (128, 128), "more/e.png": (70, 64)}
    for name, shape in shapes.items():
        Image.fromarray(rng.integers(0, 255, (*shape, 3), np.uint8)).save(folder / name)
    return folder


def test_one_photograph_to_files(tmp_path, checkpoint, photos, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(InferRequest(checkpoint, (photos / "a.png",), formats=("obj", "glb", "ply")))
    assert result.prediction.resolve() == (tmp_path / "a.sym3d" / "prediction.h5").resolve()
    names = {path.name for path in result.meshes}
    assert names >= {"a.obj", "a.glb", "a.ply"}
    assert all(path.is_file() for path in (*result.meshes, result.sheet))
    assert result.images == 1
    assert result.images_per_second > 0


def test_rows_are_what_the_model_says(tmp_path, checkpoint, photos):
    data = write_data(tmp_path / "data.h5")
    result = run(InferRequest(checkpoint, (data,), tmp_path / "out", batch=3, confidence=True))
    model = load_model(checkpoint).model
    with open_artifact(result.prediction, "sym3d.prediction") as found, open_artifact(data) as images:
        expected = predict(model, images["image"][:])
        for name in prediction_fields(model):
            tolerance = 1 if expected[name].dtype == np.uint8 else 2e-5
            np.testing.assert_allclose(found[name][:].astype(float), expected[name].astype(float), atol=tolerance)
        np.testing.assert_array_equal(found["image"][:], images["image"][:])
        assert found.strings("name") == images.strings("name")
        assert found.attrs["fov"] == 10.0
        digests = [parent["digest"] for parent in found.provenance["parents"]]
        assert digests == [load_model(checkpoint).digest, images.digest]


def test_folders_zips_lists_and_images_are_the_same(tmp_path, checkpoint, photos):
    files = sorted(photos.rglob("*.png"))
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for file in files:
            archive.write(file, file.relative_to(photos))
    (photos / "list.txt").write_text("".join(f"{file.relative_to(photos)}\n" for file in files))
    inputs = {"zip": (tmp_path / "photos.zip",), "list": (photos / "list.txt",), "files": tuple(files)}
    depths = {}
    for kind, paths in inputs.items():
        result = run(InferRequest(checkpoint, paths, tmp_path / kind))
        assert result.images == 5
        with open_artifact(result.prediction) as found:
            depths[kind] = found["depth"][:]
    np.testing.assert_array_equal(depths["zip"], depths["list"])
    np.testing.assert_array_equal(depths["zip"], depths["files"])


def test_the_crop_is_that_of_prep(tmp_path, checkpoint):
    picture = np.zeros((64, 192, 3), np.uint8)
    picture[:, 64:128] = 200
    Image.fromarray(picture).save(tmp_path / "wide.png")
    for crop, white in (("center", True), ("none", False)):
        result = run(InferRequest(checkpoint, (tmp_path / "wide.png",), tmp_path / crop, crop=crop))
        with open_artifact(result.prediction) as found:
            assert (found["image"][0] == 200).all() == white


def test_a_split_of_a_data_set(tmp_path, checkpoint):
    data = write_data(tmp_path / "data.h5", 10)
    for split, count in {"all": 10, "train": 6, "val": 1, "test": 3}.items():
        assert run(InferRequest(checkpoint, (data,), tmp_path / split, split=split)).images == count
    with pytest.raises(UsageError, match="choose from"):
        run(InferRequest(checkpoint, (data,), tmp_path / "x", split="dev"))
    only_train = write_data(tmp_path / "train.h5", 5)
    with pytest.raises(InputError, match="no image in its split 'test'"):
        run(InferRequest(checkpoint, (only_train,), tmp_path / "x", split="test"))


def test_bad_images_among_good_ones_are_skipped(tmp_path, checkpoint, photos):
    (photos / "aa.png").write_bytes(b"no image")
    (photos / "cc.png").write_bytes((photos / "c.png").read_bytes()[:2000])
    (photos / "empty.jpg").touch()
    result = run(InferRequest(checkpoint, (photos,), tmp_path / "out", batch=2, formats=("ply",)))
    assert result.images == 5
    assert [name for name, _ in result.skipped] == ["aa.png", "cc.png", "empty.jpg"]
    assert all(reason for _, reason in result.skipped)
    with open_artifact(result.prediction) as found:
        assert found.strings("name") == ["a.png", "b.png", "c.png", "d.png", "more/e.png"]
    again = run(InferRequest(checkpoint, (photos,), tmp_path / "out", batch=2, formats=("ply",)))
    assert again.skipped == result.skipped
    assert again.images_per_second is None


def test_a_photograph_that_vanishes_meanwhile_is_skipped(tmp_path, checkpoint, photos, monkeypatch):
    def predict_and_lose(*arguments):
        (photos / "d.png").unlink(missing_ok=True)
        return predict(*arguments)

    monkeypatch.setattr(stages.infer, "predict", predict_and_lose)
    result = run(InferRequest(checkpoint, (photos,), tmp_path / "out", batch=2))
    assert result.images == 4
    assert result.skipped == (("d.png", "unreadable file: does not exist"),)


def test_only_bad_images(tmp_path, checkpoint):
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a\.png: not an image"):
        run(InferRequest(checkpoint, (folder / "a.png",), tmp_path / "out"))
    (folder / "b.png").touch()
    with pytest.raises(InputError, match=r"none of its 2 files can be used.*a\.png"):
        run(InferRequest(checkpoint, (folder,), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_inputs_that_are_not_there(tmp_path, checkpoint):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    other = write_checkpoint(tmp_path / "large.h5", size=128)
    data = write_data(tmp_path / "data.h5")
    for inputs, what in (
        ((tmp_path / "nothing.png",), "does not exist"),
        ((tmp_path / "empty",), "holds no file"),
        ((tmp_path / "text.h5",), "text.h5"),
        ((checkpoint,), r"sym3d\.checkpoint"),
    ):
        with pytest.raises(InputError, match=what):
            run(InferRequest(checkpoint, inputs, tmp_path / "out"))
    with pytest.raises(InputError, match="its images have 64 pixels and the model takes 128"):
        run(InferRequest(other, (data,), tmp_path / "out"))
    with pytest.raises(InputError, match="no such checkpoint"):
        run(InferRequest(tmp_path / "none.h5", (data,), tmp_path / "out"))
    with pytest.raises(UsageError, match="nothing to infer"):
        run(InferRequest(checkpoint, (), tmp_path / "out"))
    with pytest.raises(UsageError, match="max"):
        run(InferRequest(checkpoint, (data,), tmp_path / "out", formats=("max",)))
    with pytest.raises(UsageError, match="device"):
        run(InferRequest(checkpoint, (data,), tmp_path / "out", device="tpu9"))
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").touch()
    with pytest.raises(OutputError):
        run(InferRequest(checkpoint, (data,), tmp_path / "out"))


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, checkpoint, monkeypatch):
    data = write_data(tmp_path / "data.h5")
    request = InferRequest(checkpoint, (data,), tmp_path / "out", batch=4)
    seen = []

    def counting(model, images, batch):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(len(images))
        return predict(model, images, batch)

    monkeypatch.setattr(stages.infer, "predict", counting)
    with pytest.raises(KeyboardInterrupt):
        run(request)
    assert not (tmp_path / "out" / "prediction.h5").exists()
    monkeypatch.setattr(stages.infer, "predict", lambda *given: seen.append(len(given[1])) or predict(*given))
    assert run(request).images == 10
    assert seen == [4, 4, 2]
    whole = run(InferRequest(checkpoint, (data,), tmp_path / "whole", batch=4))
    with open_artifact(tmp_path / "out" / "prediction.h5") as a, open_artifact(whole.prediction) as b:
        assert a.digest == b.digest


def test_results_of_something_else_are_not_touched(tmp_path, checkpoint, photos):
    request = InferRequest(checkpoint, (photos / "a.png",), tmp_path / "out")
    run(request)
    before = (tmp_path / "out" / "prediction.h5").read_bytes()
    for other in (
        InferRequest(write_checkpoint(tmp_path / "other.h5", seed=1), request.inputs, request.out),
        InferRequest(checkpoint, (photos / "b.png",), request.out),
        InferRequest(checkpoint, request.inputs, request.out, crop="0.5"),
    ):
        with pytest.raises(StaleError, match="--overwrite"):
            run(other)
    assert (tmp_path / "out" / "prediction.h5").read_bytes() == before
    Image.new("RGB", (64, 64)).save(photos / "a.png")
    with pytest.raises(StaleError):
        run(request)
    assert run(replace(request, overwrite=True)).images == 1


@pytest.mark.parametrize("size", [64, 128])
def test_fewer_operations_give_the_same(size):
    torch.manual_seed(0)
    model = Sym3D(size, 0.5).eval().requires_grad_(False)
    quick = QuickSym3D(model)
    image = torch.rand(2, 3, size, size) * 2 - 1
    with torch.inference_mode():
        mine, theirs = model.predict(image), quick.predict(image)
    for name in ("depth", "albedo", "view", "light_direction", "confidence", "perceptual_confidence"):
        torch.testing.assert_close(getattr(theirs, name), getattr(mine, name), atol=2e-5, rtol=1e-4)


def test_every_kind_of_layer_is_replaced_exactly(monkeypatch):
    monkeypatch.setattr("stages.core.inference.DEEP", 1)
    model = small_model()[0].eval().requires_grad_(False)
    image = torch.rand(3, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        mine, theirs = model.predict(image), QuickSym3D(model).predict(image)
    for name in ("depth", "albedo", "view", "confidence"):
        torch.testing.assert_close(getattr(theirs, name), getattr(mine, name), atol=2e-5, rtol=1e-4)


def test_predict_wants_the_model_s_size():
    with pytest.raises(ValueError, match="64 pixels"):
        predict(small_model()[0], np.zeros((1, 32, 32, 3), np.uint8))
