"""Does bfloat16 cost quality? Trainings in both precisions, three seeds of each; prints rows for docs/performance.md.

python scripts/compare_precisions.py tiny data/synfaces.h5    # recipes/tiny.toml: a quarter of an hour of one core
python scripts/compare_precisions.py wide data/synfaces.h5    # synfaces made four times as wide: about as long

Runs and their logs go to runs/, as many at once as there are cores; the same command again resumes them.
"""

import sys
from pathlib import Path

import torch

from stages.artifact import open_artifact
from stages.device import fast_precision
from stages.reproduce.runs import Job, train_all
from sym3d_cli.console import Reporter

PRECISIONS, SEEDS = ("float32", "bfloat16"), (0, 1, 2)
SETTINGS = {  # of recipes/tiny.toml; validated once, at the end
    "tiny": ("run.validate_every=1500",),
    # Only narrow networks find viewpoints by themselves in a short run; wider ones are given them, as in sharp.toml.
    "wide": (
        *('optim.init="synfaces"', "model.width=0.5", "optim.steps=300", "optim.lr=3e-4"),
        *("optim.search_steps=0", "loss.yaw_spread_steps=1", "run.validate_every=300"),
    ),
}


def main(kind: str, data: Path) -> None:
    if fast_precision(torch.device("cpu")) == torch.float32 and not torch.cuda.is_available():
        sys.exit("this processor does not multiply in bfloat16")
    shared = (*SETTINGS[kind], "run.validate_images=512")
    jobs = {
        (precision, seed): Job(
            f"{kind}-{precision}-{seed}",
            "tiny",
            data,
            (*shared, f"run.seed={seed}", f"optim.precision={precision}"),
        )
        for seed in SEEDS
        for precision in PRECISIONS
    }
    train_all(list(jobs.values()), Path("runs"), Reporter())
    print("| | SIDE ×10⁻² of seeds 0, 1, 2 | MAD ° |\n|---|---|---|")
    for precision in PRECISIONS:
        runs = [Path("runs") / jobs[precision, seed].name for seed in SEEDS]
        side, mad = (", ".join(f"{_last(run, key):.2f}" for run in runs) for key in ("side", "mad"))
        print(f"| {kind}, {precision} | {side} | {mad} |")


def _last(run: Path, key: str) -> float:
    with open_artifact(run / "checkpoint.h5", "sym3d.checkpoint") as checkpoint:
        return float(checkpoint[f"log/{key}"][-1])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
