"""Turn a checkpoint of the reference implementation into a ``sym3d.checkpoint``."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stages.artifact import file_sha256, make_provenance, write_artifact
from stages.errors import InputError, OutputError
from stages.io.foreign import read_torch_checkpoint
from stages.io.sources import printable
from stages.loading import build_model, check_shapes
from stages.outputs import check_output
from stages.progress import Report, Silent
from stages.recipe import ModelSection, Recipe, parse_recipe

__all__ = ["ImportRequest", "ImportResult", "run"]

_NETS = ("netD", "netA", "netL", "netV", "netC")
_SIZES = (64, 128, 256)
_FIX = "give a checkpoint that the reference implementation wrote"
_RECIPE = """
name = "{name}"
[data]
images = "images.h5"
make = "sym3d prep <folder of images> images.h5"
[optim]
epochs = 30
"""


# The reference's own defaults. It trained its faces without movement along z.
_REFERENCE = ModelSection(max_translation_z=0.1)


@dataclass(frozen=True)
class ImportRequest:
    """The checkpoint, where to put it, and a model section for what the reference keeps in its configuration instead of
    its checkpoints: the ranges of depth, movement and light, and the camera."""

    source: Path
    out: Path
    like: ModelSection = _REFERENCE
    overwrite: bool = False


@dataclass(frozen=True)
class ImportResult:
    checkpoint: Path
    size: int  # pixels
    width: float
    confidence: bool
    epoch: int
    parameters: int
    left_out: tuple[str, ...]  # state dicts in the file that no network of the method has


def run(request: ImportRequest, *, report: Report = Silent()) -> ImportResult:
    """Read, check against the method's networks, and write.

    Raises InputError when the file is no such checkpoint, OutputError when the result exists (without ``overwrite``) or
    cannot be written.
    """
    check_output(request.out, [request.source])
    if request.out.exists() and not request.overwrite:
        raise OutputError(request.out, "exists already", "add --overwrite or name another file")
    foreign = read_torch_checkpoint(request.source)
    missing = [net for net in _NETS[:4] if net not in foreign.states]
    if missing:
        found = ", ".join(map(printable, sorted(foreign.states)[:8])) or "nothing"
        raise InputError(request.source, f"has no weights for {', '.join(missing)} (it holds {found})", _FIX)
    with np.errstate(over="ignore"):  # float64 beyond float32: infinite, and refused
        weights = {
            f"{net}.{key}": array.astype(np.float32)
            for net in _NETS
            for key, array in foreign.states.get(net, {}).items()
        }
    size, width = _networks(request.source, weights)
    confidence = "netC" in foreign.states
    recipe = _recipe(request, size, width, confidence)
    with torch.device("meta"):  # only the shapes are looked at
        like = {name: tuple(tensor.shape) for name, tensor in build_model(recipe.model).state_dict().items()}
    check_shapes(request.source, {name: array.shape for name, array in weights.items()}, like, _FIX)
    broken = [name for name, array in weights.items() if not np.isfinite(array).all()]
    if broken:
        raise InputError(
            request.source, f"weights are not finite: {', '.join(broken[:3])}", "use an earlier checkpoint"
        )

    source = {"name": request.source.name, "schema": "torch", "digest": file_sha256(request.source), "provenance": {}}
    epoch = foreign.numbers.get("epoch")
    epoch = epoch if isinstance(epoch, int) and 0 <= epoch < 2**31 else 0
    write_artifact(
        request.out,
        "sym3d.checkpoint",
        {f"model/{name}": array for name, array in weights.items()},
        provenance=make_provenance(recipe=recipe.text(), parents=[source]),
        attrs={"step": 0, "size": size},
    )
    parameters = sum(array.size for array in weights.values())
    left_out = tuple(printable(name) for name in foreign.states if name not in _NETS)
    report.note(f"{size} px, width {width:g}, {parameters / 1e6:.1f} M parameters, epoch {epoch}")
    return ImportResult(request.out, size, width, confidence, epoch, parameters, left_out)


def _networks(where: Path, weights: dict[str, np.ndarray]) -> tuple[int, float]:
    """Image size and width multiplier, from the number of stride-2 stages of the viewpoint network and its channels."""
    convolutions = [array.shape for name, array in weights.items() if re.fullmatch(r"netV\.network\.\d+\.weight", name)]
    stages = len(convolutions) - 2  # the last two reach 1×1 and the six numbers
    size = 4 * 2**stages if 0 <= stages <= 16 else 0
    if size not in _SIZES or len(convolutions[-2]) != 4:
        raise InputError(where, "its viewpoint network is not the method's (64, 128 or 256 pixels)", _FIX)
    return size, convolutions[-2][0] / 256  # the widest, where rounding to whole groups says least


def _recipe(request: ImportRequest, size: int, width: float, confidence: bool) -> Recipe:
    """A recipe that describes the model; what it was trained on, the checkpoint does not say."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", request.source.stem).strip("._-")[:50]
    recipe = parse_recipe(_RECIPE.format(name=f"imported-{stem or 'checkpoint'}"))
    measured = {"size": size, "width": width, "confidence": confidence}
    model = request.like.model_copy(update=measured | {"convex_prior": 0.0, "symmetric": False})
    return recipe.model_copy(update={"model": model})
