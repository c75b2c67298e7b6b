"""sym3d rerun: the same artifact again, from its parents only, whatever the artifact says."""

import sys

import numpy as np
import pytest
from PIL import Image

from stages.artifact import make_provenance, open_artifact, write_artifact
from tests.stages.small import write_checkpoint, write_data, write_vgg16
from tests.stages.test_convert import reference, save
from tests.stages.test_train import RECIPE
from tests.stages.tiny_face import tiny_arrays, write_model


@pytest.fixture
def sym3d(sym3d, monkeypatch):
    """As at a shell: the command line is what the process was started with."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sym3d", *map(str, arguments)])
        return sym3d(*arguments)

    return call


def pretend(path, argv, recipe="size = 64\n", parents=(), **attrs):
    """An artifact whose provenance a stranger wrote."""
    provenance = make_provenance(recipe=recipe, parents=parents) | {"argv": argv}
    arrays = {
        "image": np.zeros((1, 64, 64, 3), np.uint8),
        "split": np.zeros(1, np.uint8),
        "name": ["a"],
        "sha256": ["0"],
    }
    write_artifact(path, "sym3d.images", arrays, provenance=provenance, attrs=attrs)
    return path


def test_faces_prediction_and_scores_come_out_the_same(sym3d, tmp_path):
    write_checkpoint(tmp_path / "model.h5")
    assert sym3d("-q", "synth", "faces.h5", "-n", 10, "--seed", 3, "--size", 64).exit_code == 0
    assert sym3d("infer", "model.h5", "faces.h5", "-o", "out", "--split", "test", "--batch", 4).exit_code == 0
    assert sym3d("eval", "model.h5", "faces.h5", "-o", "scores.h5", "--baseline", "null-depth").exit_code == 0
    parents = ["--parent", "model.h5", "--parent", "faces.h5"]
    for artifact, made, named in (
        ("faces.h5", "again/faces.h5", []),
        ("out/prediction.h5", "again/out/prediction.h5", parents),
        ("scores.h5", "again/scores.h5", []),  # both lie beside it
    ):
        result = sym3d("rerun", artifact, "-o", (tmp_path / made).parent, *named)
        assert result.exit_code == 0, result.stderr
        assert "the same as" in result.stderr
        with open_artifact(tmp_path / artifact) as one, open_artifact(tmp_path / made) as other:
            assert one.digest == other.digest
            assert other.provenance["argv"][1] == one.provenance["argv"][1 + one.provenance["argv"].count("-q")]


def test_a_training_comes_out_the_same_and_reads_no_path_of_its_recipe(sym3d, tmp_path):
    write_data(tmp_path / "faces.h5")
    text = RECIPE.format(steps=3, save_every=1000).replace("[run]", "[run]\nkeep_last = 2\n")
    (tmp_path / "recipe.toml").write_text(text.replace("batch = 4", "batch = 2"))
    assert sym3d("train", "recipe.toml").exit_code == 0
    (tmp_path / "recipe.toml").unlink()
    result = sym3d("rerun", "runs/test/checkpoint.h5", "-o", "again", "--parent", "faces.h5")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "again/checkpoint.h5\n"


def test_parents_are_known_by_their_digest(refused, sym3d, tmp_path):
    write_checkpoint(tmp_path / "model.h5")
    write_data(tmp_path / "faces.h5")
    assert sym3d("eval", "model.h5", "faces.h5", "-o", "scores/scores.h5").exit_code == 0
    line = refused(3, "rerun", "scores/scores.h5", "-o", "again")
    assert "was made from model.h5" in line
    assert "--parent" in line
    write_checkpoint(tmp_path / "scores" / "model.h5", seed=1)
    assert "is not the model.h5 that" in refused(4, "rerun", "scores/scores.h5", "-o", "again")
    every = ["--parent", "model.h5", "--parent", "faces.h5", "--parent", "scores/model.h5"]
    assert "was not made from it" in refused(2, "rerun", "scores/scores.h5", "-o", "again", *every)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["sym3d", "bench"],
        ["sym3d", "rerun", "faces.h5", "-o", "elsewhere"],
        ["sym3d", "export", "prediction.h5", "-o", "elsewhere"],
        ["sym3d", "recipes", "copy", "cats"],
        ["sym3d", "synth", "--help"],
        ["sym3d", "synth", "elsewhere.h5", "--no-such-option"],
        ["sym3d", "synth", "elsewhere.h5", "-n", "many"],
        ["sym3d", "$(touch elsewhere)"],
    ],
)
def test_a_strangers_command_is_not_run(refused, tmp_path, argv):
    pretend(tmp_path / "theirs.h5", argv)
    refused(3, "rerun", "theirs.h5", "-o", "again")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.h5"]


def test_a_strangers_command_writes_and_reads_only_what_the_user_named(sym3d, tmp_path):
    (tmp_path / "secret").write_bytes(b"x" * 100)
    argv = ["sym3d", "synth", "../elsewhere.h5", "-n", "2", "--morphable", str(tmp_path / "secret"), "--overwrite"]
    pretend(tmp_path / "theirs.h5", argv, step="abc")  # which means something in checkpoints only
    result = sym3d("rerun", "theirs.h5", "-o", "again")
    assert result.exit_code == 4
    assert "again/theirs.h5: is not the same as theirs.h5 (its settings" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "secret", "theirs.h5"]
    assert not (tmp_path.parent / "elsewhere.h5").exists()


def test_a_parent_cannot_be_a_path(refused, tmp_path):
    parents = [{"name": "../secret", "digest": "0"}]
    pretend(tmp_path / "theirs.h5", ["sym3d", "prep", "../secret", "out.h5"], parents=parents)
    assert "not beside it" in refused(3, "rerun", "theirs.h5", "-o", "again")


def test_the_artifact_itself_is_not_its_own_proof(refused, tmp_path):
    pretend(tmp_path / "theirs.h5", ["sym3d", "synth", "theirs.h5"])
    assert "is where the artifact itself is" in refused(2, "rerun", "theirs.h5", "-o", ".")


def test_what_lies_in_the_folder_already_proves_nothing(refused, tmp_path):
    pretend(tmp_path / "theirs.h5", ["sym3d", "synth", "theirs.h5"])
    (tmp_path / "again").mkdir()
    (tmp_path / "again/theirs.h5").write_bytes((tmp_path / "theirs.h5").read_bytes())
    assert "holds theirs.h5 already" in refused(2, "rerun", "theirs.h5", "-o", "again")


def test_what_a_rerun_left_before_it_could_compare_is_compared(sym3d, tmp_path):
    assert sym3d("synth", "faces.h5", "-n", 2).exit_code == 0
    again(sym3d, "faces.h5")
    before = (tmp_path / "again/faces.h5").stat().st_mtime_ns
    again(sym3d, "faces.h5")
    assert (tmp_path / "again/faces.h5").stat().st_mtime_ns == before


def again(sym3d, artifact, *parents):
    """Run it again in a folder of its own, from these parents."""
    named = [part for parent in parents for part in ("--parent", parent)]
    result = sym3d("rerun", artifact, "-o", "again", *named)
    assert result.exit_code == 0, result.stderr
    assert f"the same as {artifact}" in result.stderr


def test_photographs_are_prepared_the_same(sym3d, tmp_path):
    (tmp_path / "photos").mkdir()
    for shade in (50, 90):
        Image.effect_noise((90, 70), shade).convert("RGB").save(tmp_path / "photos" / f"{shade}.png")
    assert sym3d("prep", "photos", "out.h5", "--crop", "0.8", "--perturb", "--workers", 1).exit_code == 0
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    (tmp_path / "named").mkdir()
    (tmp_path / "elsewhere").rename(tmp_path / "named" / "photos")
    again(sym3d, "out.h5", "named/photos")
    Image.effect_noise((90, 70), 50).convert("RGB").save(tmp_path / "named" / "photos" / "50.png")
    result = sym3d("rerun", "out.h5", "-o", "other", "--parent", "named/photos")
    assert result.exit_code == 4
    assert "photos has another content" in result.stderr


def test_features_are_learned_the_same(sym3d, tmp_path):
    write_data(tmp_path / "faces.h5")
    made = sym3d("features", "faces.h5", "made/features.h5", "--steps", 2, "--batch", 2, "--width", 0.0625)
    assert made.exit_code == 0, made.stderr
    again(sym3d, "made/features.h5", "faces.h5")


def test_faces_of_a_face_model_are_drawn_the_same(sym3d, tmp_path):
    write_model(tmp_path / "model.h5", tiny_arrays())
    assert sym3d("synth", "out.h5", "-n", 3, "--morphable", "model.h5").exit_code == 0
    (tmp_path / "model.h5").rename(tmp_path / "mine.h5")
    again(sym3d, "out.h5", "mine.h5")


def test_an_imported_checkpoint_is_imported_the_same(refused, sym3d, tmp_path):
    save(tmp_path / "ref.pth", reference()[1])
    (tmp_path / "mine.toml").write_text(RECIPE.format(steps=1, save_every=1).replace("width", "fov = 20.0\nwidth"))
    assert sym3d("import", "ref.pth", "out.h5", "--like", "mine.toml").exit_code == 0
    (tmp_path / "mine.toml").unlink()
    again(sym3d, "out.h5")
    assert "holds out.h5 already; name another folder" in refused(2, "rerun", "out.h5", "-o", "again")
    save(tmp_path / "ref.pth", reference(seed=1)[1])
    result = sym3d("rerun", "out.h5", "-o", "other")
    assert result.exit_code == 4
    assert "is not the ref.pth that out.h5 was made from" in result.stderr


def test_a_training_needs_the_weights_that_it_had(sym3d, tmp_path, monkeypatch):
    write_data(tmp_path / "faces.h5")
    write_checkpoint(tmp_path / "first.h5")
    write_vgg16(tmp_path / "vgg16.safetensors", 0)
    monkeypatch.setenv("SYM3D_VGG16", str(tmp_path / "vgg16.safetensors"))
    text = RECIPE.format(steps=1, save_every=1000).replace("batch = 4", 'batch = 2\ninit = "first.h5"')
    (tmp_path / "recipe.toml").write_text(text.replace('features = "none"', 'features = "vgg16"'))
    assert sym3d("train", "recipe.toml").exit_code == 0
    (tmp_path / "vgg16.safetensors").rename(tmp_path / "mine.safetensors")
    again(sym3d, "runs/test/checkpoint.h5", "faces.h5", "first.h5", "mine.safetensors")
    write_vgg16(tmp_path / "vgg16.safetensors", 1)
    result = sym3d("rerun", "runs/test/checkpoint.h5", "-o", "other", "--parent", "faces.h5", "--parent", "first.h5")
    assert result.exit_code == 4
    assert "is not the vgg16.safetensors that runs/test/checkpoint.h5 was made from" in result.stderr
    result = sym3d("train", "recipe.toml", "-s", "optim.steps=2")
    assert result.exit_code == 4
    assert "was trained with other VGG16 weights than vgg16.safetensors" in result.stderr


def test_what_cannot_be_run_again_is_said(refused, tmp_path):
    pretend(tmp_path / "table.h5", ["sym3d", "reproduce", "seeds", "faces.h5"])
    line = refused(3, "rerun", "table.h5", "-o", "again")
    pretend(tmp_path / "symmetric.h5", ["sym3d", "-q", "edit", "p.h5"], parents=[{"name": "p.h5", "digest": "0"}])
    assert "was made by sym3d edit; only prep" in refused(3, "rerun", "symmetric.h5", "-o", "again")
    assert "was made by sym3d reproduce; only prep, synth, features, infer, eval, train and import can be" in line
    Image.new("RGB", (8, 8)).save(tmp_path / "relit.png")
    assert "relit.png" in refused(3, "rerun", "relit.png", "-o", "again")
