"""Exports in the eyes of others: each format read by a library that did not write it, and the glTF validator."""

import itertools
import json
import os
import shutil
import subprocess

import meshio
import numpy as np
import pytest
import torch
import trimesh

from stages.artifact import make_provenance, write_artifact
from stages.core.mesh import TRIM, grid_mesh
from stages.errors import InputError, MissingPartError
from stages.export import ExportRequest, run
from stages.infer import InferRequest
from stages.infer import run as infer
from stages.io.claims import INDEX
from stages.io.maps import DEPTHS
from stages.io.meshes import build_mesh, export_name, write_meshes
from tests.stages.test_export import RED, SIZE, accessor, make_item, prediction, read_glb  # noqa: F401 (a fixture)

os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"  # before OpenCV reads its first file
import cv2

CHOICES = [
    {},
    {"pose": "input", "texture": "shaded"},
    {"resolution": 48},
    {"resolution": 16, "solid": True},
    {"triangles": 600, "solid": True},
]


@pytest.fixture(scope="module")
def item():
    return make_item()


@pytest.fixture(params=CHOICES, ids=lambda choices: export_name("ann", **choices))
def choices(request):
    return request.param


def geometry(item, choices) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, triangles and normals that a file should hold."""
    mesh, _ = build_mesh(item, "ann", **choices)
    return mesh.vertices.numpy(), mesh.faces.numpy(), mesh.normals.numpy()


@pytest.mark.parametrize("texture", ["albedo", "shaded", "photo"])
def test_glb_with_its_light_in_the_texture_is_not_lit_again(tmp_path, item, texture):
    pictured = item | {"photo_texture": item["canonical_image"]}
    document, _ = read_glb(write_meshes(pictured, tmp_path, "ann", formats=["glb"], texture=texture)[0])
    (material,) = document["materials"]
    assert document.get("extensionsUsed", []) == (["KHR_materials_unlit"] if texture != "albedo" else [])
    assert material.get("extensions", {}) == ({"KHR_materials_unlit": {}} if texture != "albedo" else {})
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0


@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_meshio_reads_obj_and_ply(tmp_path, item, choices, kind):
    vertices, faces, normals = geometry(item, choices)
    read = meshio.read(write_meshes(item, tmp_path, "ann", formats=[kind], **choices)[0])
    assert np.abs(read.points - vertices).max() < 1e-6
    assert (read.cells_dict["triangle"] == faces).all()
    data = read.point_data
    read_normals = data["obj:vn"] if kind == "obj" else np.stack([data[f"n{axis}"] for axis in "xyz"], 1)
    assert np.abs(read_normals - normals).max() < 1e-6


def test_meshio_reads_stl_in_millimetres(tmp_path, item, choices):
    vertices, faces, _ = geometry(item, choices)
    read = meshio.read(write_meshes(item, tmp_path, "ann", formats=["stl"], **choices)[0])
    corners = read.points[read.cells_dict["triangle"]]
    assert np.abs(corners - 1000 * vertices[faces]).max() < 1e-3


def test_glb_holds_the_mesh_and_its_texture_in_full(tmp_path, item, choices):
    vertices, faces, normals = geometry(item, choices)
    document, blob = read_glb(write_meshes(item, tmp_path, "ann", formats=["glb"], **choices)[0])
    (primitive,) = document["meshes"][0]["primitives"]
    assert (accessor(document, blob, primitive["attributes"]["POSITION"]) == vertices).all()
    assert np.abs(accessor(document, blob, primitive["attributes"]["NORMAL"]) - normals).max() < 1e-6
    assert (accessor(document, blob, primitive["indices"]).reshape(-1, 3) == faces).all()
    view = document["bufferViews"][document["images"][0]["bufferView"]]
    png = np.frombuffer(blob, np.uint8, view["byteLength"], view.get("byteOffset", 0))
    _, colours = build_mesh(item, "ann", **choices)
    assert (cv2.imdecode(png, cv2.IMREAD_COLOR_RGB) == colours).all()
    assert len(colours) == max(SIZE, choices.get("resolution", SIZE))


def test_a_point_cloud_has_places_and_colours(tmp_path, item):
    read = meshio.read(write_meshes(item, tmp_path, "ann", formats=["points"], resolution=40)[0])
    vertices, _, _ = geometry(item, {"resolution": 40})
    assert np.abs(read.points - vertices).max() < 1e-7
    assert not read.cells
    # meshio takes PLY's unsigned bytes for signed ones.
    upper_left = np.array([read.point_data[name][0] for name in ("red", "green", "blue")]).astype(np.uint8)
    assert np.abs(upper_left / 255 - RED).max() < 1 / 255


def test_usd_is_read_by_another_library(tmp_path, item, choices):
    pytest.importorskip("pxr")
    tinyusdz = pytest.importorskip("tinyusdz")
    vertices, faces, normals = geometry(item, choices)
    stage = tinyusdz.load(str(write_meshes(item, tmp_path, "ann", formats=["usdz"], **choices)[0]))
    assert (stage.get_metadata("upAxis"), stage.get_metadata("metersPerUnit")) == ("Y", 1.0)
    shape = stage.get_prim_at_path("/Root/Mesh")
    read = {name: np.asarray(shape.get_attribute(name).value) for name in ("points", "faceVertexIndices", "normals")}
    assert (read["points"] == vertices).all()
    assert (read["faceVertexIndices"].reshape(-1, 3) == faces).all()
    assert (read["normals"] == normals).all()


def test_usdz_without_its_library(tmp_path, prediction, monkeypatch):  # noqa: F811
    monkeypatch.setattr("stages.io.usdz.importlib.util.find_spec", lambda name: None)
    for request, stage in (
        (ExportRequest(prediction, tmp_path / "out", formats=("usdz",)), run),
        (InferRequest("nowhere", (tmp_path,), tmp_path / "out", formats=("usdz",)), infer),
    ):
        with pytest.raises(MissingPartError, match=r"pip install 'sym3d\[usd\]'"):
            stage(request)
    assert not (tmp_path / "out").exists()


def test_khronos_finds_no_fault_in_glb(tmp_path, item):
    node = shutil.which("node")
    script = "process.stdout.write(require.resolve('gltf-validator'))"
    if not node or subprocess.run([node, "-e", script], capture_output=True).returncode:
        pytest.skip("node with the package gltf-validator on NODE_PATH is not here")
    pictured = item | {"photo_texture": item["canonical_image"]}
    every = [*CHOICES, {"texture": "photo"}]
    paths = [write_meshes(pictured, tmp_path, "ann", formats=["glb"], **choices)[0] for choices in every]
    script = """
        const validator = require('gltf-validator'), fs = require('fs')
        Promise.all(process.argv.slice(1).map(path => validator.validateBytes(new Uint8Array(fs.readFileSync(path)))))
            .then(reports => console.log(JSON.stringify(reports.map(report => report.issues))))
    """
    found = subprocess.run([node, "-e", script, *map(str, paths)], capture_output=True, text=True, check=True)
    for issues in json.loads(found.stdout):
        assert not any(issues[of] for of in ("numErrors", "numWarnings", "numHints")), issues["messages"]


def test_a_solid_is_closed_in_the_file(tmp_path, item):
    for choices in ({}, {"triangles": 1000}, {"resolution": 50, "pose": "input"}):
        (path,) = write_meshes(item, tmp_path, "ann", formats=["stl"], solid=True, **choices)
        read = meshio.read(path)
        body = trimesh.Trimesh(read.points, read.cells_dict["triangle"])
        assert body.is_watertight
        assert body.volume > 0
        assert 130 < body.extents[0] < 190  # millimetres


def test_no_choice_overwrites_another(tmp_path, prediction):  # noqa: F811
    written = []
    for pose, texture, resolution, triangles, solid in itertools.product(
        ("canonical", "input"), ("albedo", "shaded"), (None, 20), (None, 300), (False, True)
    ):
        shape = {"resolution": resolution, "triangles": triangles, "solid": solid}
        request = ExportRequest(
            prediction, tmp_path, ("obj", "ply", "points"), pose, rows=(0,), texture=texture, **shape
        )
        written += run(request).meshes
    for pose, resolution in itertools.product(("canonical", "input"), (None, 20)):
        kinds = {"formats": (), "depth": tuple(DEPTHS), "normals": True}
        written += run(ExportRequest(prediction, tmp_path, pose=pose, resolution=resolution, rows=(0,), **kinds)).maps
    assert len(set(written)) == len(written) == 32 * 5 + 4 * 4
    assert {*written, tmp_path / INDEX} == {*tmp_path.iterdir()}


def test_maps_of_depth_and_normals(tmp_path, prediction, item):  # noqa: F811
    request = ExportRequest(prediction, tmp_path, (), rows=(0,), depth=("png16", "exr", "npy"), normals=True)
    assert [path.name for path in run(request).maps] == [
        "ann+depth.png",
        "ann+depth.exr",
        "ann+depth.npy",
        "ann+normals.png",
    ]
    inner = (slice(TRIM, -TRIM),) * 2
    plain = np.load(tmp_path / "ann+depth.npy", allow_pickle=False)
    assert plain.dtype == np.float32
    assert np.abs(plain - item["canonical_depth"])[inner].max() < 1e-6
    assert np.count_nonzero(plain) == (SIZE - 2 * TRIM) ** 2
    assert (cv2.imread(str(tmp_path / "ann+depth.exr"), cv2.IMREAD_UNCHANGED) == plain).all()
    steps = cv2.imread(str(tmp_path / "ann+depth.png"), cv2.IMREAD_UNCHANGED)
    assert steps.dtype == np.uint16
    assert np.abs(steps / 50_000 - plain).max() < 1.1e-5
    colours = cv2.imread(str(tmp_path / "ann+normals.png"), cv2.IMREAD_COLOR_RGB)
    normals = grid_mesh(torch.from_numpy(item["canonical_depth"])).normals.numpy()
    assert np.abs((colours[inner].reshape(-1, 3) - 127.5) / 127.5 - normals).max() < 2 / 255
    # Right of the middle the bump looks right, above it up.
    assert colours[SIZE // 2, SIZE - 8, 0] > 150
    assert colours[8, SIZE // 2, 1] > 150


def test_depth_that_png16_cannot_hold():
    with pytest.raises(InputError, match=r"1\.31 m; choose exr"):
        DEPTHS["png16"](np.full((4, 4), 1.4, np.float32), "ann")


def test_depth_that_png16_cannot_hold_of_any_item_is_refused_before_a_mesh_is_written(tmp_path, item):
    far = {name: np.stack([array, array]) for name, array in item.items()}
    far["canonical_depth"] = far["canonical_depth"] + np.float32([0.4, 0.4])[:, None, None]
    attrs = {"depth_min": 1.0, "depth_max": 1.6, "fov": 10.0}

    def export(name):
        path, arrays = tmp_path / f"{name}.h5", {"name": ["ann", "ben"], **far}
        write_artifact(path, "sym3d.prediction", arrays, provenance=make_provenance(), attrs=attrs)
        return run(ExportRequest(path, tmp_path / name, depth=("exr", "png16")))

    with pytest.raises(InputError, match="choose exr"):
        export("far")
    assert not (tmp_path / "far").exists()
    far["canonical_depth"][1] -= np.float32(0.4)
    assert [path.name for path in export("near").maps] == ["ben+depth.exr", "ben+depth.png"]
