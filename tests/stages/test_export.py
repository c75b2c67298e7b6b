"""Export: every format read back, the frame other programs expect, safe names, whole files, honest errors."""

import errno
import itertools
import json
import os
import struct

import imageio.v3 as iio
import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import stages.export
from stages.artifact import make_provenance, write_artifact
from stages.core.geometry import depth_normals
from stages.core.lighting import shade
from stages.core.mesh import TRIM, grid_mesh
from stages.errors import InputError, OutputError, UsageError
from stages.export import ExportRequest, run
from stages.io import files, pictures
from stages.io.claims import INDEX
from stages.io.files import file_stems, safe_stem
from stages.io.meshes import export_name, write_meshes
from stages.progress import Silent

SIZE = 32
NAMES = ["ann.png", "../etc/passwd\n<b>\x1b[31m", "猫.jpg", "ann.jpg"]
RED, GREEN, BLUE = (0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.1, 0.9)


def make_item(size: int = SIZE) -> dict[str, np.ndarray]:
    """A face-like bump with a nose; its texture is red upper left, green upper right, blue below."""
    v, u = np.mgrid[0:size, 0:size] / (size - 1) * 2 - 1
    depth = 1.05 - 0.08 * np.exp(-1.5 * (u**2 + v**2)) - 0.03 * np.exp(-((u / 0.2) ** 2 + (v / 0.3) ** 2))
    depth[:, :2] = depth[:, -2:] = 1.04
    depth = depth.astype(np.float32)
    albedo = np.empty((size, size, 3), np.float32)
    albedo[: size // 2, : size // 2], albedo[: size // 2, size // 2 :], albedo[size // 2 :] = RED, GREEN, BLUE
    light = torch.nn.functional.normalize(torch.tensor([[-0.5, -0.3, 1.0]]), dim=-1)
    normal = depth_normals(torch.from_numpy(depth)[None])
    shading = shade(normal, torch.tensor([0.4]), torch.tensor([0.6]), light)[0].numpy()
    image = ((albedo * shading[..., None]).clip(0, 1) * 255).astype(np.uint8)
    return {
        "image": image,
        "canonical_depth": depth,
        "depth": depth,
        "valid": np.ones((size, size), bool),
        "albedo": albedo,
        "shading": shading,
        "canonical_image": image,
        "reconstruction": image,
        "view": np.array([0.1, 0.4, 0.0, 0.01, 0.0, 0.0], np.float32),
        "light": np.array([0.4, 0.6, *light[0]], np.float32),
    }


@pytest.fixture(scope="module")
def item():
    return make_item()


@pytest.fixture(scope="module")
def prediction(tmp_path_factory, item):
    path = tmp_path_factory.mktemp("prediction") / "prediction.h5"
    arrays = {field: np.stack([values] * len(NAMES)) for field, values in item.items()}
    write_artifact(
        path,
        "sym3d.prediction",
        {"name": NAMES, **arrays},
        provenance=make_provenance(),
        attrs={"depth_min": 0.9, "depth_max": 1.1, "fov": 10.0},
    )
    return path


def read_glb(path) -> tuple[dict, bytes]:
    content = path.read_bytes()
    length = struct.unpack("<I", content[12:16])[0]
    return json.loads(content[20 : 20 + length]), content[28 + length :]


def accessor(document: dict, blob: bytes, index: int) -> np.ndarray:
    spec = document["accessors"][index]
    view = document["bufferViews"][spec["bufferView"]]
    kind = {5126: "<f4", 5125: "<u4"}[spec["componentType"]]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[spec["type"]]
    start = view.get("byteOffset", 0) + spec.get("byteOffset", 0)
    return np.frombuffer(blob, kind, spec["count"] * width, start).reshape(-1, width)


@pytest.mark.parametrize("pose", ["canonical", "input"])
@pytest.mark.parametrize("kind", ["obj", "glb", "ply"])
def test_every_format_reads_back(tmp_path, item, kind, pose):
    written = write_meshes(item, tmp_path, "ann", formats=[kind], pose=pose)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)
    name = export_name("ann", pose=pose)
    view = torch.from_numpy(item["view"]) if pose == "input" else None
    expected = grid_mesh(torch.from_numpy(item["canonical_depth"]), view=view)
    read = trimesh.load(written[0], process=False, force="mesh")
    assert np.abs(read.vertices - expected.vertices.numpy()).max() < 1e-6
    assert (read.faces == expected.faces.numpy()).all()
    if kind == "ply":
        assert len(read.visual.vertex_colors) == (SIZE - 2 * TRIM) ** 2
        upper_left = read.visual.vertex_colors[0, :3]
    else:
        assert np.abs(read.visual.uv - expected.uv.numpy()).max() < 1e-6
        material = read.visual.material
        assert material.name == name
        image = material.image if kind == "obj" else material.baseColorTexture
        x, y = read.visual.uv[0] * SIZE
        upper_left = np.asarray(image)[int(SIZE - y), int(x), :3]
        assert np.abs(np.asarray(image)[..., :3] / 255 - item["albedo"]).max() < 1 / 255
    assert np.abs(upper_left / 255 - RED).max() < 1 / 255


def test_glb_opens_upright_facing_plus_z_and_not_mirrored(tmp_path, item):
    document, blob = read_glb(write_meshes(item, tmp_path, "ann", formats=["glb"])[0])
    (node,) = document["nodes"]
    assert not {"matrix", "rotation", "scale", "translation"} & set(node)
    (primitive,) = document["meshes"][0]["primitives"]
    position, normal, uv = (
        accessor(document, blob, primitive["attributes"][name]) for name in ("POSITION", "NORMAL", "TEXCOORD_0")
    )
    faces = accessor(document, blob, primitive["indices"]).reshape(-1, 3)
    a, b, c = position[faces].transpose(1, 0, 2)
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()
    assert (normal[:, 2] > 0).all()
    assert np.allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-5)
    tip = position[position[:, 2].argmax()]
    assert np.hypot(*tip[:2]) < 0.006
    # glTF's v runs down the picture: the texture's upper left corner (red) is at -x, +y.
    upper_left = (position[:, 0] < -0.02) & (position[:, 1] > 0.02)
    assert (uv[upper_left] < 0.5).all()
    material = document["materials"][primitive["material"]]
    assert material["name"] == "ann"
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0


def test_obj_normals_and_material_files(tmp_path, item):
    for stem in ("ann", "bob"):
        write_meshes(item, tmp_path, stem, formats=["obj"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{stem}.{suffix}" for stem in ("ann", "bob") for suffix in ("mtl", "obj", "png")
    ]
    lines = (tmp_path / "bob.obj").read_text().splitlines()
    assert lines[:2] == ["mtllib bob.mtl", "usemtl bob"]
    normals = np.array([line.split()[1:] for line in lines if line.startswith("vn ")], float)
    assert (normals[:, 2] > 0).all()
    assert "map_Kd bob.png" in (tmp_path / "bob.mtl").read_text().splitlines()


def test_shaded_texture_is_the_canonical_image(tmp_path, item):
    write_meshes(item, tmp_path, "ann", formats=["obj"], texture="shaded")
    assert (np.asarray(Image.open(tmp_path / "ann+shaded.png")) == item["canonical_image"]).all()


@pytest.mark.parametrize(
    ("name", "stem"),
    [("ann.png", "ann"), ("cats/tom.jpg", "cats_tom"), ("a b.webp", "a_b"), ("v1.2", "v1.2"), ("C:\\x\\y.bmp", None)],
)
def test_plain_names_stay_readable(name, stem):
    assert stem is None or safe_stem(name) == stem
    assert set(safe_stem(name)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@given(st.lists(st.text(max_size=300) | st.text("aA./-0", max_size=6), max_size=8))
def test_any_names_make_safe_and_different_stems(names):
    stems = file_stems(names)
    for one, other in itertools.permutations(map(str.lower, ["sheet", *stems]), 2):
        assert not f"{one}.".startswith(f"{other}.")
    for stem in stems:
        assert 0 < len(stem) <= 110
        assert stem.isascii()
        assert not set(stem) & set('/\\<>:"|?*\n\r\t\x1b ')
        assert not stem.startswith((".", "-"))


def test_repeated_stems_get_numbers():
    assert file_stems(["a.png", "A.jpg", "a-1.png"]) == ["a", "A-1", "a-1-2"]
    assert file_stems(["sheet.png", "Sheet.2", "sheets"]) == ["sheet-0", "Sheet_2", "sheets"]
    assert file_stems(["ann.png", "Ann.frontal.png", "bob.1.png", "bob"]) == ["ann", "Ann_frontal", "bob.1", "bob-3"]


def test_run_writes_every_item_and_nothing_else(tmp_path, prediction):
    result = run(ExportRequest(prediction, tmp_path / "out", formats=("obj", "glb")))
    assert len(result.meshes) == 4 * len(NAMES)
    assert {*result.meshes, tmp_path / "out" / INDEX} == {*(tmp_path / "out").iterdir()}
    assert (tmp_path / "out" / "ann.obj").is_file()


def test_rows_and_names_choose_items(tmp_path, prediction):
    result = run(ExportRequest(prediction, tmp_path, formats=("ply",), rows=(3, 0), names=(NAMES[2],)))
    assert [path.name for path in result.meshes] == ["ann.ply", f"{safe_stem(NAMES[2])}.ply", "ann-3.ply"]


def test_videos_and_sheets(tmp_path, prediction, item):
    truth = tmp_path / "truth.h5"
    write_artifact(
        truth,
        "sym3d.images",
        {
            "name": ["ann.png"],
            "image": item["image"][None],
            "split": np.array([2], np.uint8),
            "sha256": ["0" * 64],
            "depth": item["depth"][None],
        },
        provenance=make_provenance(),
    )
    result = run(
        ExportRequest(
            prediction, tmp_path, formats=(), rows=(0,), videos=("swing", "light"), size=48, sheet=True, truth=truth
        )
    )
    assert result.meshes == ()
    assert [path.name for path in result.videos] == [
        f"ann.{motion}+48px.{kind}" for motion in ("swing", "light") for kind in ("mp4", "gif")
    ]
    frames = iio.imread(result.videos[1])
    assert frames.shape == (60, 48, 48, 3)
    assert np.abs(frames[15].astype(int) - frames[45]).mean() > 5  # it swings
    (sheet,) = result.sheets
    width, height = Image.open(sheet).size
    assert (width, height) == (6 + 11 * (128 + 6), 24 + 128 + 6 + 20)


def test_many_items_make_several_sheets(tmp_path, prediction, monkeypatch):
    monkeypatch.setattr(stages.export, "SHEET_ROWS", 3)
    result = run(ExportRequest(prediction, tmp_path, formats=(), sheet=True))
    assert [path.name for path in result.sheets] == ["sheet.png", "sheet.2.png"]
    assert [Image.open(path).height for path in result.sheets] == [24 + rows * (128 + 6 + 20) for rows in (3, 1)]


def test_sheet_leaves_out_true_depth_where_there_is_none(item):
    row = pictures.item_pictures(item, "ann")
    assert list(row) == [
        "input",
        "reconstruction",
        "albedo",
        "shading",
        "canonical depth",
        "normals",
        "depth in view",
        "view -30°",
        "view 0°",
        "view +30°",
    ]


def test_colours_mean_what_they_say():
    ramp = np.linspace(0.9, 1.1, 16, dtype=np.float32)[None].repeat(16, 0)
    depth = pictures.colour_depth(ramp)
    assert depth[0, 0].tolist() == [255, 255, 255]
    assert depth[0, -1].tolist() == [0, 0, 0]
    hidden = pictures.colour_depth(ramp, np.zeros((16, 16), bool))
    assert (hidden == hidden[0, 0]).all()
    frontal = pictures.colour_normals(np.ones((16, 16), np.float32))[8, 8]
    assert frontal.tolist() == [128, 128, 255]
    # Farther to the right: the surface looks right, towards the viewer: red.
    assert pictures.colour_normals(ramp)[8, 8, 0] > 200
    # Farther down: it looks down, little green.
    assert pictures.colour_normals(ramp.T)[8, 8, 1] < 60
    assert pictures.colour_shading(np.array([[0.0, 1.0, 7.0, np.nan]]))[0, :, 0].tolist() == [0, 255, 255, 0]
    assert pictures.colour_confidence(np.array([[0.0, np.inf]]))[0, :, 0].tolist() == [255, 0]


def test_contact_sheet_takes_any_label():
    row = {"a": np.zeros((5, 5, 3), np.uint8)}
    sheet = pictures.contact_sheet([row, row], ["x\ny\x1b[0m" * 100, "猫"], cell=32)
    assert sheet.shape == (24 + 2 * (32 + 6 + 20), 6 + 38, 3)
    assert pictures.contact_sheet([]).size > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"formats": ("max",)}, "obj, glb, ply, stl, usdz, points"),
        ({"resolution": 8}, "16 to 512"),
        ({"triangles": 99}, "100 or more"),
        ({"depth": ("png8",)}, "png16, exr, npy"),
        ({"pose": "upside"}, "canonical, input"),
        ({"texture": "wood"}, "albedo, shaded"),
        ({"rows": (9,)}, "rows 0 to 3"),
        ({"rows": (-1,)}, "rows 0 to 3"),
        ({"names": ("nobody",)}, "nobody"),
        ({"formats": ()}, "--format"),
        ({"formats": (), "sheet": True, "solid": True}, "--format"),
        ({"formats": (), "normals": True, "triangles": 200}, "--format"),
        ({"videos": ("fly",)}, "swing, turntable, frontal, wireframe, normals, light"),
        ({"videos": ("swing",), "video_formats": ("avi",)}, "mp4, gif, webp, png"),
        ({"videos": ("swing",), "video_formats": ()}, "there is none"),
        ({"size": 8}, "16 to 2048"),
        ({"background": "nowhere"}, "is no colour"),
        ({"truth": "x.h5"}, "--sheet"),
    ],
)
def test_impossible_requests(tmp_path, prediction, change, words):
    with pytest.raises(UsageError, match=words) as caught:
        run(ExportRequest(**{"prediction": prediction, "out_dir": tmp_path / "out", **change}))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_missing_and_foreign_predictions(tmp_path):
    with pytest.raises(InputError):
        run(ExportRequest(tmp_path / "none.h5", tmp_path))
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(InputError):
        run(ExportRequest(tmp_path / "text.h5", tmp_path))


@pytest.mark.parametrize("field", ["canonical_depth", "view"])
def test_an_item_without_a_surface(tmp_path, item, field):
    broken = dict(item) | {field: np.full_like(item[field], np.nan)}
    with pytest.raises(InputError, match="ann"):
        write_meshes(broken, tmp_path, "ann", formats=["obj"], pose="input")
    assert not list(tmp_path.iterdir())


class Warnings(Silent):
    def __init__(self):
        self.said = []

    def warn(self, text):
        self.said.append(text)


def test_one_bad_item_costs_the_others_nothing(tmp_path, item):
    depths = [item["canonical_depth"], np.full_like(item["canonical_depth"], np.nan)]
    for name, first in (("some.h5", 0), ("none.h5", 1)):
        arrays = {field: np.stack([values] * 2) for field, values in item.items()}
        arrays["canonical_depth"] = np.stack([depths[first], depths[1]])
        attrs = {"depth_min": 0.9, "depth_max": 1.1, "fov": 10.0}
        arrays = {"name": ["good.png", "bad.png"], **arrays}
        write_artifact(tmp_path / name, "sym3d.prediction", arrays, provenance=make_provenance(), attrs=attrs)
    report = Warnings()
    result = run(ExportRequest(tmp_path / "some.h5", tmp_path / "out", formats=("ply",)), report=report)
    assert [path.name for path in result.meshes] == ["good.ply"]
    assert len(report.said) == 1
    assert report.said[0].startswith("bad: ")
    with pytest.raises(InputError, match=r"^good: "):
        run(ExportRequest(tmp_path / "none.h5", tmp_path / "nothing", formats=("ply",)))


def test_full_disk_leaves_the_old_file_and_no_half_one(tmp_path, item, monkeypatch):
    write_meshes(item, tmp_path, "ann", formats=["glb"])
    before = (tmp_path / "ann.glb").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        write_meshes(item, tmp_path, "ann", formats=["glb"])
    assert [path.name for path in tmp_path.iterdir()] == ["ann.glb"]
    assert (tmp_path / "ann.glb").read_bytes() == before


def test_output_folder_that_is_a_file(tmp_path, prediction):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(OutputError, match="File exists"):
        run(ExportRequest(prediction, tmp_path / "out"))
