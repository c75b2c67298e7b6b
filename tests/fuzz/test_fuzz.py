"""The kept corpus goes through every target in the default run; in the slow one each is fuzzed, for 20 minutes or
``SYM3D_FUZZ_SECONDS``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

HERE = Path(__file__).parent
SECONDS = int(os.environ.get("SYM3D_FUZZ_SECONDS", 20 * 60))
HANG = 60  # seconds for one input, on a machine that has other work
MEMORY = 3072  # MiB


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_kept(target):
    for path in sorted((HERE / "corpus" / target).iterdir()):
        try:
            TARGETS[target](path.read_bytes())
        except Exception as error:
            pytest.fail(f"{path}: {error!r}")


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_new(target, tmp_path):
    """No exception but the project's own, no hang, no more memory than MEMORY."""
    pytest.importorskip("atheris", reason="pip install sym3d[fuzz]")
    (tmp_path / "new").mkdir()
    limits = [
        f"-max_total_time={SECONDS}",
        f"-timeout={HANG}",
        f"-rss_limit_mb={MEMORY}",
        "-max_len=65536",
        f"-artifact_prefix={tmp_path}/",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, tmp_path / "new", HERE / "corpus" / target, *limits],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=HERE.parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    log = Path(f"{tmp_path}/log")
    log.write_text(done.stderr)
    assert done.returncode == 0, done.stderr[-4000:]
    print(next(line for line in reversed(done.stderr.splitlines()) if "cov:" in line))
