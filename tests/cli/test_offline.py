"""No command uses the network: the whole pipeline where there is none. (The other tests here refuse connections.)"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TINY = "-s optim.steps=2 -s optim.batch=4 -s model.width=0.07 -s run.validate_images=2"
PIPELINE = f"""
doctor
recipes
synth faces.h5 -n 20
features faces.h5 features.h5 --steps 1 --batch 4 --width 0.0625
train tiny --data faces.h5 {TINY}
infer runs/tiny faces.h5 -o found --export obj
export found/prediction.h5 -o out --format glb
eval runs/tiny faces.h5
infer synfaces photos -o photos.sym3d
prep photos photos.h5 --crop face
info runs/tiny --verify
"""


@pytest.mark.slow
def test_the_pipeline_without_a_network(tmp_path):
    from PIL import Image

    isolated = ["unshare", "--net", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*isolated, "true"], capture_output=True).returncode:
        pytest.skip("cannot take the network away here")
    (tmp_path / "photos").mkdir()
    Image.effect_noise((90, 90), 60).convert("RGB").save(tmp_path / "photos" / "noise.png")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    for line in PIPELINE.strip().splitlines():
        command = [*isolated, sys.executable, "-m", "sym3d_cli", *line.split()]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        expected = 3 if "--crop face" in line else 0  # there is no face in noise
        assert done.returncode == expected, (line, done.stderr)
