"""How many seeds go wrong: short runs of one recipe, without and with what is said to cure it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stages.artifact import make_provenance, open_artifact, write_artifact
from stages.core.health import collapsed
from stages.device import pick_device
from stages.loading import load_model
from stages.predict import predict, split_rows
from stages.progress import Report
from stages.reproduce.report import Spread, write_table
from stages.reproduce.runs import train_all
from stages.reproduce.shared import (
    RUNS,
    ReproduceRequest,
    ReproduceResult,
    describe,
    digest_of,
    made_from,
    make_job,
    naming,
    trained,
)
from stages.reproduce.tables import Scale
from stages.scoring import score

__all__ = ["reproduce_seeds"]

SEEDS, JUDGED = 8, 256  # seeds of a row, test images
HEAD = ("", "inverted", "collapsed", "diverged", "sound", "SIDE ×10⁻² of the sound", "MAD °")
KEY = (
    "How many seeds end inverted (depth correlates negatively with the truth), with all viewpoints the same large "
    "rotation, or with a loss that is not finite; a seed may be both inverted and collapsed."
)
# What small runs get beside narrow networks and a larger learning rate, taken away: the paper's method at that scale.
PLAIN = (
    *("model.convex_prior=0", "model.symmetric=false", "loss.smoothness=0"),
    *("loss.yaw_spread=", "loss.yaw_spread_steps=0", "optim.search_steps=0"),
)
ROWS = {  # label → name of its trainings, settings
    False: {
        "as in the paper": ("plain", ()),
        "convex prior": ("convex", ("model.convex_prior=1.2",)),
        "He's initialisation": ("he", ("model.he_init=true",)),
        "clipped gradients": ("clip", ("optim.clip=1.0",)),
    },
    True: {
        "as in the paper, narrow": ("plain", PLAIN),
        "convex prior": ("convex", (*PLAIN, "model.convex_prior=2.0")),
        "He's initialisation": ("he", (*PLAIN, "model.he_init=true")),
        "search for viewpoints": ("search", (*PLAIN, "optim.search_steps=200")),
    },
}


@dataclass(frozen=True)
class SeedsLine:
    """A row: how many of its seeds went which way; SIDE ×10⁻² and MAD in degrees of those that did not go wrong."""

    label: str
    seeds: int
    inverted: int
    collapsed: int
    diverged: int
    sound: int
    side: Spread | None
    mad: Spread | None
    seconds: float

    def cells(self) -> tuple[str, ...]:
        shares = (f"{count} of {self.seeds}" for count in (self.inverted, self.collapsed, self.diverged, self.sound))
        return self.label, *shares, self.side.shown(2) if self.side else "", self.mad.shown(1) if self.mad else ""


@dataclass(frozen=True)
class _Ending:
    """How a run ended; side and mad for each image."""

    inverted: bool
    collapsed: bool
    side: np.ndarray
    mad: np.ndarray
    seconds: float


def seeds_scale(quick: bool, steps: int | None) -> Scale:
    """Long enough for a run to have chosen its side."""
    name, recipe, length = ("seeds-quick", "small", 1000) if quick else ("seeds-full", "synfaces", 2000)
    return Scale(name, recipe, (f"optim.steps={steps or length}",), SEEDS, steps if steps != length else None)


def reproduce_seeds(request: ReproduceRequest, report: Report) -> ReproduceResult:
    """The table of seeds; see `stages.reproduce.run`."""
    size, digest = seeds_scale(request.quick, request.steps), digest_of(request.data)
    seeds, rows = range(request.seeds or size.seeds), ROWS[request.quick]
    runs = {label: [naming(size, digest, training, seed) for seed in seeds] for label, (training, _) in rows.items()}
    jobs = [
        make_job(name, size, (*size.settings, *settings, f"run.seed={seed}"), request.data)
        for label, (_, settings) in rows.items()
        for seed, name in zip(seeds, runs[label], strict=True)
    ]
    diverged = train_all(jobs, request.out / "logs", report)
    with report.task("judging", len(jobs)) as task:
        endings = {}
        for job in jobs:
            endings[job.name] = None if job.name in diverged else _ending(RUNS / job.name, request.data)
            task.advance()
    lines = tuple(_line(label, [endings[name] for name in names]) for label, names in runs.items())
    some = next((name for name, ending in endings.items() if ending), None)
    seconds = sum(line.seconds for line in lines)
    facts = describe(request, size, len(seeds), some, seconds) if some else {}
    files = write_table(request.out, size.name, f"Seeds ({size.name.removeprefix('seeds-')})", lines, facts, HEAD, KEY)
    return ReproduceResult(HEAD, lines, tuple(files))


def _ending(folder: Path, data: Path) -> _Ending:
    out = folder / "ending.h5"
    digest, seconds = trained(folder)
    if not made_from(out, digest):
        _judge(folder, data, out)
    with open_artifact(out, "sym3d.scores") as scores:
        angles = torch.from_numpy(np.stack([scores[axis][:] for axis in ("pitch", "yaw", "roll")], 1))
        inverted = bool(np.nanmean(scores["relief"][:]) < 0)
        return _Ending(inverted, collapsed(angles), scores["side"][:], scores["mad"][:], seconds)


def _judge(folder: Path, data: Path, out: Path) -> None:
    """Keep how the run does on the first test images, and where it sees them from."""
    loaded = load_model(folder)
    with open_artifact(data, "sym3d.images") as images:
        rows = split_rows(images, "test", loaded.model.size)[:JUDGED]
        found = predict(loaded.model.to(pick_device()), images["image"][rows])
        depth, valid = torch.from_numpy(found["depth"]), torch.from_numpy(found["valid"])
        figures = score(depth, valid, images, rows, loaded.model.fov)
        angles = dict(zip(("pitch", "yaw", "roll"), found["view"][:, :3].T, strict=True))
        names = images.strings("name")
        write_artifact(
            out,
            "sym3d.scores",
            {"name": [names[row] for row in rows], **figures, **angles},
            provenance=make_provenance(parents=[loaded.parent, images]),
        )


def _line(label: str, endings: Sequence[_Ending | None]) -> SeedsLine:
    """None stands for a run that diverged."""
    ended = [ending for ending in endings if ending]
    sound = [ending for ending in ended if not (ending.inverted or ending.collapsed)]
    return SeedsLine(
        label,
        seeds=len(endings),
        inverted=sum(ending.inverted for ending in ended),
        collapsed=sum(ending.collapsed for ending in ended),
        diverged=len(endings) - len(ended),
        sound=len(sound),
        side=Spread.of([ending.side * 100 for ending in sound]) if sound else None,
        mad=Spread.of([ending.mad for ending in sound]) if sound else None,
        seconds=sum(ending.seconds for ending in ended),
    )
