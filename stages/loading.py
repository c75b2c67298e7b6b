"""From files to networks in memory, every parameter checked on the way."""

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from stages.artifact import Artifact, file_sha256, make_provenance, open_artifact
from stages.core.model import Sym3D
from stages.core.perceptual import VGG16Features
from stages.core.widen import widened
from stages.errors import InputError, MissingPartError, UsageError
from stages.io.sources import printable
from stages.io.weights import find_vgg16, load_vgg16
from stages.recipe import ModelSection, Recipe, parse_recipe
from stages.shipped import shipped_models

__all__ = [
    "Loaded",
    "build_features",
    "build_model",
    "check_shapes",
    "differences",
    "find_checkpoint",
    "find_target",
    "load_model",
    "load_weights",
    "recipe_of",
    "start_from",
]

_SHOWN = 3  # parameters named in a message about many


@dataclass(frozen=True)
class Loaded:
    """A model in eval mode on the CPU, and where it came from."""

    model: Sym3D
    recipe: Recipe
    path: Path
    digest: str
    step: int
    averaged: bool  # these are the averaged (EMA) weights
    provenance: dict  # of the checkpoint

    @property
    def parent(self) -> dict:
        """For make_provenance(parents=[...]) of what is made with this model."""
        return {
            "name": self.path.name,
            "schema": "sym3d.checkpoint",
            "digest": self.digest,
            "provenance": self.provenance,
        }


def build_model(section: ModelSection) -> Sym3D:
    """The networks and camera that a recipe's [model] section describes, with fresh weights."""
    return Sym3D(**section.model_dump())


def build_features(recipe: Recipe) -> tuple[nn.Module | None, list[dict]]:
    """The frozen feature extractor of the perceptual loss, and the file it comes from, for the provenance.

    None when the recipe does without. Raises MissingPartError when its weights are not on this machine, InputError when
    they are no such weights or, for features of our own, were learned from images of another size.
    """
    loss = recipe.loss
    if loss.features == "none" or not loss.perceptual:
        return None, []
    if loss.features == "vgg16":
        file = find_vgg16(loss.features_path)
        return load_vgg16(file), [{"name": file.name, "schema": "vgg16", "digest": file_sha256(file)}]
    path = Path(os.path.expanduser(loss.features_path))  # Path's own raises where there is no home
    make = f"sym3d features {recipe.data.images}"
    if not path.exists():
        raise MissingPartError(path, "the features of loss.features_path are not there", f"make them: {make} {path}")
    try:
        artifact = open_artifact(path, "sym3d.features")
    except InputError as error:
        raise InputError(error.where, error.what, f"make others: {make} OUT.h5") from error
    with artifact:
        if artifact.attrs["size"] != recipe.model.size:
            what = f"was learned from images of {artifact.attrs['size']} pixels, not {recipe.model.size}"
            raise InputError(path, what, f"make others: {make} OUT.h5")
        return _encoder(artifact), make_provenance(parents=[artifact])["parents"]


def _encoder(artifact: Artifact) -> VGG16Features:
    """The network of a ``sym3d.features`` file. Raises InputError when its numbers make none."""
    mean, std = (tuple(artifact[name][:].tolist()) for name in ("mean", "std"))
    if not (np.isfinite([*mean, *std]).all() and min(std) > 0):
        raise InputError(artifact.path, "its normalisation makes no sense", "make it again")
    network = VGG16Features(artifact.attrs["width"], mean, std)
    network.load_state_dict(load_weights(artifact, network, "encoder"))
    return network.eval()


def find_checkpoint(path: str | Path) -> Path:
    """The file that ``path`` means: itself, a run folder's checkpoint.h5, or a shipped model's name.

    A folder of that name which is no run, such as one of results, does not hide the model. Raises InputError when there
    is none.
    """
    path, shipped = Path(path), shipped_models()
    if (path / "checkpoint.h5").is_file():
        return path / "checkpoint.h5"
    if path.is_file():
        return path
    if str(path) in shipped:
        return shipped[str(path)]
    if path.is_dir():
        raise InputError(path, "there is no checkpoint.h5 in this folder", "name a run folder or a checkpoint")
    near = difflib.get_close_matches(str(path), shipped, n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    known = f" or one of {', '.join(shipped)}" if shipped else ""
    raise InputError(path, "no such checkpoint", f"{guess}name a checkpoint, a run folder{known}")


def find_target(path: str | Path | None, runs: Path) -> Path:
    """As :func:`find_checkpoint`; None is the checkpoint of the newest complete run under ``runs``."""
    return newest_run(runs) if path is None else find_checkpoint(path)


def newest_run(runs: Path) -> Path:
    """The checkpoint written last among the runs that reached their last step.

    Raises InputError when there is none, naming an unfinished run if there is one.
    """
    found = sorted(runs.glob("*/checkpoint.h5"), key=lambda path: path.stat().st_mtime, reverse=True)
    unfinished = []
    for path in found:
        try:
            with open_artifact(path, "sym3d.checkpoint") as artifact:
                if artifact.attrs["step"] >= artifact.attrs["steps"]:
                    return path
                unfinished.append(f"{path.parent} is at step {artifact.attrs['step']} of {artifact.attrs['steps']}")
        except (InputError, KeyError):
            unfinished.append(f"{path} is damaged")
    what = f"no complete run ({unfinished[0]})" if unfinished else "no complete run"
    raise InputError(runs, what, "train one (sym3d train RECIPE), or name a run, a checkpoint or a prediction")


def load_model(path: str | Path, *, ema: bool = True) -> Loaded:
    """Open a checkpoint file, a run folder or a shipped model by name.

    ``ema`` takes the averaged weights where the checkpoint has them. Raises InputError when there is none, when it is
    damaged, or when its weights are missing, superfluous, of other shapes or not finite.
    """
    path = find_checkpoint(path)
    with open_artifact(path, "sym3d.checkpoint") as artifact:
        recipe = recipe_of(artifact)
        averaged = ema and any(name.startswith("ema/") for name in artifact.names)
        group = "ema" if averaged else "model"
        with torch.device("meta"):  # without memory: a recipe may claim gigabytes whose weights are not there
            _check_weights(artifact, build_model(recipe.model.model_copy(update={"he_init": False})), group)
        model = build_model(recipe.model)
        model.load_state_dict(load_weights(artifact, model, group))
        model.eval().requires_grad_(False)
        return Loaded(model, recipe, path, artifact.digest, artifact.attrs["step"], averaged, artifact.provenance)


def start_from(model: Sym3D, section: ModelSection, other: Loaded) -> list[str]:
    """Give a fresh model the weights of another, widened where it is narrower; networks that only one of them has stay
    as they are.

    Returns what is worth knowing of how the two differ. Raises InputError when the other's networks have another size
    or a width that this one's is no multiple of.
    """
    then, now = other.recipe.model, section
    notes = []
    if then.tint and not now.tint:
        raise InputError(other.path, "its albedo is tinted, this recipe's is not", "set model.tint=true")
    for name, network in model.named_children():
        theirs = getattr(other.model, name, None)
        if theirs is None:
            notes.append(f"{name} starts fresh: {other.path} has none")
            continue
        try:
            network.load_state_dict(widened(theirs.state_dict(), network))
        except ValueError as error:
            what = f"its networks are for {then.size} pixels at width {then.width:g}, not {now.size} at {now.width:g}"
            fix = "set model.size to its, and model.width to its or a multiple; or imitate it: optim.imitate_steps=1000"
            raise InputError(other.path, what, fix) from error
    return notes + differences(section, other, besides=("he_init",))  # which matters to fresh weights alone


def differences(section: ModelSection, other: Loaded, besides: Sequence[str]) -> list[str]:
    """A line for each setting that another model had otherwise, but for those ``besides``."""
    now = section.model_dump()
    return [
        f"{other.path} had model.{key} = {before}, now {now[key]}"
        for key, before in others_settings(section, other, besides).items()
    ]


def others_settings(section: ModelSection, other: Loaded, besides: Sequence[str]) -> dict[str, object]:
    """What another model had otherwise, but for the settings ``besides``."""
    now = section.model_dump()
    return {
        key: value for key, value in other.recipe.model.model_dump().items() if now[key] != value and key not in besides
    }


def recipe_of(artifact: Artifact) -> Recipe:
    """The recipe that a checkpoint was trained by. Raises InputError when this version does not understand it."""
    try:
        return parse_recipe(artifact.provenance.get("recipe") or "", where=f"{artifact.path}: its recipe")
    except UsageError as error:
        raise InputError(error.where, error.what, "use the version of sym3d that wrote it, or train again") from error


def load_weights(artifact: Artifact, model: nn.Module, group: str = "model") -> dict[str, Tensor]:
    """The state dict for ``model`` kept under ``group/`` in a checkpoint, complete, of the right shapes, and finite.

    Raises InputError that names what does not fit.
    """
    _check_weights(artifact, model, group)
    weights = {}
    for name, like in model.state_dict().items():
        values = np.asarray(artifact[f"{group}/{name}"][...])
        if values.dtype.kind != "f":
            what = f"{group}/{name} holds {values.dtype}, not floats"
            raise InputError(artifact.path, what, "train or import it again")
        weights[name] = torch.from_numpy(values).to(like.dtype)
    broken = [name for name, tensor in weights.items() if not tensor.isfinite().all()]
    if broken:
        raise InputError(artifact.path, f"weights are not finite: {_some(broken)}", "use an earlier checkpoint")
    return weights


def _check_weights(artifact: Artifact, model: nn.Module, group: str) -> None:
    """Raises InputError unless ``group/`` in the checkpoint has the names and shapes of the model's state."""
    names = [name for name in artifact.names if name.startswith(f"{group}/")]
    found = {name.removeprefix(f"{group}/"): tuple(artifact[name].shape) for name in names}
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    check_shapes(artifact.path, found, wanted, "train or import it again")


def check_shapes(where: object, found: dict[str, tuple], wanted: dict[str, tuple], fix: str) -> None:
    """Raises InputError, with this advice, unless both hold the same names with the same shapes."""
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    other = [
        f"{name} is {'×'.join(map(str, found[name]))} and not {'×'.join(map(str, wanted[name]))}"
        for name in wanted
        if name in found and found[name] != wanted[name]
    ]
    faults = [f"{what} {_some(names)}" for what, names in (("missing", missing), ("unknown", extra)) if names]
    faults += [_some(other)] if other else []
    if faults:
        raise InputError(where, f"its weights do not fit its networks: {' · '.join(faults)}", fix)


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(printable, names[:_SHOWN])) + rest
