"""What all tables share: the request, the data they take, the names of their runs, and how figures came about."""

import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from stages.artifact import open_artifact
from stages.device import pick_device
from stages.errors import InputError
from stages.evaluate import EvaluateRequest, options
from stages.evaluate import run as evaluate
from stages.loading import load_model
from stages.progress import Report
from stages.recipe import find_recipe, load_recipe
from stages.reproduce.report import Line
from stages.reproduce.runs import RUNS, Job
from stages.reproduce.tables import Scale

__all__ = [
    "RUNS",
    "ReproduceRequest",
    "ReproduceResult",
    "describe",
    "digest_of",
    "evaluated",
    "made_from",
    "make_job",
    "naming",
    "trained",
]


@dataclass(frozen=True)
class ReproduceRequest:
    """table: one of TABLES. data: a sym3d.images file with true depth, whose train split is learned and whose test
    split is judged. perturbed: the same with perturbed images, for the table that compares them. pretrain: other faces
    to learn from first, for the table that has that row. quick: small runs. seeds: how many, from 0, and steps: of
    every training; None is the table's own. checkpoint: for the table of failures, a model to judge instead of training
    some; it draws what it judges, and then needs no data. morphable: a face model to draw that from, as in
    SynthRequest; None draws procedural heads. The table goes to ``out``, the runs to runs/.
    """

    table: str
    data: Path | None = None
    perturbed: Path | None = None
    quick: bool = False
    seeds: int | None = None
    steps: int | None = None
    out: Path = Path("results")
    checkpoint: str | Path | None = None
    pretrain: Path | None = None
    morphable: Path | None = None


@dataclass(frozen=True)
class ReproduceResult:
    """head: the columns of the lines' cells. remarks: sentences on what they show, such as the order of rows."""

    head: tuple[str, ...]
    lines: tuple[Line, ...]
    files: tuple[Path, ...]
    remarks: tuple[str, ...] = ()


def digest_of(path: Path, wanted: tuple[str, ...] = ("depth", "mask")) -> str:
    """Of a data set. Raises InputError when it is none or lacks ``wanted``."""
    with open_artifact(path, "sym3d.images") as data:
        if any(name not in data for name in wanted):
            what = "key points" if "keypoints" in wanted else "true depth"
            raise InputError(path, f"has no {what}", "make some with sym3d synth")
        return data.digest


def naming(size: Scale, digest: str, training: str, seed: int) -> str:
    """The name of a run; runs on other data or of another length are other runs."""
    length = f"-{size.steps}" if size.steps else ""
    return f"{size.name}{length}-{digest[:6]}-{training}-{seed}"


def make_job(name: str, size: Scale, settings: tuple[str, ...], data: Path) -> Job:
    """Raises UsageError when the settings make no recipe: a fault in a row shows before hours of training."""
    load_recipe(size.recipe, settings)
    return Job(name, size.recipe, data, settings)


def trained(run: Path) -> tuple[str, float]:
    """The digest of a run's checkpoint, and the seconds that its training took."""
    with open_artifact(run / "checkpoint.h5", "sym3d.checkpoint") as checkpoint:
        return checkpoint.digest, float(checkpoint.attrs.get("seconds", 0.0))


def made_from(scores: Path, *digests: str, recipe: str | None = None) -> bool:
    """Whether there are scores of the checkpoint and data of these digests, made as ``recipe`` says."""
    if not scores.exists():
        return False
    with open_artifact(scores, "sym3d.scores") as artifact:
        made = artifact.provenance
        parents = [parent.get("digest") for parent in made["parents"]]
        return set(digests) <= set(parents) and recipe in (None, made["recipe"])


def evaluated(request: EvaluateRequest, out: Path, digest: str, report: Report) -> Path:
    """``out`` with the scores that the request gives for a checkpoint of this digest: what is there may be of `eval`,
    on other data or another split."""
    if not made_from(out, digest, digest_of(request.data, ()), recipe=options(request)):
        evaluate(request, report=report)
    return out


def describe(request: ReproduceRequest, size: Scale, seeds: int, run: str, seconds: float) -> dict[str, str]:
    """How a table of these runs came about; ``run`` is one of them, ``seconds`` is what all of them took."""
    loaded = load_model(RUNS / run)
    device = pick_device()
    named = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {platform.machine()}"
    options = f" --perturbed {request.perturbed.name}" if request.perturbed else ""
    options += f" --pretrain-data {request.pretrain.name}" if request.pretrain else ""
    options += f" --morphable {request.morphable.name}" if request.morphable else ""
    options += " --quick" if request.quick else ""
    options += f" --steps {request.steps}" if request.steps else ""
    with open_artifact(request.data) as data:
        about = f"{request.data.name}, {data.count:,} images, {data.provenance.get('recipe')}"
    return {
        "command": f"sym3d reproduce {request.table} {request.data.name}{options} --seeds {seeds}",
        "data": about,
        "recipe": f"{find_recipe(size.recipe).stem}, {loaded.step:,} steps of {loaded.recipe.optim.batch}",
        "device": named,
        "training": f"{seconds / 60:.0f} minutes in all",
        "versions": ", ".join(f"{name} {version}" for name, version in loaded.provenance["versions"].items()),
        "commit": loaded.provenance["git"].get("revision", "of an installed copy"),
    }
