"""``python -m stages.artifact.diagnose FILE``: say, as JSON, what is wrong with an HDF5 file that bears no valid seal.

Runs in a process of its own, with little memory, because a damaged file can make HDF5 crash or loop.
"""

import json
import resource
import sys
from pathlib import Path

from stages.artifact.reader import open_unsealed
from stages.errors import InputError

MEMORY_BYTES = 4 << 30

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open_unsealed(Path(sys.argv[1])) as artifact:
            artifact.verify()
        found = ("was changed after sym3d wrote it", "take another copy or make it again")
    except InputError as error:
        found = (error.what, error.fix)
    print(json.dumps(found))
