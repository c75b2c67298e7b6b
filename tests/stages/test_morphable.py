"""Faces from a morphable model: what is drawn is what the file says, and no file does harm."""

from dataclasses import replace
from functools import partial

import h5py
import numpy as np
import pytest
import torch

from stages import synth
from stages.artifact import file_sha256, open_artifact
from stages.core.camera import apply_view, pixel_rays, project
from stages.data import meshes
from stages.data.draws import NOISE, Draws
from stages.data.face_model import AXIS, INSIDE, MIDDLE, ZOOM, FaceModel, build_model
from stages.data.faces import render_batch
from stages.data.meshes import Mesh, render_mesh, shade
from stages.data.morphable import draw_faces, draw_model_scene, extra_noise
from stages.data.scenery import draw_background, draw_light, draw_view
from stages.data.topology import close_holes, corner_lists
from stages.errors import InputError, StaleError
from stages.synth import SynthRequest, read_model
from tests.stages.small import trivial_scores
from tests.stages.tiny_face import COLUMNS, ROWS, tiny_arrays, write_model


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return build_model(tiny_arrays())


def draws(model: FaceModel, indices, seed: int = 5, device: str = "cpu") -> Draws:
    return Draws(seed, indices, device, NOISE + extra_noise(model))


def faces_of(model: FaceModel, indices, size: int = 64, seed: int = 5) -> dict[str, np.ndarray]:
    return render_batch(draws(model, indices, seed), size, partial(draw_model_scene, model))


@pytest.fixture(scope="module")
def faces(model):
    return faces_of(model, range(32))


# What is drawn


def test_shapes_types_and_ranges(faces):
    kinds = {name: (array.dtype.name, array.shape[1:]) for name, array in faces.items()}
    assert kinds == {
        "image": ("uint8", (64, 64, 3)),
        "depth": ("float32", (64, 64)),
        "mask": ("bool", (64, 64)),
        "view": ("float32", (6,)),
        "light": ("float32", (5,)),
        "keypoints": ("float32", (66, 3)),
    }
    assert all(np.isfinite(array).all() for array in faces.values())
    assert (faces["depth"][~faces["mask"]] == 0).all()
    assert 0.3 < faces["mask"].mean() < 0.95


def test_viewpoints_and_light_are_those_of_the_procedural_faces(faces):
    np.testing.assert_array_equal(faces["view"], draw_view(Draws(5, range(32))))


def test_a_face_is_the_mean_and_its_modes_as_the_file_has_them():
    """Written out in numpy: mm to drawn metres, y and z turned, about the nose's tip."""
    arrays = {name: array.astype(np.float64) for name, array in tiny_arrays().items()}
    model = build_model(tiny_arrays())
    weights = np.array([[1.5, -0.5, 0.25, 1.0], [0, 0, 0, 0]])
    mean = arrays["shape/model/mean"] + arrays["expression/model/mean"]
    tip = mean.reshape(-1, 3)[mean.reshape(-1, 3)[:, 2].argmax()]
    for row, points in zip(weights, model.shape.mix(torch.from_numpy(weights)), strict=True):
        face = mean.copy()
        for kind, part in (("shape", row[:2]), ("expression", row[2:])):
            face += arrays[f"{kind}/model/pcaBasis"] @ (np.sqrt(arrays[f"{kind}/model/pcaVariance"]) * part)
        right, up, near = ((face.reshape(-1, 3) - tip) * 1e-3 * ZOOM).T
        wanted = np.stack([right, -up - MIDDLE * ZOOM, 1 - AXIS * ZOOM - near], 1)
        np.testing.assert_allclose(points[: ROWS * COLUMNS], wanted, atol=2e-7)


def test_depth_and_mask_are_what_rays_through_pixel_centres_hit(model, faces):
    """Möller and Trumbore against every triangle, in float64."""
    draw = draws(model, range(6))
    with torch.no_grad():
        view, _, _ = draw_view(draw), draw_light(draw), draw_background(draw, 64)
        points = apply_view(draw_faces(model, draw).points.double(), view.double())
    pixels = torch.randint(0, 64, (2, 40), generator=torch.Generator().manual_seed(0))
    rays = pixel_rays(64, 64, dtype=torch.float64)[pixels[0], pixels[1]][:, None]
    for i in range(6):
        a, b, c = points[i][model.faces].unbind(1)
        p = torch.linalg.cross(rays, (c - a)[None].expand(40, -1, -1))
        determinant = (p * (b - a)).sum(-1)
        u = -(p * a).sum(-1) / determinant
        q = torch.linalg.cross(-a, b - a)
        v = (rays * q).sum(-1) / determinant
        z = ((c - a) * q).sum(-1) / determinant  # rays have z = 1
        z = torch.where((u >= 0) & (v >= 0) & (u + v <= 1) & (z > 0), z, torch.inf).amin(1)
        depth = torch.from_numpy(faces["depth"][i])[pixels[0], pixels[1]].double()
        agree = torch.where(z.isinf(), depth == 0, (z - depth).abs() < 1e-5)
        assert agree.sum() >= 39  # one may lie on the silhouette to within rounding


def test_key_points_are_vertices_and_lie_on_the_depth_map(faces):
    frontal = np.abs(np.degrees(faces["view"][:, 1])) < 20
    u, v, z = np.moveaxis(faces["keypoints"][frontal][:, 17:], -1, 0)
    column, row = u.round().astype(int).clip(0, 63), v.round().astype(int).clip(0, 63)
    depth = faces["depth"][frontal][np.arange(frontal.sum())[:, None], row, column]
    assert np.median(np.abs(z - depth)) < 1e-3
    level = np.abs(np.degrees(faces["view"][:, 2])) < 8
    points = faces["keypoints"][level]
    assert (points[:, 36:48, 1].mean(1) < points[:, 48:60, 1].mean(1)).all()  # eyes above the mouth: upright
    assert (points[:, 36:42, 0].mean(1) < points[:, 42:48, 0].mean(1)).all()


@pytest.mark.parametrize("batch", [[17], [2, 17, 31], list(range(10, 30))])
def test_a_row_does_not_depend_on_the_rows_beside_it(model, faces, batch):
    for name, array in faces_of(model, batch).items():
        np.testing.assert_array_equal(array, faces[name][batch], err_msg=name)


def test_procedural_albedo_is_as_symmetric_as_the_mesh(model):
    mesh = draw_faces(model, draws(model, range(4)))
    grid = mesh.albedo[:, : ROWS * COLUMNS].view(4, ROWS, COLUMNS, 3)
    torch.testing.assert_close(grid.flip(2), grid, rtol=0, atol=2e-6)
    assert grid.flatten(1, 2).std(1).min() > 0.02  # and something is painted
    assert (mesh.albedo >= 0).all()
    assert (mesh.albedo <= 1).all()


def test_what_is_painted_lies_where_the_landmarks_are(model):
    """Lips are redder than cheeks, brows darker than the forehead between and above them."""
    arrays = tiny_arrays()
    mark = arrays["metadata/landmarks68"]
    albedo = draw_faces(model, draws(model, range(64))).albedo
    redness = albedo[..., 0] / albedo.sum(-1)
    assert redness[:, mark[[51, 57]]].mean() > redness[:, mark[[4, 12]]].mean() + 0.02
    assert albedo[:, mark[[19, 24]]].mean() < 0.85 * albedo[:, mark[[27, 28]]].mean()


def test_colours_of_the_file_are_used():
    arrays = tiny_arrays(colours=True)
    model = build_model(arrays)
    assert model.skin is None
    assert extra_noise(model) == 4 + 3
    albedo = draw_faces(model, draws(model, range(200))).albedo[:, : ROWS * COLUMNS]
    basis = arrays["color/model/pcaBasis"] * np.sqrt(arrays["color/model/pcaVariance"])
    wanted = np.sqrt((basis**2).sum(1)).reshape(-1, 3)
    np.testing.assert_allclose(albedo.mean((0, 1)), [0.8, 0.5, 0.4], atol=0.01)
    np.testing.assert_allclose(albedo.std(0).mean(), wanted.mean(), rtol=0.1)


def test_faces_without_landmarks_have_no_key_points(tmp_path):
    arrays = tiny_arrays(colours=True)
    del arrays["metadata/landmarks68"]
    file = write_model(tmp_path / "model.h5", arrays)
    synth.run(SynthRequest(tmp_path / "faces.h5", count=3, morphable=file))
    with open_artifact(tmp_path / "faces.h5", "sym3d.images") as made:
        assert "keypoints" not in made
        assert made.count == 3


def test_named_expressions_are_blend_shapes_shared_by_left_and_right():
    model = build_model(tiny_arrays(names=True) | {"expression/names": np.array([b"smile_L", b"smile_R"])})
    assert model.blend
    assert model.dials.tolist() == [0, 0]
    still = replace(model, shape=replace(model.shape, mean=torch.zeros_like(model.shape.mean)))
    moved = draw_faces(still, draws(model, range(400))).points.flatten(1).double()
    weights = torch.linalg.lstsq(model.shape.basis, moved.T).solution[2:]
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-3)
    assert weights.min() > -1e-3
    assert weights.max() < 1 + 1e-3
    assert 0.1 < (weights[0] > 0.01).double().mean() < 0.22


@pytest.mark.parametrize("unit", [0.1, 0.001])
def test_centimetres_and_metres_are_recognised(model, unit):
    arrays = tiny_arrays()
    for kind in ("shape", "expression"):
        for part in ("mean", "pcaBasis"):
            arrays[f"{kind}/model/{part}"] = arrays[f"{kind}/model/{part}"] * np.float32(unit)
    other = build_model(arrays)
    torch.testing.assert_close(other.shape.mean, model.shape.mean, rtol=0, atol=1e-7)
    torch.testing.assert_close(other.shape.basis, model.shape.basis, rtol=0, atol=1e-7)


def test_faces_whose_corners_run_the_other_way_look_the_same(model, faces):
    arrays = tiny_arrays()
    arrays["shape/representer/cells"] = arrays["shape/representer/cells"][::-1].copy()
    other = faces_of(build_model(arrays), range(4))
    np.testing.assert_allclose(other["depth"], faces["depth"][:4], atol=1e-6)
    assert (np.abs(other["image"].astype(int) - faces["image"][:4]) > 1).mean() < 1e-3


def test_other_sizes_show_the_same_face(model, faces):
    large = faces_of(model, [3], 128)
    small = torch.nn.functional.avg_pool2d(torch.from_numpy(large["image"]).permute(0, 3, 1, 2).float(), 2)
    assert (small - torch.from_numpy(faces["image"][[3]]).permute(0, 3, 1, 2)).abs().mean() < 6
    np.testing.assert_allclose(large["keypoints"][..., 2], faces["keypoints"][[3], :, 2], atol=1e-6)


# Meshes


def test_holes_are_closed(model):
    """Every edge belongs to two triangles, so no viewpoint shows the inside; what shows between the lips is dark."""
    edges = np.concatenate([model.faces[:, [a, b]].numpy() for a, b in ((0, 1), (1, 2), (2, 0))])
    _, count = np.unique(np.sort(edges, 1), axis=0, return_counts=True)
    assert (count == 2).all()
    assert len(np.unique(edges, axis=0)) == len(edges)  # one each way: all corners run the same way round
    assert model.bright[: ROWS * COLUMNS].eq(1).all()
    assert sorted(model.bright[ROWS * COLUMNS :].tolist()) == pytest.approx([INSIDE, 1])


def test_a_mesh_without_holes_is_left_alone_and_two_holes_are_told_apart():
    tetrahedron = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    caps, rims = close_holes(tetrahedron, 4)
    assert (caps.shape, rims) == ((0, 3), [])
    caps, rims = close_holes(np.array([[0, 1, 2], [3, 4, 5]]), 6)
    assert [rim.tolist() for rim in rims] == [[0, 1, 2], [3, 4, 5]]
    assert sorted(map(tuple, caps.tolist()))[:2] == [(0, 2, 6), (1, 0, 6)]


def test_each_corner_is_counted_once():
    faces = np.array([[0, 1, 2], [2, 1, 3], [0, 2, 3]])
    pairs = corner_lists(faces, 5)
    assert all(len(set(vertices.tolist())) == len(vertices) for vertices, _ in pairs)
    found = sorted((v, f) for pair in pairs for v, f in zip(*pair, strict=True))
    assert found == sorted((v, f) for f, face in enumerate(faces.tolist()) for v in face)
    with pytest.raises(ValueError, match="vertex 7"):
        corner_lists(np.array([[7, i + 8, i + 9] for i in range(70)]), 90)


def _ball(rows: int = 40, columns: int = 80) -> Mesh:
    theta = torch.linspace(0.05, np.pi - 0.05, rows)[:, None]
    phi = (torch.arange(columns) * (2 * np.pi / columns))[None]
    one = torch.ones_like(phi)
    points = torch.stack([theta.sin() * phi.cos(), -theta.cos() * one, theta.sin() * phi.sin()], -1)
    corner = torch.arange(rows * columns).view(rows, columns)
    here, below = corner[:-1], corner[1:]
    right, across = here.roll(-1, 1), below.roll(-1, 1)
    faces = torch.stack([here, below, right, right, below, across], -1).view(-1, 3)
    points = 0.05 * points.view(1, -1, 3) + torch.tensor([0, 0, 1.0])
    corners = corner_lists(faces.numpy(), rows * columns)
    corners = tuple(tuple(map(torch.from_numpy, pair)) for pair in corners)
    return Mesh(points, torch.full_like(points, 0.5), faces, corners)


def test_a_ball_is_shaded_as_a_ball():
    """Lambert's law, the depth of a sphere, and nothing around it."""
    ball = _ball()
    light = torch.tensor([[0.3, 0.6, 0.48, 0.36, 0.8]])
    inward = (torch.tensor([0, 0, 1.0]) - ball.points) / 0.05
    wanted = 0.3 + 0.6 * (inward @ light[0, 2:]).clamp(min=0)
    rims = slice(80, -80)  # the ends are open
    torch.testing.assert_close(shade(ball, light)[:, rims], wanted[:, rims], rtol=0, atol=0.01)
    drawn = render_mesh(ball, torch.zeros(1, 6), light, torch.ones(1, 3, 64, 64))
    rays = pixel_rays(64, 64)  # against the ball itself
    length = rays.square().sum(-1)
    root = 1 - length * (1 - 0.05**2)
    depth = torch.where(root > 0, (1 - root.clamp(min=0).sqrt()) / length, 0)
    inside = torch.nn.functional.avg_pool2d((depth > 0).float()[None], 5, 1, 2)[0] == 1
    torch.testing.assert_close(drawn.depth[0][inside], depth[inside], rtol=0, atol=3e-4)
    normal = (torch.tensor([0, 0, 1.0]) - rays * depth[..., None]) / 0.05
    colour = 0.5 * (0.3 + 0.6 * (normal @ light[0, 2:]).clamp(min=0))
    torch.testing.assert_close(drawn.image[0, 1][inside], colour[inside], rtol=0, atol=0.012)
    assert (drawn.image[0, :, :4, :4] == 1).all()


def test_after_the_dice_nothing_waits_for_the_device(model, monkeypatch):
    """A tensor on "meta" has no values: whatever reads one, or shapes another after it, raises."""

    def nowhere(points, faces, *arguments, samples=1):
        return torch.empty((len(points), samples * 64, samples * 64), dtype=torch.int32, device="meta")

    monkeypatch.setattr(meshes.raster, "cover", nowhere)
    monkeypatch.setattr(meshes.raster, "plane_depth", lambda *a: (a[2].float(), a[2] >= 0))
    with torch.no_grad():
        draw = draws(model, range(3), device="meta")
        mesh = draw_faces(model.to("meta"), draw)
        drawn = render_mesh(mesh, draw_view(draw), draw_light(draw), draw_background(draw, 64))
    assert drawn.image.shape == (3, 3, 64, 64)


# The stage


def test_stage_resumes_and_knows_the_file(tmp_path, monkeypatch):
    file = write_model(tmp_path / "model.h5", tiny_arrays())
    request = SynthRequest(tmp_path / "faces.h5", count=40, seed=3, morphable=file)
    whole = SynthRequest(tmp_path / "whole.h5", count=40, seed=3, morphable=file)
    synth.run(whole)

    def interrupted(draw, size, draw_scene):
        if draw.count < 16:  # the last batch
            raise KeyboardInterrupt
        return render_batch(draw, size, draw_scene)

    with monkeypatch.context() as patch:
        patch.setattr(synth, "render_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            synth.run(request)
    assert synth.run(request).drawn == 8
    with open_artifact(request.out) as resumed, open_artifact(whole.out) as straight:
        assert resumed.digest == straight.digest
        assert resumed.provenance["parents"] == [{"name": "model.h5", "digest": file_sha256(file)}]
        np.testing.assert_array_equal(resumed["image"][7], faces_of(read_model(file), [7], seed=3)["image"][0])

    arrays = tiny_arrays()
    arrays["shape/model/pcaVariance"][0] += 1
    write_model(file, arrays)
    with pytest.raises(StaleError, match=r"content of its input has changed \(model.h5\)"):
        synth.run(request)
    with pytest.raises(StaleError, match="recipe"):
        synth.run(replace(request, morphable=None))


# Hostile files


def without(name):
    return lambda arrays: arrays.pop(name)


def put(name, change):
    return lambda arrays: arrays.update({name: change(arrays[name])})


def spoilt(array, value=np.nan):
    array = array.copy()
    array.flat[5] = value
    return array


WRONG = {
    "no mean": (without("shape/model/mean"), "has no 'shape/model/mean'"),
    "no basis": (without("expression/model/pcaBasis"), "has no 'expression/model/pcaBasis'"),
    "no triangles": (without("shape/representer/cells"), "has no 'shape/representer/cells'"),
    "nothing to paint by": (without("metadata/landmarks68"), "neither colours"),
    "NaN": (put("shape/model/mean", spoilt), "NaN"),
    "infinite mode": (put("shape/model/pcaBasis", lambda a: spoilt(a, np.inf)), "NaN or infinity"),
    "NaN half floats": (put("shape/model/pcaBasis", lambda a: spoilt(a.astype(np.float16))), "NaN"),
    "giant mode": (put("shape/model/pcaBasis", lambda a: spoilt(a, 1e30)), "metre away"),
    "overflowing mode": (put("shape/model/pcaBasis", lambda a: spoilt(a.astype(np.float64), 1e308)), "metre away"),
    "negative variance": (put("shape/model/pcaVariance", lambda a: -a), "negative"),
    "basis turned": (put("shape/model/pcaBasis", lambda a: a.T), "has shape (2, 1449)"),
    "flat basis": (put("shape/model/pcaBasis", np.ravel), "not 2-d"),
    "text for numbers": (put("shape/model/mean", lambda a: np.full(len(a), b"x")), "right kind"),
    "not thirds": (put("shape/model/mean", lambda a: a[:-1]), "three for each vertex"),
    "another mesh's expression": (put("expression/model/mean", lambda a: a[:-3]), "three for each vertex"),
    "empty": (put("shape/model/mean", lambda a: a[:0]), "three for each vertex"),
    "absent vertex": (put("shape/representer/cells", lambda a: spoilt(a, 10**6)), "names vertices"),
    "negative vertex": (put("shape/representer/cells", lambda a: spoilt(a, -1)), "names vertices"),
    "quads": (put("shape/representer/cells", lambda a: np.concatenate([a, a[:1]])), "(3, triangles)"),
    "one point": (put("shape/model/mean", lambda a: a * 0), "wide"),
    "absurd unit": (put("shape/model/mean", lambda a: a * 1e6), "wide"),
    "67 landmarks": (put("metadata/landmarks68", lambda a: a[1:]), "68 vertices"),
    "absent landmark": (put("metadata/landmarks68", lambda a: spoilt(a, 10**6)), "68 vertices"),
    "landmarks in a heap": (put("metadata/landmarks68", lambda a: a * 0), "upright face"),
    "one name": (lambda arrays: arrays.update({"expression/names": np.array(["a"], object)}), "2 names"),
    "a fan": (
        put("shape/representer/cells", lambda a: np.stack([a[0] * 0, np.arange(a.shape[1]) % 400 + 1, a[2]])),
        "meet in vertex 0",
    ),
    "colours from 0 to 255": (
        lambda arrays: arrays.update(
            tiny_arrays(colours=True) | {"color/model/mean": np.full(3 * ROWS * COLUMNS, 200.0)}
        ),
        "RGB",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_face_model_is_refused_in_one_line(tmp_path, case):
    change, words = WRONG[case]
    arrays = tiny_arrays()
    change(arrays)
    file = write_model(tmp_path / "model.h5", arrays)
    with pytest.raises(InputError) as refused:
        synth.run(SynthRequest(tmp_path / "faces.h5", count=2, morphable=file))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model.h5"]


def _linked(file, tmp_path, link):
    write_model(tmp_path / "other.h5", {"mean": tiny_arrays()["shape/model/mean"]})
    del file["shape/model/mean"]
    file["shape/model/mean"] = link


def _elsewhere(file, tmp_path, **storage):
    mean = file["shape/model/mean"][:]
    del file["shape/model/mean"]
    mean.tofile(tmp_path / "raw")
    file.create_dataset("shape/model/mean", mean.shape, mean.dtype, **storage)


def _virtual(file, tmp_path):
    write_model(tmp_path / "other.h5", {"mean": tiny_arrays()["shape/model/mean"]})
    del file["shape/model/mean"]
    layout = h5py.VirtualLayout((3 * ROWS * COLUMNS,), "f4")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "mean", (3 * ROWS * COLUMNS,))
    file.create_virtual_dataset("shape/model/mean", layout)


def _huge(file, tmp_path):
    del file["shape/model/pcaBasis"]
    file.create_dataset("shape/model/pcaBasis", (1 << 40, 1 << 10), "f4", chunks=(1 << 10, 1 << 10))


def _large(file, tmp_path):
    del file["shape/model/pcaBasis"]
    zeros = np.zeros((1 << 20, 64), np.float32)
    basis = file.create_dataset("shape/model/pcaBasis", (1 << 20, 512), "f4", chunks=zeros.shape, compression=1)
    for start in range(0, 512, 64):
        basis[:, start : start + 64] = zeros


def _group(file, tmp_path):
    del file["shape/model/mean"]
    file.create_group("shape/model/mean")


LINKED = {
    "external link": (lambda f, t: _linked(f, t, h5py.ExternalLink("other.h5", "mean")), "soft or external link"),
    "soft link": (lambda f, t: _linked(f, t, h5py.SoftLink("/expression/model/mean")), "soft or external link"),
    "external storage": (lambda f, t: _elsewhere(f, t, external=[("raw", 0, 10**5)]), "elsewhere"),
    "virtual": (_virtual, "elsewhere"),
    "plug-in": (lambda f, t: _elsewhere(f, t, compression="lzf", chunks=True), "filter"),
    "claims a petabyte": (_huge, "far more than the file holds"),
    "two gigabytes of zeros": (_large, "more than 1024 MiB"),
    "a group": (_group, "no dataset"),
}


@pytest.mark.parametrize("case", LINKED)
def test_nothing_is_followed_or_unpacked_that_may_do_harm(tmp_path, case):
    change, words = LINKED[case]
    path = write_model(tmp_path / "model.h5", tiny_arrays())
    with h5py.File(path, "r+") as file:
        change(file, tmp_path)
    with pytest.raises(InputError, match=words):
        read_model(path)


def test_no_file_a_folder_another_format_and_damage(tmp_path):
    request = SynthRequest(tmp_path / "faces.h5", count=2, morphable=tmp_path / "model.h5")
    with pytest.raises(InputError, match="does not exist"):
        synth.run(request)
    with pytest.raises(InputError, match="is a folder"):
        synth.run(replace(request, morphable=tmp_path))
    request.morphable.write_bytes(b"PK\3\4 something else")
    with pytest.raises(InputError, match="is not an HDF5 file"):
        synth.run(request)
    write_model(request.morphable, tiny_arrays())
    whole = request.morphable.read_bytes()
    request.morphable.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        synth.run(request)


# A real model


@pytest.fixture(scope="module")
def real(shared) -> FaceModel:
    return read_model(shared / "ict_face.h5")


def test_a_real_model_gives_faces_like_the_papers(real):
    """Constant depth: SIDE 2.7e-2, MAD 43°; average true depth: 2.0e-2, 23° (docs/synthetic-faces.md has ours)."""
    parts = [faces_of(real, range(start, start + 16), seed=9) for start in range(0, 80, 16)]
    faces = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    scores = trivial_scores(faces)
    assert 2.0e-2 < scores["constant"][0] < 3.0e-2
    assert 36 < scores["constant"][1] < 46
    assert 1.1e-2 < scores["average"][0] < 2.2e-2
    assert 20 < scores["average"][1] < 27
    mask, depth = faces["mask"], faces["depth"]
    assert 0.6 < mask.mean() < 0.85
    assert ((depth[mask] > 0.9) & (depth[mask] < 1.1)).mean() > 0.98


def test_a_real_model_faces_the_viewer_upright(real):
    draw = draws(real, range(8), seed=2)
    points = draw_faces(real, draw).points[:, real.landmarks]
    jaw, nose, eyes, mouth = points[:, :17], points[:, 30], points[:, 36:48], points[:, 48:60]
    assert (nose[:, 2] < jaw[:, :, 2].amin(1)).all()
    assert (eyes[..., 1].mean(1) < nose[:, 1]).all()
    assert (mouth[..., 1].mean(1) > nose[:, 1]).all()
    assert (jaw[:, 0, 0] < 0).all()
    pixels = project(points, 64, 64)
    assert ((pixels > 0) & (pixels < 63)).all()  # in the canonical pose the frame holds all of the face
