"""What is not about single items: training curves, sample sheets, histograms of the scores, and the provenance."""

import datetime
import itertools
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from stages.artifact import Artifact, Origin, open_artifact, origin_of
from stages.errors import InputError
from stages.io.images import UnusableError, decode
from stages.io.sources import LARGEST_FILE
from stages.pages.items import data_uri, numbers
from stages.pages.sources import Sources, sample_sheets

__all__ = ["read_overview"]

POINTS = 400  # of a curve: a longer log is averaged over as many equal parts
SHEETS = 6  # of one run, evenly over its time
BINS = 40
METRICS = {"side": ("SIDE ×10⁻²", 100.0), "mad": ("MAD °", 1.0), "relief": ("relief", 1.0)}


def read_overview(sources: Sources) -> dict:
    """The document, JSON-ready. Raises InputError when a file is missing or damaged."""
    named = [*sources.checkpoints, *([sources.prediction] if sources.prediction else []), *sources.scores]
    chain: list[dict] = []
    runs = [_run(path, chain) for path in sources.checkpoints]
    if sources.prediction:
        with open_artifact(sources.prediction, "sym3d.prediction") as artifact:
            chain += _chain(origin_of(artifact))
    return {
        "title": ", ".join(dict.fromkeys(_title(path) for path in named)) or "nothing yet",
        "made": f"sym3d {version('sym3d')}, {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        "runs": runs,
        "scores": [_histograms(path, chain) for path in sources.scores],
        "origin": chain,
    }


def _title(path: Path) -> str:
    """Of files with the standard names, the folder's name says more."""
    standard = path.name in ("checkpoint.h5", "prediction.h5", "scores.h5")
    return path.absolute().parent.name if standard else path.name


def _run(path: Path, chain: list[dict]) -> dict:
    with open_artifact(path, "sym3d.checkpoint") as artifact:
        chain += _chain(origin_of(artifact))
        log = {name.removeprefix("log/"): artifact[name][:] for name in artifact.names if name.startswith("log/")}
        return {
            "name": _title(path),
            **{key: _number(artifact, key) for key in ("step", "steps", "seconds")},
            "log": _curves(log),
            "recipe": str(artifact.provenance.get("recipe", "")),
            "sheets": [_sheet(sheet) for sheet in _evenly(sample_sheets(path))],
        }


def _number(artifact: Artifact, key: str) -> float | None:
    value = artifact.attrs.get(key)
    return numbers([value], 6)[0] if isinstance(value, int | float) else None


def _curves(log: dict[str, np.ndarray]) -> dict[str, list]:
    """Columns of numbers, at most POINTS long; a part without a number is null, a column without any left out."""
    log = {name: values for name, values in log.items() if np.isfinite(values).any()}
    rows = len(next(iter(log.values()), ()))
    edges = np.linspace(0, rows, min(rows, POINTS) + 1).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN, as it should be
        return {
            name: numbers([np.nanmean(values[a:b]) for a, b in itertools.pairwise(edges)], 5)
            for name, values in log.items()
        }


def _evenly(sheets: Sequence[Path]) -> list[Path]:
    if len(sheets) <= SHEETS:
        return list(sheets)
    return [sheets[i] for i in np.linspace(0, len(sheets) - 1, SHEETS).round().astype(int)]


def _sheet(path: Path) -> dict:
    try:
        with path.open("rb") as file:
            pixels, _ = decode(file.read(LARGEST_FILE))
    except (OSError, UnusableError) as error:
        raise InputError(path, "is no picture that can be read", "remove it") from error
    picture = data_uri(Image.fromarray(pixels), quality=75)
    return {"step": path.stem.removeprefix("step-").lstrip("0"), "picture": picture}


def _histograms(path: Path, chain: list[dict]) -> dict:
    """Counts of every metric that has finite values, with the mean of model and baselines."""
    with open_artifact(path, "sym3d.scores") as scores:
        chain += _chain(origin_of(scores))
        found = []
        for metric, (label, factor) in METRICS.items():
            values = {
                name.removesuffix(f"/{metric}").removeprefix("baseline/") if "/" in name else "model": scores[name][:]
                for name in sorted(scores.names, key=lambda name: "/" in name)  # the model first
                if name == metric or (name.startswith("baseline/") and name.endswith(f"/{metric}"))
            }
            values = {who: v[np.isfinite(v)].astype(float) * factor for who, v in values.items()}
            values = {who: v for who, v in values.items() if len(v)}
            if "model" not in values:
                continue
            counts, edges = _counts(values["model"])
            found.append(
                {
                    "label": label,
                    "edges": numbers(edges, 5),
                    "counts": counts.tolist(),
                    "means": {who: [*numbers([v.mean(), v.std()], 4), len(v)] for who, v in values.items()},
                }
            )
        return {"name": _title(path), "histograms": found}


def _counts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many values lie between which edges."""
    try:
        return np.histogram(values, bins=min(BINS, max(8, len(values) // 5)))
    except ValueError:  # so huge, and so alike, that no number lies between them
        return np.array([len(values)]), np.array([values.min(), values.max()])


def _chain(origin: Origin) -> list[dict]:
    """The chain as flat lines, each with its depth."""
    shown = ("name", "schema", "digest", "created", "revision", "command")
    return [{"depth": depth, **{key: getattr(link, key) for key in shown}} for depth, link in origin.walk()]
