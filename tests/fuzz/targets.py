"""What is fuzzed. A target takes the fuzzer's bytes and raises nothing but what sym3d raises on purpose."""

import contextlib
import copy
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import torch

from stages import convert, inspect
from stages.artifact import foreign_copy, open_artifact, reader, write_artifact
from stages.artifact.provenance import make_provenance
from stages.artifact.taste import VERIFY
from stages.checkpoint import TrainingState, restore, save
from stages.core.perceptual import VGG16Features
from stages.data.draws import NOISE, Draws
from stages.data.face_model import DATASETS, build_model
from stages.data.faces import render_batch
from stages.data.morphable import draw_model_scene, extra_noise
from stages.errors import InputError, Sym3dError
from stages.io.files import file_stems
from stages.io.images import UnusableError, decode
from stages.io.sources import open_source
from stages.io.weights import load_vgg16
from stages.loading import build_features, load_model, recipe_of
from stages.meshing import export_meshes
from stages.pages.items import read_items
from stages.pages.overview import read_overview
from stages.pages.sources import find_sources
from stages.photographs import Photographs
from stages.progress import Silent
from stages.recipe import parse_recipe
from tests.artifact.small_files import forge, reseal
from tests.fuzz.choices import Choices
from tests.fuzz.edits import edit
from tests.pages import small_files as pictures
from tests.stages.small import small_model, write_checkpoint, write_data
from tests.stages.tiny_face import tiny_arrays, write_model

__all__ = ["TARGETS"]

MESH = {"formats": ("obj",), "texture": "image", "pose": "canonical", "resolution": None}
FEATURES = """
name = "features"
data = {{images = "a.h5", make = "-"}}
loss = {{features = "self", features_path = "{path}"}}
optim = {{steps = 1}}
"""
FORGED = 2**22  # numbers, at most: to sum up billions of zeros takes a forger minutes
SMALL_SIDE = 32  # of the models that weights are read for


@cache
def _room() -> Path:
    """A folder of this process, with one sound file of each kind to begin from."""
    room = Path(tempfile.mkdtemp(prefix="sym3d-fuzz-"))
    write_data(room / "images.h5", count=10, size=8)
    pictures.write_scores(room / "scores.h5", pictures.write_prediction(room / "prediction.h5", ["a", "b"]), ["a", "b"])
    network, attrs = VGG16Features(1 / 64), {"width": 1 / 64, "size": 64, "accuracy": 0.5}
    arrays = {f"encoder/{name}": tensor.numpy() for name, tensor in network.state_dict().items()}
    arrays |= {"mean": np.full(3, 0.5, np.float32), "std": np.full(3, 0.25, np.float32)}
    write_artifact(room / "features.h5", "sym3d.features", arrays, provenance=make_provenance(), attrs=attrs)
    write_checkpoint(room / "checkpoint.h5")
    state = _tiny()
    state.model(torch.ones(3)).sum().backward()
    state.optimizer.step()
    state.step, state.skipped, state.log = (
        3,
        [2],
        [row | {"seconds": 1.0, "images_per_second": 1.0} for row in ({"step": 1.0}, {"step": 3.0})],
    )
    save(room / "training.h5", state, make_provenance(recipe=small_model()[1]), steps=10)
    write_model(room / "painted.h5", tiny_arrays())
    write_model(room / "coloured.h5", tiny_arrays(colours=True, names=True))
    return room


def _edited(kind: str, choices: Choices) -> Path:
    """That file after some edits, forged where it is an artifact."""
    path = _room() / "edited.h5"
    shutil.copyfile(_room() / f"{kind}.h5", path)
    with h5py.File(path, "r+") as file:
        edit(file, choices)
        sizes: list[int] = []
        file.visititems(lambda name, item: sizes.append(item.size or 0) if isinstance(item, h5py.Dataset) else None)
    if kind not in ("painted", "coloured"):
        (forge if sum(sizes) <= FORGED else reseal)(path)
    return path


def artifact(data: bytes) -> None:
    """An edited artifact, through everything that reads its kind: info, pages, meshes, the features of a training."""
    choices = Choices(data)
    kind = choices.pick(["images", "prediction", "scores", "features"])
    path = _edited(kind, choices)
    inspect.run(inspect.InfoRequest(path))
    if kind == "features":
        build_features(parse_recipe(FEATURES.format(path=path)))
    elif kind != "images":
        read_overview(find_sources([path]))
        read_items(*((path, ()) if kind == "prediction" else (None, (path,))), 4, Silent())
    if kind == "prediction":
        with open_artifact(path, "sym3d.prediction") as prediction, tempfile.TemporaryDirectory(dir=_room()) as folder:
            stems = file_stems(prediction.strings("name"))
            rows, none = range(prediction.count), Photographs([])
            export_meshes(prediction, rows, Path(folder), stems=stems, photographs=none, report=Silent(), **MESH)


def _tiny() -> TrainingState:
    """A training that has so few parameters that reading it takes no time."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    model.size = 64
    return TrainingState(model, copy.deepcopy(model), torch.optim.Adam(model.parameters()))


def checkpoint(data: bytes) -> None:
    """An edited checkpoint of our own, or any bytes as one of the reference's or as weights."""
    choices = Choices(data)
    kind = choices.pick(["training", "reference", "weights.safetensors", "weights.pth", "checkpoint"])
    if kind == "checkpoint":
        load_model(_edited(kind, choices))
    elif kind == "training":
        path = _edited(kind, choices)
        with contextlib.suppress(InputError), open_artifact(path) as artifact:
            recipe_of(artifact)
        read_overview(find_sources([path]))
        restore(path, _tiny())
    else:
        path = _room() / kind
        path.write_bytes(choices.rest())
        if kind == "reference":
            convert.run(convert.ImportRequest(path, _room() / "imported.h5", overwrite=True))
        else:
            load_vgg16(str(path))


def morphable(data: bytes) -> None:
    """An edited face model, copied as the child would copy it, and a face drawn from it."""
    choices = Choices(data)
    path = _edited(choices.pick(["painted", "coloured"]), choices)
    copies = io.BytesIO()
    try:
        with contextlib.redirect_stdout(io.TextIOWrapper(copies, write_through=True)) as stdout:
            foreign_copy.main(str(path), DATASETS)
            stdout.detach()
    except Exception:  # the child says so and ends
        return
    copies.seek(0)
    names = json.loads(copies.readline())
    try:
        model = build_model({name: np.load(copies, allow_pickle=False) for name in names})
    except ValueError:  # read_model makes an InputError of it
        return
    draw = Draws(0, [choices.number(9)], "cpu", NOISE + extra_noise(model))
    drawn = render_batch(draw, SMALL_SIDE, partial(draw_model_scene, model))
    assert all(np.isfinite(array).all() for array in drawn.values())


def image(data: bytes) -> None:
    """Any bytes as a photograph, at full size and reduced, or as a zip of photographs."""
    contents = [data]
    if data[:2] == b"PK":
        path = _room() / "photographs.zip"
        path.write_bytes(data)
        with open_source(path) as source:
            contents = []
            for item in source.items:
                with contextlib.suppress(UnusableError):
                    contents.append(source.read(item))
    for content in contents:
        for shrink_to in (None, 64):
            with contextlib.suppress(UnusableError):
                pixels, _ = decode(content, shrink_to)
                assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)


def _taste_here(fd: int, path: Path, request: bytes) -> None:
    """What the child is for, without it: the fuzzer sees this process only, and what crashes it is a find."""
    if request == VERIFY:
        with reader.reading(path), reader.take_file(path, h5py.File(path)) as artifact:
            artifact.verify()


def _on_purpose(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Let through what is no error of ours, and errors of ours that are more than one line."""

    def try_one(data: bytes) -> None:
        line = ""
        try:
            with mock.patch.object(reader, "taste", _taste_here), mock.patch.object(reader, "ready_taster"):
                target(data)
        except Sym3dError as error:
            line = str(error)
        assert "\n" not in line, line

    return try_one


TARGETS = {target.__name__: _on_purpose(target) for target in (artifact, checkpoint, morphable, image)}
