"""Which files the inputs of a page mean: run folders, predictions, scores, and folders of them."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.artifact import Artifact, open_artifact
from stages.errors import InputError, UsageError

__all__ = ["Sources", "find_sources", "stamp"]

KINDS = ("sym3d.checkpoint", "sym3d.prediction", "sym3d.scores")


@dataclass(frozen=True)
class Sources:
    """checkpoints: of the runs; prediction: the items shown; scores: the first that fits belongs to the items."""

    checkpoints: tuple[Path, ...] = ()
    prediction: Path | None = None
    scores: tuple[Path, ...] = ()

    def files(self) -> list[Path]:
        """Everything that a page is made from."""
        sheets = [sheet for checkpoint in self.checkpoints for sheet in sample_sheets(checkpoint)]
        return [*self.checkpoints, *([self.prediction] if self.prediction else []), *self.scores, *sheets]


def find_sources(inputs: Sequence[Path], *, empty: bool = False) -> Sources:
    """Sort files by their schema and folders by what they hold.

    A folder is a run (checkpoint.h5, with its scores.h5), a result of infer (prediction.h5, scores.h5), or holds runs.
    Beside a named scores file, its parents are taken too when they lie there unchanged. ``empty`` allows folders in
    which there is nothing yet. Raises InputError when an input is none of these, UsageError for two predictions.
    """
    found: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    for path in inputs:
        pairs = list(_folder(path) if path.is_dir() else _file(path, stamp(path)))
        if not pairs and not empty:
            what = "holds no checkpoint.h5, prediction.h5 or scores.h5, nor do folders in it"
            raise InputError(path, what, "name a run folder, a prediction or a scores file")
        for kind, file in pairs:
            if file not in found[kind]:
                found[kind].append(file)
    checkpoints, predictions, scores = (found[kind] for kind in KINDS)
    if len(predictions) > 1:
        raise UsageError(str(predictions[1]), f"{predictions[0]} is a prediction already", "name one prediction")
    return Sources(tuple(checkpoints), predictions[0] if predictions else None, tuple(scores))


def sample_sheets(checkpoint: Path) -> list[Path]:
    """The sheets that training drew beside a checkpoint, oldest first. A link is none: it may lead to any picture."""
    found = sorted((checkpoint.parent / "samples").glob("step-*.png"))
    return [sheet for sheet in found if sheet.is_file() and not sheet.is_symlink()]


def _folder(folder: Path) -> Iterator[tuple[str, Path]]:
    names = {"checkpoint.h5": KINDS[0], "prediction.h5": KINDS[1], "scores.h5": KINDS[2]}
    here = [(kind, folder / name) for name, kind in names.items() if (folder / name).is_file()]
    yield from here or [(KINDS[0], path) for path in sorted(folder.glob("*/checkpoint.h5"))]


def stamp(path: Path) -> tuple[int, int, int]:
    """What changes whenever a file is replaced; zeros when it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0, 0
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


@functools.lru_cache(maxsize=64)  # opening reads all of a file, and a page that follows it asks every two seconds
def _file(path: Path, unchanged: tuple[int, int, int]) -> list[tuple[str, Path]]:
    with open_artifact(path) as artifact:
        if artifact.schema not in KINDS:
            what = f"is a {artifact.schema} file"
            raise InputError(path, what, "name a run folder, a prediction or a scores file")
        parents = _parents_beside(artifact) if artifact.schema == "sym3d.scores" else ()
        return [(artifact.schema, path), *parents]


def _parents_beside(scores: Artifact) -> Iterator[tuple[str, Path]]:
    for parent in scores.provenance.get("parents", []):
        path = scores.path.parent / Path(str(parent.get("name", ""))).name
        if parent.get("schema") in KINDS and path.is_file():
            with open_artifact(path) as artifact:
                if artifact.digest == parent.get("digest"):
                    yield artifact.schema, path
