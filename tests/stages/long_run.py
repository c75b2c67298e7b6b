"""``python long_run.py FOLDER STEPS``: train the tiniest recipe, and print step, bytes in memory, open files and size
of the checkpoint a hundred times, as lines of JSON."""

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

from stages.progress import Silent
from stages.recipe import parse_recipe
from stages.train import TrainRequest, run
from tests.stages.small import RECIPE, write_data

SAMPLES = 100


class Watch(Silent):
    """A report that looks at its own process."""

    def __init__(self, checkpoint: Path):
        self.checkpoint = checkpoint

    @contextmanager
    def task(self, title: str, total: int, done: int = 0):
        if not title.startswith("train "):  # others, within it, are short
            yield Silent()
            return
        self.every, self.step = total // SAMPLES, done
        yield self

    def advance(self, amount: int = 1, status: str = "") -> None:
        self.step += amount
        if self.step % self.every == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            files, size = len(os.listdir("/proc/self/fd")), os.stat(self.checkpoint).st_size
            print(json.dumps([self.step, pages * os.sysconf("SC_PAGE_SIZE"), files, size]), flush=True)


def main(folder: Path, steps: int) -> None:
    images = write_data(folder / "faces.h5", count=10)
    text = RECIPE.format(images=images, size=64).replace("steps = 10", f"steps = {steps}\nbatch = 1")
    text = text.replace("width = 0.0625", "width = 0.001\nsymmetric = true\nconfidence = false\nlight = false")
    every = max(1, steps // SAMPLES)
    policy = f"save_every = {every}\nvalidate_every = {5 * every}\nlog_every = 1\nkeep_last = 2\nkeep_best = true\n"
    recipe = parse_recipe(f'{text}\n[loss]\nfeatures = "none"\n[run]\n{policy}', where="test")
    run(TrainRequest(recipe, folder / "run", images), report=Watch(folder / "run" / "checkpoint.h5"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
