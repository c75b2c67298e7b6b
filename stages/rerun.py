"""What it takes to make an artifact again, as it says itself; and whether what came of that is the same.

An artifact may be a stranger's: its words decide nothing but which options a command gets. What is read are files that
the user names, or that lie beside it, of the digests that it was made from.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages import convert, train
from stages.artifact import SCHEMAS, Artifact, file_sha256, open_artifact
from stages.errors import InputError, MissingPartError, StaleError, UsageError
from stages.io.sources import printable
from stages.io.weights import find_vgg16
from stages.progress import Report
from stages.recipe import Recipe, parse_recipe
from stages.shipped import shipped_models

__all__ = ["Past", "check_new", "checkpoint_again", "differences", "find_parents", "read_past"]

TIMES = ("seconds",)  # attributes that no two runs share
SHOWN = 5  # differences


@dataclass(frozen=True)
class Past:
    """How an artifact came about. argv: of the command, without the program's name. parents: as in its provenance."""

    path: Path
    schema: str
    argv: tuple[str, ...]
    recipe: str
    parents: tuple[dict[str, Any], ...]
    step: int  # of a checkpoint


def read_past(path: Path) -> Past:
    """What an artifact says of its past. Raises InputError when it is damaged."""
    with open_artifact(path) as artifact:
        provenance = artifact.provenance
        argv = tuple(map(str, provenance.get("argv") or ()))[1:]
        recipe, parents = str(provenance.get("recipe") or ""), tuple(provenance.get("parents") or ())
        step = artifact.attrs["step"] if artifact.schema == "sym3d.checkpoint" else 0  # elsewhere it may be anything
        return Past(path, artifact.schema, argv, recipe, parents, step)


def find_parents(past: Past, named: Sequence[Path]) -> list[Path]:
    """A file or folder for each parent, in order: one of ``named``, else what has its name beside the artifact,
    else a model that ships, else the VGG16 weights that a training would take.

    Artifacts and single files are known by their digest, photographs by their name: what they hold is compared once
    the result is there. Raises InputError for a parent that is nowhere, StaleError for one of another content,
    UsageError for a named file that is none of them.
    """
    unused, found = list(named), []
    for parent in past.parents:
        name, digest = str(parent.get("name", "")), str(parent.get("digest", ""))
        beside = [past.path.parent / name] if name not in ("", ".", "..") and Path(name).name == name else []
        offered = [*unused, *beside, *shipped_models().values()]
        if parent.get("schema") == "vgg16":
            with suppress(MissingPartError):
                offered.append(find_vgg16())
        offered = [path for path in offered if path.exists()]
        match = next((path for path in offered if _is(path, parent)), None)
        if match is None:
            other = next((path for path in offered if path.name == name), None)
            if other is not None:
                what = f"is not the {printable(name)} that {past.path} was made from (digest {digest[:12]})"
                raise StaleError(other, what, "name the right one with --parent")
            what = f"was made from {printable(name)} (digest {digest[:12]}), which is not beside it"
            raise InputError(past.path, what, "name it with --parent")
        if match in unused:
            unused.remove(match)
        found.append(match)
    if unused:
        raise UsageError(f"--parent {unused[0]}", f"{past.path} was not made from it", "leave it out")
    return found


def _is(path: Path, parent: dict[str, Any]) -> bool:
    if parent.get("schema") in SCHEMAS:
        try:
            with open_artifact(path) as artifact:
                return artifact.digest == parent.get("digest")
        except InputError:
            return False
    several = "schema" not in parent and (path.is_dir() or path.suffix.lower() in (".txt", ".zip"))
    if several or parent.get("schema") == "photographs":
        # The digest is over what is in the folder, the archive or the list.
        return path.name == parent.get("name")
    return path.is_file() and file_sha256(path) == parent.get("digest")


def check_new(made: Path, argv: Sequence[str] = ()) -> None:
    """Raises UsageError when something is at ``made`` already, which would prove nothing; but for what this very
    command, ``argv``, left there when it was cut short before it could compare."""
    if made.exists() and not (argv and read_past(made).argv == tuple(argv)):
        raise UsageError(f"-o {made.parent}", f"holds {made.name} already", "name another folder")


def checkpoint_again(past: Past, parents: Sequence[Path], out: Path, report: Report) -> Path:
    """Import it again, or train again up to its step, into the folder ``out``; returns the new checkpoint.

    Raises InputError when it does not say how, and what the stage raises.
    """
    if [parent.get("schema") for parent in past.parents] != ["torch"]:
        return train.run(_training(past, parents, out), report=report).checkpoint
    check_new(out / past.path.name)
    request = convert.ImportRequest(parents[0], out / past.path.name, _recipe(past).model)
    return convert.run(request, report=report).checkpoint


def _recipe(past: Past) -> Recipe:
    try:
        return parse_recipe(past.recipe, where=f"{past.path}: its recipe")
    except UsageError as error:
        what = "its recipe is not understood"
        raise InputError(past.path, what, "use the version of sym3d that wrote it") from error


def _training(past: Past, parents: Sequence[Path], run_dir: Path) -> train.TrainRequest:
    place = {parent.get("schema"): str(path) for parent, path in zip(past.parents, parents, strict=True)}
    if not past.step or "sym3d.images" not in place:
        raise InputError(past.path, "does not say how it was trained", "train a model of your own")
    values = _recipe(past).model_dump()
    # The recipe is the file's, and so are the paths in it: only those that the user named are read.
    values["data"] |= {"images": place["sym3d.images"]}
    values["loss"] |= {"features_path": place.get("sym3d.features", place.get("vgg16"))}
    values["optim"] |= {"init": place.get("sym3d.checkpoint"), "steps": past.step, "epochs": None}
    try:
        recipe = Recipe.model_validate(values)
    except ValueError as error:
        what = "its recipe names what it was not made from"
        raise InputError(past.path, what, "train a model of your own") from error
    return train.TrainRequest(recipe, run_dir, Path(place["sym3d.images"]))


def differences(past: Path, now: Path) -> list[str]:
    """In what two artifacts differ, empty when they are the same: of checkpoints the log and times do not count."""
    with open_artifact(past) as one, open_artifact(now) as other:
        if one.digest == other.digest:
            return []
        if one.schema == "sym3d.checkpoint":
            return _contents(one, other)
        found = []
        for here, there in zip(one.provenance.get("parents", []), other.provenance.get("parents", []), strict=False):
            if here.get("digest") != there.get("digest"):
                found.append(f"{printable(str(there.get('name')))} has another content")
        if one.provenance.get("recipe") != other.provenance.get("recipe"):
            found.append("its settings")
        return found + _contents(one, other)


def _contents(one: Artifact, other: Artifact) -> list[str]:
    names = [{name for name in artifact.names if not name.startswith("log/")} for artifact in (one, other)]
    found = [f"'{name}' is in one of them only" for name in sorted(names[0] ^ names[1])]
    for name in sorted(names[0] & names[1]):
        if one[name].shape != other[name].shape or one[name][...].tobytes() != other[name][...].tobytes():
            found.append(f"'{name}'")
    attrs = {key for key in {*one.attrs, *other.attrs} if one.attrs.get(key) != other.attrs.get(key)}
    found += [f"attribute {key}" for key in sorted(attrs - {*TIMES, "steps"})]
    return found if len(found) <= SHOWN else [*found[:SHOWN], f"and {len(found) - SHOWN} more"]
