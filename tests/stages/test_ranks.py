"""Several processes: together they take the steps of one process with the whole batch."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.artifact import open_artifact
from stages.core.losses import perceptual, photometric, viewpoints
from stages.errors import UsageError
from stages.ranks import Ranks, joined
from stages.torchrun import NEEDED, launched
from tests.stages.test_train import contents, wait_for, write_images

MASTER = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
RECIPE = """
name = "shared"
[data]
images = "faces.h5"
make = "sym3d synth faces.h5 -n 30"
[model]
width = 0.0625
convex_prior = 1.2
{model}
[loss]
features = "none"
smoothness = 0.1
yaw_spread = 20
[optim]
precision = "float32" # in bfloat16, rounding would decide which steps agree
lr = 3e-5 # Adam makes much of what rounding leaves in small gradients
batch = 4
steps = {steps}
clip = 1.0
ema = 0.9
search_steps = 6
[run]
log_every = 1
validate_every = 10
save_every = {save_every}
validate_images = 5
"""


def launch(folder: Path, processes: int, steps: int = 20, save_every: int = 20, model: str = "") -> subprocess.Popen:
    """Train in ``folder``, by torchrun when there are several."""
    folder.mkdir(exist_ok=True)
    (folder / "shared.toml").write_text(RECIPE.format(steps=steps, save_every=save_every, model=model))
    if not (folder / "faces.h5").exists():
        write_images(folder / "faces.h5", count=30)
    run = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    return subprocess.Popen(
        [sys.executable, *run, "-m", "sym3d_cli", "train", "shared.toml"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def train(folder: Path, processes: int, **settings) -> tuple[int, str, str]:
    process = launch(folder, processes, **settings)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def checkpoint(folder: Path) -> Path:
    return folder / "runs/shared/checkpoint.h5"


SYMMETRIC = "symmetric = true\nconfidence = false"


@pytest.mark.parametrize("model", ["", pytest.param(SYMMETRIC, marks=pytest.mark.slow)], ids=["paper", "symmetric"])
def test_two_processes_take_the_steps_of_one(model, tmp_path):
    runs = {count: train(tmp_path / str(count), count, model=model) for count in (1, 2)}
    assert [code for code, *_ in runs.values()] == [0, 0], runs
    assert runs[2][1] == runs[1][1], "only the first process says where the checkpoint is"
    assert runs[2][2].count("20 steps in") == 1
    one, two = (contents(checkpoint(tmp_path / str(count)).parent) for count in runs)
    assert one.keys() == two.keys()
    assert one["log/step"].tolist() == list(range(1, 21))
    np.testing.assert_allclose(one["log/total"], two["log/total"], rtol=1e-3)
    assert np.isfinite(two["log/side"][[9, 19]]).all()
    # Rounding decides which pixels a silhouette covers, and Adam makes much of small gradients: later they drift apart.
    for name in one.keys() - {"log/seconds", "log/images_per_second"}:
        if name.startswith("log/"):
            np.testing.assert_allclose(one[name][:10], two[name][:10], rtol=1e-3, atol=2e-6, err_msg=name)


def test_both_are_stopped_and_resumed_as_one(tmp_path):
    process = launch(tmp_path, 2, steps=400, save_every=1)
    wait_for(checkpoint(tmp_path), process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    with open_artifact(checkpoint(tmp_path)) as artifact:
        step = int(artifact.attrs["step"])
    assert 1 <= step < 400
    code, _, err = train(tmp_path, 2, steps=step + 2)
    assert code == 0, err
    assert f"resuming at step {step} of {step + 2}" in err
    steps = contents(checkpoint(tmp_path).parent)["log/step"]
    assert steps.tolist() == list(range(1, step + 3))


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_killed_process_ends_the_run_with_a_usable_checkpoint(rank, tmp_path):
    process = launch(tmp_path, 2, steps=4000, save_every=1)
    wait_for(checkpoint(tmp_path), process)
    os.kill(worker(process.pid, rank), signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "another process of this training went away after step" in err
    with open_artifact(checkpoint(tmp_path)) as artifact:
        step = int(artifact.attrs["step"])
    code, _, err = train(tmp_path, 1, steps=step + 1)
    assert code == 0, err


def worker(parent: int, rank: int) -> int:
    """Process number of torchrun's child of that rank."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for path in Path("/proc").glob("[0-9]*"):
            try:
                child = f"PPid:\t{parent}\n" in (path / "status").read_text()
                if child and f"\0RANK={rank}\0" in "\0" + (path / "environ").read_text():
                    return int(path.name)
            except OSError:
                continue
    raise AssertionError("no such process")


def test_a_batch_that_cannot_be_shared_evenly_is_refused(tmp_path):
    code, _, err = train(tmp_path, 3, steps=1)
    assert code != 0
    assert "3 processes: cannot share batches of 4 evenly; set optim.batch to a multiple" in err
    assert not checkpoint(tmp_path).exists()


def test_shares_are_equal_and_cover_the_batch():
    rows = torch.arange(12)
    assert torch.cat([rows[Ranks(rank, 3).share(12)] for rank in range(3)]).tolist() == rows.tolist()
    assert Ranks().share(5) == slice(0, 5)


def test_the_mean_of_the_shares_losses_is_the_loss_of_the_batch():
    """With masks of different sizes and a common quantile, for which everyone must know what the others hold."""
    torch.manual_seed(0)
    ours, target = torch.rand(2, 4, 3, 8, 8), torch.rand(4, 3, 8, 8)
    mask = torch.rand(4, 8, 8) < torch.tensor([0.9, 0.5, 0.2, 0.0])[:, None, None]
    view, reach = torch.randn(4, 6), torch.ones(6)
    shares = slice(0, 2), slice(2, 4)

    counts = torch.stack([mask[share].sum(dtype=torch.float32) for share in shares])
    parts = [photometric(ours[:, share], target[share], mask[share], gather=lambda _: counts) for share in shares]
    torch.testing.assert_close(sum(parts) / 2, photometric(ours, target, mask))

    half = torch.rand(2, 4, 3, 4, 4), torch.rand(4, 3, 4, 4)
    weights = torch.nn.functional.avg_pool2d(mask[:, None].float(), 2)
    counts = torch.stack([weights[share].sum() for share in shares])
    parts = [perceptual(half[0][:, share], half[1][share], mask[share], gather=lambda _: counts) for share in shares]
    torch.testing.assert_close(sum(parts) / 2, perceptual(*half, mask))

    parts = [viewpoints(view[share], reach, 0.4, 3.0, gather=lambda _: view[:, 1]) for share in shares]
    torch.testing.assert_close(sum(parts) / 2, viewpoints(view, reach, 0.4, 3.0))


def test_a_process_without_a_gpu_of_its_own_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in {"RANK": "2", "LOCAL_RANK": "2", "WORLD_SIZE": "3", **MASTER}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"^process 3 .* no GPU .* are 2\); start .*node 2$"), joined():
        pass


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 without RANK"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "without MASTER_ADDR"),
        ({"WORLD_SIZE": "0", "RANK": "0", **MASTER}, "WORLD_SIZE=0 with RANK=0"),
        ({"WORLD_SIZE": "2", "RANK": "2", **MASTER}, "with RANK=2"),
        ({"WORLD_SIZE": "2", "RANK": "abc", **MASTER}, "with RANK=abc"),
        ({"WORLD_SIZE": "many", "RANK": "0", **MASTER}, "WORLD_SIZE=many with RANK=0"),
    ],
)
def test_variables_that_torchrun_would_not_set(monkeypatch, variables, words):
    for name in NEEDED:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"{words}: is not what torchrun sets"):
        launched()


@pytest.mark.parametrize("variables", [{}, {"RANK": "1"}, {"RANK": "x", "WORLD_SIZE": "1"}])
def test_one_process_is_the_first(monkeypatch, variables):
    """With RANK=1 left over from somewhere it trained in silence, once, and saved nothing."""
    for name in NEEDED:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched() == (0, 1)
