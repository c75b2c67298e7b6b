"""``python -m tests.fuzz TARGET CORPUS… [-max_total_time=S …]``: fuzz a target with atheris; options are libFuzzer's.

New finds go to the first corpus folder; what breaks is written as crash-…, timeout-… or oom-… and ends it.
"""

import sys

import atheris

# Compiled from their bytecode by numba, which must see it as it is.
import stages.core.paint
import stages.core.raster.cpu
import stages.data.appearance_cpu  # noqa: F401

if __name__ == "__main__":
    with atheris.instrument_imports(include=["stages", "PIL", "pickletools", "zipfile", "safetensors"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
