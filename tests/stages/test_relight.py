"""Relighting and editing: what is written under which name, whose light it is, and what makes no sense."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from stages.artifact import make_provenance, open_artifact, write_artifact
from stages.edit import EditRequest
from stages.edit import run as edit
from stages.errors import InputError, UsageError
from stages.export import ExportRequest
from stages.export import run as export
from stages.io.claims import INDEX
from stages.pages import read_items
from stages.progress import Silent
from stages.relight import RelightRequest
from stages.relight import run as relight
from stages.scenes import SIZE
from tests.stages.test_export import make_item

FILMS = ("gif", "webp", "png")
NAMES = ["ann.png", "bob.png", "hole.png"]
LEFT, RIGHT = ([0.2, 0.8, x / np.sqrt(2), 0, 1 / np.sqrt(2)] for x in (1, -1))  # which way they shine


@pytest.fixture(scope="module")
def prediction(tmp_path_factory):
    """Ann is lit from the left, Bob from the right, and the third has no surface."""
    path, items = tmp_path_factory.mktemp("relight") / "prediction.h5", [make_item() for _ in NAMES]
    arrays = {field: np.stack([item[field] for item in items]) for field in items[0]}
    arrays["light"][:2] = LEFT, RIGHT
    arrays["canonical_depth"][2] = np.nan
    attrs = {"depth_min": 0.9, "depth_max": 1.1, "fov": 10.0}
    write_artifact(path, "sym3d.prediction", {"name": NAMES, **arrays}, provenance=make_provenance(), attrs=attrs)
    return path


@pytest.fixture
def ask(prediction, tmp_path):
    """Run a stage on small pictures into a folder."""

    def ask(request, run, **change):
        return run(request(prediction, tmp_path / "out", size=48, device="cpu", **change))

    return ask


def lean(path) -> float:
    """How much brighter a picture is on its left."""
    grey = np.asarray(Image.open(path)).astype(float).mean(-1)
    return grey[8:40, 8:22].mean() - grey[8:40, 26:40].mean()


def names(paths):
    return [path.name for path in paths]


def test_a_lamp_from_a_side(ask):
    change = {"ambient": 0.1, "diffuse": 0.9, "rows": (0,), "photo": False}
    left, frontal_left = ask(RelightRequest, relight, lamp=(-1, 0.5), **change).pictures
    _, frontal_right = ask(RelightRequest, relight, lamp=(1, 0.5), **change).pictures
    assert names([left, frontal_right]) == [
        "ann.light_-1_0.5_ambient_0.1_diffuse_0.9_albedo+48px.png",
        "ann.light_1_0.5_ambient_0.1_diffuse_0.9_albedo.frontal+48px.png",
    ]
    assert lean(frontal_left) > lean(frontal_right) + 20
    assert Image.open(left).size == (48, 48)
    dark, _ = ask(RelightRequest, relight, ambient=0.0, diffuse=0.0, rows=(0,)).pictures
    assert np.asarray(Image.open(dark))[24, 24].max() == 0


def test_light_of_another_item_and_a_swap(ask):
    own = ask(RelightRequest, relight, ambient=0.2, names=("ann.png",), photo=False).pictures[1]
    given = ask(RelightRequest, relight, source="bob.png", names=("ann.png",), photo=False).pictures[1]
    assert given.name == "ann.lit_as_bob_albedo.frontal+48px.png"
    assert lean(own) > lean(given) + 20
    swapped = ask(RelightRequest, relight, swap=True, rows=(0, 1), photo=False).pictures
    assert names(swapped[1::2]) == ["ann.lit_as_bob_albedo.frontal+48px.png", "bob.lit_as_ann_albedo.frontal+48px.png"]
    assert lean(swapped[3]) > lean(swapped[1]) + 20


def test_the_photograph_keeps_its_detail_unless_it_should_not(ask):
    own = {"ambient": 0.2, "diffuse": 0.8, "rows": (1,)}
    with_it, without = (ask(RelightRequest, relight, **own, photo=photo).pictures[1].read_bytes() for photo in (1, 0))
    assert with_it != without


def test_a_sweep_of_all_that_have_a_surface(ask, tmp_path):
    result = ask(RelightRequest, relight, sweep=True, video_formats=("gif",))
    assert result.pictures == ()
    assert names(result.videos) == ["ann.sweep+48px.gif", "bob.sweep+48px.gif"]
    lit = ask(RelightRequest, relight, sweep=True, lamp=(1, 0), photo=False, rows=(0,), video_formats=("gif",))
    assert names(lit.videos) == ["ann.light_1_0_albedo.sweep+48px.gif"]
    assert lit.sheet.name == "sheet.light_1_0_albedo.sweep+ann+48px.png"
    assert result.sheet.name == "sheet.sweep+48px.png"
    assert Image.open(result.sheet).size == (6 + 7 * (48 + 6), 24 + 2 * (48 + 6 + 20))
    with pytest.raises(InputError, match=r"^hole: "):
        ask(RelightRequest, relight, sweep=True, rows=(2,))


def test_edits_write_pictures_videos_and_a_sheet(ask):
    result = ask(
        EditRequest,
        edit,
        frontal=True,
        symmetric=True,
        towards="bob.png",
        names=("ann.png",),
        video_formats=("webp",),
    )
    assert names(result.pictures) == ["ann.frontal+48px.png", "ann.symmetric+48px.png", "ann.towards_bob+48px.png"]
    assert names(result.videos) == ["ann.symmetric.swing+48px.webp", "ann.towards_bob+48px.webp"]
    assert Image.open(result.pictures[2]).size == (7 * 48, 48)
    assert 50 < Image.open(result.videos[1]).n_frames <= 60  # of equal frames the format keeps one
    assert Image.open(result.sheet).size == (6 + 3 * (48 + 6), 24 + 48 + 6 + 20)
    first, *_, last = np.split(np.asarray(Image.open(result.pictures[2])).astype(float).mean(-1), 7, axis=1)
    assert np.abs(first - last).mean() > 5, "the light goes over from one to the other"
    assert result.sheet.name == "sheet.frontal_symmetric+ann+48px.png"
    only = ask(EditRequest, edit, towards="bob.png", rows=(0,), video_formats=("webp",))
    assert only.sheet is None


@pytest.mark.parametrize(
    ("request_", "run", "change", "words"),
    [
        (RelightRequest, relight, {}, "--light"),
        (RelightRequest, relight, {"source": "eve"}, "--from 'eve': no item has this name"),
        (RelightRequest, relight, {"swap": True}, "needs two items, not 3"),
        (RelightRequest, relight, {"swap": True, "source": "ann.png"}, "--swap"),
        (RelightRequest, relight, {"sweep": True, "video_formats": ("avi",)}, "mp4, gif, webp, png"),
        (RelightRequest, relight, {"sweep": True, "rows": (7,)}, "rows 0 to 2"),
        (EditRequest, edit, {}, "--frontal, --symmetric or --towards"),
        (EditRequest, edit, {"towards": "eve"}, "--towards 'eve': no item has this name"),
        (EditRequest, edit, {"symmetric": True, "video_formats": ()}, "--video-format"),
    ],
)
def test_what_makes_no_sense(ask, tmp_path, request_, run, change, words):
    with pytest.raises(UsageError, match=words) as caught:
        ask(request_, run, **change)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("request_", "run", "change"),
    [
        (RelightRequest, relight, {"lamp": (-1, 0.5), "sweep": True}),
        (EditRequest, edit, {"frontal": True, "symmetric": True}),
    ],
)
def test_the_same_request_gives_the_same_bytes(prediction, tmp_path, request_, run, change):
    """All but MP4: now and then libx264 makes other bytes of the same frames."""
    found = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        result = run(request_(prediction, folder, size=48, rows=(0,), device="cpu", video_formats=FILMS, **change))
        kept = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".h5" and path.name != INDEX]
        found.append({path.relative_to(folder): path.read_bytes() for path in kept})
        assert result.pictures
        assert {path.suffix for path in result.videos} > {".gif", ".webp"}  # and the folder of frames
    assert found[0] == found[1]


def test_what_was_relit_is_a_prediction(ask, prediction, tmp_path):
    result = ask(RelightRequest, relight, lamp=(1, 0), ambient=0.3, formats=("glb", "ply"))
    assert result.prediction.name == "light_1_0_ambient_0.3.h5"
    assert names(result.meshes) == [
        f"{who}.light_1_0_ambient_0.3+shaded.{kind}" for who in ("ann", "bob") for kind in ("glb", "ply")
    ]
    with open_artifact(result.prediction, "sym3d.prediction") as relit, open_artifact(prediction) as before:
        assert relit.strings("name") == ["ann.light_1_0_ambient_0.3.png", "bob.light_1_0_ambient_0.3.png"]
        assert relit.strings("skipped/name") == ["hole.light_1_0_ambient_0.3.png"]
        assert (relit["canonical_depth"][:] == before["canonical_depth"][:2]).all()
        assert np.abs(relit["light"][:] - [0.3, 0.8, -np.sqrt(0.5), 0, np.sqrt(0.5)]).max() < 1e-6
        albedo, picture = relit["albedo"][:], relit["canonical_image"][:]
        shaded, plain = albedo * relit["shading"][:][..., None] * 255, albedo < 1
        assert np.abs(shaded - picture)[plain].max() <= 0.51
        assert (picture >= shaded.clip(0, 255) - 0.51).all()
        assert plain.mean() > 0.5
        assert [parent["digest"] for parent in relit.provenance["parents"]] == [before.digest]
        assert {key: relit.attrs[key] for key in ("depth_min", "depth_max", "fov")} == before.attrs
        assert relit["image"].shape == before["image"][:2].shape
    again = relight(RelightRequest(result.prediction, tmp_path / "again", ambient=0.1, size=48, device="cpu"))
    assert again.pictures[0].name == "ann.light_1_0_ambient_0.3.ambient_0.1+48px.png"


def test_what_was_edited_is_a_prediction_and_goes_on_the_page(ask, prediction):
    result = ask(EditRequest, edit, frontal=True, symmetric=True, towards="bob.png", rows=(0,), formats=("obj",))
    assert names(result.predictions) == ["frontal+ann.h5", "symmetric+ann.h5", "towards_bob+ann.h5"]
    assert len(result.meshes) == 3 * (1 + 1 + 7)
    items = {}
    for path in result.predictions:
        with open_artifact(path, "sym3d.prediction") as artifact:
            items[path.name.split("+")[0]] = {
                field: artifact[field][:] for field in ("canonical_depth", "albedo", "view")
            }
    assert (items["frontal"]["view"] == 0).all()
    assert (items["symmetric"]["view"] == 0).all()
    assert (items["frontal"]["albedo"] != items["symmetric"]["albedo"]).any()
    way = items["towards_bob"]
    assert len(way["view"]) == 7
    assert np.abs(way["view"][3] - (way["view"][0] + way["view"][6]) / 2).max() < 1e-6
    found = read_items(result.predictions[2], (), 500, Silent())
    assert [item["name"] for item in found["items"]] == [f"ann.towards_bob.{step}.png" for step in range(1, 8)]


@pytest.mark.parametrize(
    ("request_", "run", "change"),
    [
        (RelightRequest, relight, {"lamp": (1, 0)}),
        (EditRequest, edit, {"frontal": True, "symmetric": True, "video_formats": ("webp",)}),
    ],
)
def test_pictures_of_the_usual_size_and_textures_have_names_of_their_own(prediction, tmp_path, request_, run, change):
    """Once only marks of another size or background kept them apart."""
    result = run(request_(prediction, tmp_path, rows=(0,), formats=("obj",), device="cpu", **change))
    written = [*result.pictures, *result.meshes, *getattr(result, "videos", ())]
    assert len(written) == len(set(written))
    assert {Image.open(path).size for path in result.pictures} == {(SIZE, SIZE)}
    textures = [path for path in result.meshes if path.suffix == ".png"]
    assert {Image.open(path).size for path in textures} == {(32, 32)}


def write_variant(prediction, path, **change):
    """The same prediction with other colours, and with ``change``."""
    with open_artifact(prediction) as artifact:
        arrays = {name: artifact[name][:] for name in artifact.names if name != "name"}
        arrays |= {"name": artifact.strings("name"), "albedo": 1 - arrays["albedo"], **change}
        write_artifact(path, "sym3d.prediction", arrays, provenance=make_provenance(), attrs=artifact.attrs)


class Notes(Silent):
    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


def test_another_prediction_in_the_same_folder_loses_nothing(ask, prediction, tmp_path):
    """Same items, same choices, other content: its files get names of their own, and the same names every time."""
    write_variant(prediction, tmp_path / "q.h5")
    choices = {"formats": ("ply",), "depth": ("npy",), "sheet": True, "rows": (0,)}
    videos = {"videos": ("swing",), "video_formats": ("gif",), "size": 16, "device": "cpu"}
    written = {}
    for source in (prediction, tmp_path / "q.h5"):
        wanted = ExportRequest(source, tmp_path / "out", **choices, **videos)
        result, again = export(wanted), export(wanted)
        assert result == again
        for path in (*result.meshes, *result.maps, *result.videos, *result.sheets):
            written[path] = path.read_bytes()
    assert len(written) == 8
    assert all(path.read_bytes() == content for path, content in written.items())


def test_a_prediction_made_again_replaces_its_files(prediction, tmp_path):
    """Which prediction it is, its path says or its content: made anew or moved, it keeps the names."""
    (tmp_path / "made").mkdir()
    source, notes = shutil.copy(prediction, tmp_path / "made" / "p.h5"), Notes()
    wanted = ExportRequest(source, tmp_path / "out", formats=("ply",), rows=(0,))
    (first,) = export(wanted, report=notes).meshes
    before = first.read_bytes()
    source.unlink()
    write_variant(prediction, source)
    assert export(wanted, report=notes).meshes == (first,)
    assert first.read_bytes() != before
    moved = replace(wanted, prediction=shutil.move(source, tmp_path / "moved.h5"))
    assert export(moved, report=notes).meshes == (first,)
    assert not notes.texts


def test_a_note_says_once_that_names_are_another_predictions(prediction, tmp_path):
    """Ann and ANN are one where case does not count; what has no files yet is nobody's."""
    notes, other = Notes(), tmp_path / "q.h5"
    write_variant(prediction, other, name=["ANN.png", "Bob.png", "hole.png"])
    export(ExportRequest(prediction, tmp_path / "out", formats=("ply",), rows=(0, 1)))
    mine = export(ExportRequest(other, tmp_path / "out", formats=("ply",), rows=(0,)), report=notes).meshes
    with open_artifact(other) as artifact:
        assert names(mine) == [f"ANN-{artifact.digest[:8]}.ply"]
    said = f"files called ANN and 1 more are not of this prediction; this one's are called {mine[0].stem} and 1 more"
    assert notes.texts == [f"{tmp_path / 'out'}: {said}"]
    assert export(ExportRequest(other, tmp_path / "out", formats=("ply",), rows=(0,))).meshes == mine
    notes.texts.clear()
    for source in (prediction, other):
        request = RelightRequest(source, tmp_path / "relit", sweep=True, rows=(0,), size=16, video_formats=("gif",))
        relight(request, report=notes)
    assert [text.split(" are ")[0] for text in notes.texts] == [f"{tmp_path / 'relit'}: files called ANN and 1 more"]


@pytest.mark.parametrize("content", ["[]", "{", '{"ann": 3}', '{"ann": {}}', '{"ann": [[], null]}', '{"ann": "x"}'])
def test_an_index_that_somebody_else_wrote(prediction, tmp_path, content):
    (tmp_path / INDEX).write_text(content)
    (tmp_path / "ann.ply").write_bytes(b"mine")
    (path,) = export(ExportRequest(prediction, tmp_path, formats=("ply",), rows=(0,))).meshes
    assert path.name.startswith("ann-")
    assert (tmp_path / "ann.ply").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("request_", "run", "change", "name"),
    [
        (RelightRequest, relight, {"lamp": (1, 0)}, "light_1_0.h5"),
        (EditRequest, edit, {"frontal": True, "symmetric": True}, "symmetric.h5"),
    ],
)
def test_the_prediction_itself_is_never_replaced(prediction, tmp_path, request_, run, change, name):
    source = shutil.copy(prediction, tmp_path / name)
    before = source.read_bytes()
    with open_artifact(source) as artifact:  # as when it was copied over what was made of it
        (tmp_path / INDEX).write_text(json.dumps({source.stem: ["", artifact.digest]}))
    with pytest.raises(UsageError, match=f"{name}: is the prediction to change; name another output folder"):
        run(request_(source, tmp_path, size=48, video_formats=("gif",), device="cpu", **change))
    assert source.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {name, INDEX}


def test_nothing_is_said_of_files_that_are_not_written(prediction, tmp_path):
    """Another prediction's sheet does not matter to whoever writes none."""
    other, notes = tmp_path / "q.h5", Notes()
    write_variant(prediction, other, name=["dan.png", "eve.png", "pit.png"])
    export(ExportRequest(prediction, tmp_path / "out", sheet=True, rows=(0,)))
    small = {"size": 16, "device": "cpu", "rows": (0, 1)}
    export(ExportRequest(other, tmp_path / "out", formats=("ply",), rows=(0,)), report=notes)
    relight(RelightRequest(other, tmp_path / "out", swap=True, **small), report=notes)
    edit(EditRequest(other, tmp_path / "out", towards="eve.png", video_formats=("gif",), **small), report=notes)
    assert not notes.texts
    (sheet,) = export(ExportRequest(other, tmp_path / "out", sheet=True, rows=(0,)), report=notes).sheets
    assert re.fullmatch(r"sheet-\w{8}\+dan\.png", sheet.name)
    assert len(notes.texts) == 1
