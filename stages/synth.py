"""Stage: draw a data set of synthetic faces or cars with ground truth."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from stages.artifact import SPLITS, RowWriter, file_sha256, make_provenance, read_foreign
from stages.data.cars import CAR_GENERATOR, CAR_NOISE, render_cars
from stages.data.draws import NOISE, Draws
from stages.data.face_model import DATASETS, FaceModel, build_model
from stages.data.faces import GENERATOR, batch_size, draw_scene, render_batch
from stages.data.hard import FAILURES, HARD_NOISE, LEVELS, draw_hard_scene
from stages.data.morphable import MODEL_GENERATOR, draw_model_scene, extra_noise, model_batch_size
from stages.data.perturb import perturb
from stages.errors import InputError, UsageError
from stages.io.threads import chunks, worker_threads
from stages.outputs import check_output
from stages.progress import Report, Silent

__all__ = ["KINDS", "SynthRequest", "SynthResult", "draw", "read_model", "run", "split_of"]

FIELDS = ("image", "split", "name", "sha256", "depth", "mask", "view", "light")
KINDS = ("faces", "cars")
SIZES = (32, 64, 128, 256)
DICE_THREADS = 3
MOST = 10**9  # images


@dataclass(frozen=True)
class SynthRequest:
    """out: the artifact to write; count: images; seed: with an image's index it determines the image entirely;
    size: pixels a side; device: where torch computes ("cpu", "cuda", …); overwrite: replace what `out` holds;
    perturb: stick a rectangle on each image; hard: what is hard about them and how much, "light=3": see data/hard.py;
    kind: one of KINDS; backgrounds: cars before what faces are before, instead of white;
    morphable: a face model in the layout of the Basel Face Models 2017/2019 to draw from, or none: procedural heads."""

    out: Path
    count: int
    seed: int = 0
    size: int = 64
    overwrite: bool = False
    device: str = "cpu"
    perturb: bool = False
    kind: str = "faces"
    backgrounds: bool = False
    morphable: Path | None = None
    hard: str | None = None


@dataclass(frozen=True)
class SynthResult:
    """drawn: images that this run added; the rest of `count` was there already."""

    out: Path
    count: int
    drawn: int
    seed: int
    size: int


def split_of(indices: Sequence[int]) -> np.ndarray:
    """Of ten consecutive images the ninth is for validation, the tenth for testing: whatever the count."""
    of_ten = [SPLITS[name] for name in (*["train"] * 8, "val", "test")]
    return np.array(of_ten, np.uint8)[np.asarray(indices, np.int64) % 10]


def run(request: SynthRequest, *, report: Report = Silent()) -> SynthResult:
    """Draw what is missing of the request's images into a ``sym3d.images`` artifact with every kind of truth.

    Interrupted runs go on where they stopped. Raises UsageError for a request that means nothing, InputError when the
    face model cannot be read as one, StaleError when `out` holds something else, OutputError when it cannot be written.
    """
    _check(request)
    check_output(Path(request.out), [] if request.morphable is None else [Path(request.morphable)])
    out, size = Path(request.out), request.size
    kind, number, parents, model = request.kind, GENERATOR, [], None
    extra = ["keypoints"]
    if request.kind == "cars":
        number, extra = CAR_GENERATOR, ["canonical_depth"]
    elif request.morphable is not None:
        path = Path(request.morphable)
        kind, number = "morphable faces", MODEL_GENERATOR
        digest = file_sha256(path)
        parents, model = [{"name": path.name, "digest": digest}], _read_model(path, digest)
        extra = [] if model.landmarks is None else extra
    recipe = f"{kind}, generator {number}, {size} pixels" + (", perturbed" if request.perturb else "")
    recipe += (f", {request.hard}" if request.hard else "") + (", backgrounds" if request.backgrounds else "")
    with RowWriter(
        out,
        "sym3d.images",
        count=request.count,
        dims={"H": size, "W": size},
        fields=[*FIELDS, *extra],
        provenance=make_provenance(recipe=recipe, seed=request.seed, parents=parents),
        overwrite=request.overwrite,
        report=report,
    ) as writer:
        pending = writer.pending()
        with report.task(f"drawing {request.kind}", total=request.count, done=request.count - len(pending)) as task:
            for rows, arrays in draw(request, pending, model):
                if request.perturb:
                    arrays["image"] = perturb(arrays["image"])
                writer.write(rows, arrays | _labels(request, rows, arrays["image"]))
                task.advance(len(rows))
        writer.finish()
    return SynthResult(out, request.count, len(pending), request.seed, size)


def read_model(path: Path) -> FaceModel:
    """The face model in a file, on the CPU. Raises InputError, for a file that is none, damaged or hostile."""
    return _read_model(path, file_sha256(path))


@lru_cache(maxsize=1)  # it takes seconds, and many sets may be drawn from one file; one of another digest is read again
def _read_model(path: Path, digest: str) -> FaceModel:
    try:
        return build_model(read_foreign(path, DATASETS))
    except ValueError as error:
        fix = "name a file in the layout of the Basel Face Models 2017/2019"
        raise InputError(path, " ".join(str(error).split()), fix) from error


def draw(
    request: SynthRequest, rows: np.ndarray, model: FaceModel | None = None
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """These rows of the request's set, some at a time and in order, each with its arrays as `render_faces` or
    `render_cars` has them.

    Threads work ahead of whoever takes them. On a CPU each draws whole batches, whose tensors are too small to be worth
    splitting; for a GPU they only throw the dice (a tenth of a millisecond an image), all else happens there.
    """
    seed, size, device = request.seed, request.size, torch.device(request.device)
    at_once = batch_size(size, device)
    if request.kind == "cars":
        noise, render = CAR_NOISE, partial(render_cars, backgrounds=request.backgrounds)
    else:
        noise, scene = NOISE, draw_scene
        if model is not None:
            at_once, noise = model_batch_size(size, device), NOISE + extra_noise(model)
            scene = partial(draw_model_scene, model.to(device))
        if request.hard:
            noise, scene = noise + HARD_NOISE, partial(draw_hard_scene, *parse_hard(request.hard), scene)
        render = partial(render_batch, draw_scene=scene)
    batches = list(chunks(rows, at_once))

    def dice(batch: np.ndarray) -> Draws:
        return Draws(seed, batch, device, noise)

    def alone(batch: np.ndarray) -> dict[str, np.ndarray]:
        torch.set_num_threads(1)  # of this thread
        return render(dice(batch), size)

    with worker_threads(torch.get_num_threads() if device.type == "cpu" else DICE_THREADS) as threads:
        if device.type == "cpu":
            yield from zip(batches, threads.in_order(alone, batches), strict=True)
        else:
            draws = threads.in_order(dice, batches)
            yield from zip(batches, (render(draw, size) for draw in draws), strict=True)


def parse_hard(text: str) -> tuple[str, int]:
    """ "light=3" → ("light", 3). Raises UsageError when there is no such failure or level."""
    failure, _, level = text.partition("=")
    if failure not in FAILURES or level not in map(str, range(LEVELS)):
        fix = f"choose {', '.join(FAILURES)} and a level from 0 to {LEVELS - 1}, such as light=3"
        raise UsageError(f"--hard {text}", "there are no such pictures", fix)
    return failure, int(level)


def _labels(request: SynthRequest, rows: np.ndarray, images: np.ndarray) -> dict:
    return {
        "split": split_of(rows),
        "name": [f"{request.kind[:-1]}-{request.seed}-{row:06d}" for row in rows],
        "sha256": [hashlib.sha256(image.tobytes()).hexdigest() for image in images],
    }


def _check(request: SynthRequest) -> None:
    if not 1 <= request.count <= MOST:
        raise UsageError("count", f"{request.count} images cannot be drawn", f"ask for 1 to {MOST:,}")
    if request.size not in SIZES:
        raise UsageError("size", f"{request.size} pixels is not offered", f"choose one of {', '.join(map(str, SIZES))}")
    if request.kind not in KINDS:
        raise UsageError("kind", f"{request.kind!r} is not offered", f"choose one of {', '.join(KINDS)}")
    if request.morphable is not None and request.kind != "faces":
        raise UsageError("morphable", f"a face model draws no {request.kind}", "leave out one of the two")
    if request.hard is not None:
        parse_hard(request.hard)
        if request.kind != "faces":
            raise UsageError("--hard", "only faces can be made hard", "leave out --kind")
    if request.backgrounds and request.kind != "cars":
        raise UsageError("--backgrounds", "faces have theirs anyway", "leave it out, or add --kind cars")
    if not 0 <= request.seed < 2**63:
        raise UsageError("seed", f"{request.seed} is out of range", "use a whole number from 0 to 2^63 - 1")
    try:
        if torch.device(request.device).type not in ("cpu", "cuda"):
            raise RuntimeError("only cpu and cuda are")
        torch.empty(1, device=request.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError("device", f"{request.device!r} cannot be used here ({reason})", "use cpu") from None
