"""The commands on small real work: what they print, what they leave behind."""

import json
import os
import re

import pytest

from stages.recipe import load_recipe, parse_recipe, shipped_recipes
from tests.stages.tiny_face import tiny_arrays, write_model

SHORT = ["-s", "optim.steps=2", "-s", "optim.batch=4", "-s", "model.width=0.07", "-s", "run.validate_images=2"]


def lines(result):
    assert result.exit_code == 0, (result.exit_code, result.stdout, result.stderr)
    return result.stdout.splitlines()


# recipes


def test_recipes_list(sym3d):
    assert lines(sym3d("recipes", "list")) == lines(sym3d("recipes"))
    listed = json.loads(sym3d("recipes", "list", "--json").stdout)
    assert set(listed) == set(shipped_recipes())
    assert all(listed.values()), "every recipe says in its first line what it is for"


def test_recipes_show_is_the_file(sym3d):
    shown = sym3d("recipes", "show", "cats")
    assert shown.stdout == shipped_recipes()["cats"].read_text(encoding="utf-8")


def test_recipes_copy(sym3d, refused, tmp_path):
    assert lines(sym3d("recipes", "copy", "cats")) == ["cats.toml"]
    assert load_recipe(tmp_path / "cats.toml") == load_recipe("cats")
    (tmp_path / "cats.toml").write_text("mine")
    assert "is already there" in refused(6, "recipes", "copy", "cats")
    assert (tmp_path / "cats.toml").read_text() == "mine"
    assert lines(sym3d("recipes", "copy", "cats", "cats.toml", "--overwrite")) == ["cats.toml"]
    assert "no such folder" in refused(6, "recipes", "copy", "cats", "nowhere/cats.toml")
    assert sorted(os.listdir(tmp_path)) == ["cats.toml"]


def test_recipes_copy_keeps_every_character(sym3d, tmp_path):
    text = load_recipe("tiny", ["data.images=a\u00a0b.h5"]).text() + "# tab\t, no-break\u00a0space\n"
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    assert lines(sym3d("recipes", "copy", "mine.toml", "yours.toml")) == ["yours.toml"]
    assert (tmp_path / "yours.toml").read_text(encoding="utf-8") == text


def test_recipes_keys(sym3d):
    printed = lines(sym3d("recipes", "keys", "optim"))
    assert "optim.lr\t0.0001\tLearning rate." in printed
    assert all(line.startswith("optim.") for line in printed[1:])
    assert "loss.flip" in json.loads(sym3d("recipes", "keys", "--json").stdout)


def test_check_prints_the_resolved_recipe(sym3d):
    shown = sym3d("train", "cats", "--check", "-s", "optim.lr=3e-4")
    assert parse_recipe(shown.stdout) == load_recipe("cats", ["optim.lr=3e-4"])
    assert shown.stderr == ""


def test_a_shipped_recipe_by_its_path_says_so(sym3d):
    shown = sym3d("train", "recipes/cats.toml", "--check")
    assert shown.exit_code == 0
    assert "recipes/cats.toml is not here: this is the recipe that comes with sym3d" in shown.stderr


# doctor


def test_doctor(sym3d, monkeypatch, tmp_path):
    monkeypatch.setenv("SYM3D_VGG16", str(tmp_path / "mine.safetensors"))
    shown = json.loads(sym3d("doctor", "--json").stdout)
    for fact in ("python", "torch", "device", "threads", "rasteriser", "tensorboard", "pytorch3d", "shipped recipes"):
        assert shown["facts"][fact]
    assert "mine.safetensors" in shown["facts"]["VGG16 weights"]
    assert any("perceptual loss" in line for line in shown["advice"])
    assert lines(sym3d("doctor"))[0] == "what\there"
    (tmp_path / "mine.safetensors").touch()
    shown = json.loads(sym3d("doctor", "--json").stdout)
    assert shown["facts"]["VGG16 weights"] == str(tmp_path / "mine.safetensors")


# The pipeline, two steps of it


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with faces.h5 (20 synthetic faces) and runs/tiny (two steps)."""
    from stages.synth import SynthRequest, run

    folder = tmp_path_factory.mktemp("pipeline")
    run(SynthRequest(folder / "faces.h5", count=20))
    return folder


@pytest.fixture
def here(place, sym3d, monkeypatch):
    """``sym3d`` in that folder, with the run trained."""
    monkeypatch.chdir(place)
    if not (place / "runs" / "tiny").exists():
        assert lines(sym3d("train", "tiny", "--data", "faces.h5", *SHORT)) == ["runs/tiny/checkpoint.h5"]
    return sym3d


def test_synth(sym3d, tmp_path):
    assert lines(sym3d("synth", "out.h5", "-n", 2, "--seed", 3)) == ["out.h5"]
    stale = sym3d("synth", "out.h5", "-n", 2, "--seed", 4)
    assert stale.exit_code == 4
    assert stale.stderr.endswith("add --overwrite or choose another output\n")
    assert lines(sym3d("synth", "out.h5", "-n", 2, "--seed", 4, "--overwrite")) == ["out.h5"]


def test_synth_of_cars(sym3d, tmp_path):
    assert lines(sym3d("synth", "cars.h5", "-n", 2, "--kind", "cars")) == ["cars.h5"]
    assert "canonical_depth" in sym3d("info", "cars.h5").stdout


def test_prep(sym3d, tmp_path):
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for index in range(3):
        Image.new("RGB", (80 + index, 70), (index * 90, 10, 10)).save(tmp_path / "photos" / f"{index}.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    printed = dict(line.split("\t") for line in lines(sym3d("prep", "photos", "out.h5", "--crop", "0.8")))
    assert printed["file"] == "out.h5"
    assert printed["images"] == "3"
    assert sum(int(printed[split]) for split in ("train", "val", "test")) == 3
    assert sum(int(number) for key, number in printed.items() if key.startswith("skipped: ")) == 1
    again = sym3d("prep", "photos", "out.h5", "--crop", "0.8")
    assert "already complete" in again.stderr
    assert "pictures 3, wanted 1000 or more" in again.stderr.replace("\n", " ")
    graded = sym3d("grade", "out.h5")
    assert lines(graded)[1] == "pictures\t3\t1000 or more\twarn"
    assert json.loads(sym3d("grade", "out.h5", "--json").stdout)["findings"][0]["figure"] == 3


def test_train_remembers_its_data_and_is_not_done_twice(here, place):
    shown = json.loads(here("info", "runs/tiny", "--json").stdout)
    assert parse_recipe(shown["provenance"]["recipe"]).data.images == "faces.h5"
    before = (place / "runs" / "tiny" / "checkpoint.h5").read_bytes()
    assert here("train", "tiny", "--data", "faces.h5", *SHORT).exit_code == 0
    assert (place / "runs" / "tiny" / "checkpoint.h5").read_bytes() == before


def test_after_training_it_names_a_command_that_works(here, tmp_path, monkeypatch):
    """Only what was trained with ground truth can be evaluated by SIDE and MAD."""
    from PIL import Image

    assert "next: sym3d eval runs/tiny\n" in here("train", "tiny", "--data", "faces.h5", *SHORT).stderr
    monkeypatch.chdir(tmp_path)
    os.mkdir("photos")
    for index in range(10):
        Image.new("RGB", (64, 64), (25 * index, 99, 9)).save(f"photos/{index}.png")
    assert here("prep", "photos", "photos.h5").exit_code == 0
    named = here("train", "tiny", "--data", "photos.h5", *SHORT).stderr.split("next: sym3d ")[1]
    assert here(*named.strip().replace("PHOTO", "photos/0.png").split(), "--crop", "none").exit_code == 0


@pytest.mark.parametrize("option", [[], ["--data", "own/😺.h5"]])
def test_a_run_says_where_its_data_were_found(sym3d, place, tmp_path, option):
    (tmp_path / "own").mkdir()
    os.link(place / "faces.h5", tmp_path / "own" / "😺.h5")
    recipe = load_recipe("tiny", ["data.images=😺.h5"])
    (tmp_path / "own" / "mine.toml").write_text(recipe.text(), encoding="utf-8")
    assert sym3d("train", "own/mine.toml", *option, *SHORT).exit_code == 0
    assert sym3d("eval").exit_code == 0


def test_train_of_another_recipe_is_stale(here, refused):
    line = refused(4, "train", "tiny", "--data", "faces.h5", *SHORT, "-s", "optim.lr=2e-4")
    assert "--overwrite" in line or "--name" in line


def test_eval_of_the_newest_run(here):
    result = here("eval", "--metric", "side,mad", "--baseline", "null-depth,average-depth")
    head, *rows = lines(result)
    assert head.split("\t") == ["", "SIDE ×10⁻²", "MAD °", "images"]
    assert [row.split("\t")[0] for row in rows] == ["model", "null-depth", "average-depth"]
    assert "runs/tiny" in result.stderr


def test_eval_json(here):
    shown = json.loads(here("eval", "runs/tiny", "faces.h5", "--metric", "mad", "--json", "--split", "val").stdout)
    assert list(shown["summary"]) == ["model"]
    assert list(shown["summary"]["model"]) == ["mad"]
    assert 0 < shown["summary"]["model"]["mad"]["mean"] < 180
    assert -1 <= shown["reliability"]["mad"]["spearman"] <= 1
    assert "MAD °: rank correlation with reliability " in here("eval", "runs/tiny", "faces.h5").stderr


def test_infer_and_export(here, place, monkeypatch):
    infer = ["infer", "runs/tiny", "faces.h5", "--split", "test", "--export", "obj,glb", "-o", "found"]
    made = here(*infer)
    printed = lines(made)
    assert re.search(r"^reliability: \S+ \d\.\d\d, \S+ \d\.\d\d$", made.stderr, re.MULTILINE)
    monkeypatch.setattr("sym3d_cli.commands.infer.LEAST", 1)
    assert re.search(r"^reliability: median \d\.\d\d, lowest \S+ \d\.\d\d$", here(*infer).stderr, re.MULTILINE)
    assert printed[0] == "found/prediction.h5"
    assert all((place / path).is_file() for path in printed)
    assert {".obj", ".glb", ".png"} <= {os.path.splitext(path)[1] for path in printed}
    printed = lines(
        here("export", "found/prediction.h5", "-o", "meshes", "--format", "ply", "--row", 0, "--pose", "input")
    )
    assert [os.path.splitext(path)[1] for path in printed] == [".ply"]
    name = printed[0].removesuffix("+input.ply")
    arguments = ("--resolution", 20, "--triangles", 400, "--solid", "--texture", "shaded")
    printed = lines(
        here(
            "export", "found/prediction.h5", "-o", "meshes", "--row", 0, "--format", "stl", "--depth", "npy", *arguments
        )
    )
    assert printed == [f"{name}+shaded+r20+t400+solid.stl", f"{name}+r20+depth.npy"]
    printed = lines(here("export", "found/prediction.h5", "-o", "meshes", "--row", 0, "--normals"))
    assert printed == [f"{name}+normals.png"]


def test_info(here):
    printed = lines(here("info", "faces.h5", "--verify"))
    assert printed[0] == "file\tfaces.h5"
    assert printed[1].startswith("schema\tsym3d.images version 1")
    assert any(line.endswith("(verified)") for line in printed)
    assert any(line.startswith("image\t20×64×64×3\tuint8") for line in printed)
    assert "made from" in printed
    assert lines(here("info", "synfaces"))[1] == "schema\tsym3d.checkpoint version 1, complete"


def test_the_wrong_kind_of_artifact_is_named(here, refused):
    assert "sym3d.checkpoint" in refused(3, "train", "tiny", "--data", "runs/tiny/checkpoint.h5", *SHORT, "--name", "b")
    assert "sym3d.images" in refused(3, "infer", "faces.h5", "faces.h5")
    assert "sym3d.images" in refused(3, "export", "faces.h5", "-o", "out")


def test_features(here, place, refused):
    few = ["--steps", 1, "--batch", 4, "--width", 0.0625]
    made = here("features", "faces.h5", "features.h5", *few)
    assert lines(made) == ["features.h5"]
    assert "of the places in held-out pictures again" in made.stderr
    assert "already complete" in here("features", "faces.h5", "features.h5", *few).stderr
    assert "--overwrite" in refused(4, "features", "faces.h5", "features.h5", *few, "--seed", 1)
    using = ["-s", "loss.features=self", "--name", "self", "-s"]
    assert "sym3d features faces.h5 no.h5" in refused(
        5, "train", "tiny", "--data", "faces.h5", *SHORT, *using, "loss.features_path=no.h5"
    )
    assert lines(here("train", "tiny", "--data", "faces.h5", *SHORT, *using, "loss.features_path=features.h5"))
    assert "features.h5" in here("info", "runs/self/checkpoint.h5").stdout


def test_synth_from_a_face_model(sym3d, refused, tmp_path):
    write_model(tmp_path / "model.h5", tiny_arrays())
    command = ("synth", "out.h5", "-n", 2, "--morphable", "model.h5")
    assert lines(sym3d(*command)) == ["out.h5"]
    write_model(tmp_path / "model.h5", tiny_arrays(colours=True))
    assert "the content of its input has changed (model.h5)" in refused(4, *command)
    (tmp_path / "model.h5").write_bytes(b"no model")
    assert "is not an HDF5 file" in refused(3, *command)
    assert "does not exist" in refused(3, "synth", "other.h5", "--morphable", "absent.h5")
