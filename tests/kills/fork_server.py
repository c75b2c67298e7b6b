"""Runs sym3d commands in forks of a process that has imported everything already: a kill then lands in the work, not in
two seconds of imports.

Reads one JSON request a line, ``{"argv", "cwd", "signals": [[seconds, number], …]}``, sends those signals at those
moments after the start, and answers ``{"code", "seconds"}``; code is minus the signal's number when one ended it. What
the command prints goes to ``<cwd>.out`` and ``<cwd>.err``.
"""

import importlib
import json
import os
import select
import signal
import sys
import time

STAGES = ("prep", "synth", "features", "train", "infer", "evaluate", "export", "reproduce")


def serve() -> None:
    from sym3d_cli.__main__ import main

    for module in ("sym3d_cli.app", *(f"stages.{stage}" for stage in STAGES)):
        importlib.import_module(module)
    sys.modules["stages.reproduce.failures"].EACH = 2  # images in each of its 15 sets
    load_kernels()
    for line in sys.stdin:
        print(json.dumps(run(main, **json.loads(line))), flush=True)


def load_kernels() -> None:
    """numba takes a second to fetch them from its cache. The threads that this starts have ended when it returns."""
    import numpy as np
    import torch

    from stages.predict import predict
    from stages.synth import SynthRequest, draw
    from tests.stages.small import small_model

    for _, faces in draw(SynthRequest(None, 1, size=64), np.arange(1)):
        with torch.inference_mode():
            predict(small_model()[0].eval(), faces["image"])


def run(main, argv: list[str], cwd: str, signals: list[tuple[float, int]]) -> dict[str, float]:
    ready, begun = os.pipe()
    if (child := os.fork()) == 0:
        become(main, argv, cwd, begun)
    os.close(begun)
    os.read(ready, 1)
    os.close(ready)
    started = time.monotonic()
    ended = os.pidfd_open(child)
    for after, number in signals:
        if select.select([ended], [], [], max(0, started + after - time.monotonic()))[0]:
            break
        os.kill(child, number)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(ended)
    return {"code": code, "seconds": time.monotonic() - started}


def become(main, argv: list[str], cwd: str, begun: int) -> None:
    """Be the command, in a session of its own; say so into a pipe: what comes before is not for the command."""
    os.setsid()
    os.chdir(cwd)
    for fd, where, how in (
        (0, os.devnull, os.O_RDONLY),
        (1, f"{cwd}.out", os.O_WRONLY),
        (2, f"{cwd}.err", os.O_WRONLY),
    ):
        os.dup2(os.open(where, how | os.O_CREAT | os.O_TRUNC, 0o644), fd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["sym3d", *argv]
    code = 1
    os.write(begun, b"\n")
    os.close(begun)
    try:
        main()
    except SystemExit as error:
        code = error.code or 0
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
