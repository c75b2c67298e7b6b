"""Prep: a folder, zip or list of photographs → one ``sym3d.images`` file of squares, split three ways.

Two passes over the files. The first hashes their content, which names duplicates, fixes the split of every picture
and says whether an earlier result still holds. The second decodes, crops and resizes in chunks and writes each chunk
to the artifact, where an interrupted run goes on.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.artifact import SPLITS, RowWriter, make_provenance, open_artifact
from stages.data.perturb import perturb
from stages.data.three_dfaw import LIST, WIDE
from stages.errors import InputError, UsageError
from stages.io.crops import Box, Crop, crop_box, cut, parse_crop, resize_squares
from stages.io.files import within_folder
from stages.io.fingerprints import fingerprint, hash_all, problems
from stages.io.images import UnusableError, decode
from stages.io.sources import Source, open_source, printable
from stages.io.threads import Threads, chunks, worker_threads
from stages.landmarks import Faces, pair_faces
from stages.outputs import check_output
from stages.progress import Report, Silent

__all__ = ["SIZES", "PrepRequest", "PrepResult", "run", "split_of"]

SIZES = (64, 128, 256)
LAYOUTS = ("photographs", "3dfaw")
ABOUT_POINTS = Crop("landmarks", WIDE)
SHOWN = 20  # skipped files that are named on the screen
TRAIN, VAL = 0.8, 0.1  # the rest is test
CHUNK = 64  # pictures of 64 pixels, fewer of larger ones: one job of one thread, one write


@dataclass(frozen=True)
class PrepRequest:
    """What to prepare.

    source: folder, zip, or text file with one path per line. out: the artifact. size: 64, 128 or 256 pixels.
    crop: as parse_crop takes it. workers: threads, default one per core.
    overwrite: replace a result that was made from something else. perturb: stick a rectangle on each picture.
    layout: photographs, or 3dfaw, whose files say where to crop, which split, and the key points.
    """

    source: Path
    out: Path
    size: int = 64
    crop: str = "center"
    workers: int | None = None
    overwrite: bool = False
    perturb: bool = False
    layout: str = LAYOUTS[0]


@dataclass(frozen=True)
class PrepResult:
    """What is in the artifact now, whether this run made all of it, some of it, or nothing (``already_complete``).

    count: pictures. splits: how many of them per split. skipped: (name, reason) of every file without a picture.
    upscaled: pictures whose crop had fewer pixels than ``size``. squeezed: pictures that were not square (crop none).
    """

    path: Path
    count: int
    splits: dict[str, int]
    skipped: tuple[tuple[str, str], ...]
    upscaled: int
    squeezed: int
    already_complete: bool

    @property
    def reasons(self) -> dict[str, int]:
        """How many files were skipped for each kind of reason, the commonest first."""
        return _count_reasons(self.skipped)


def split_of(sha256: str) -> int:
    """Split code of a picture by the hexadecimal hash of its file: it stays where it is whatever files are added.

    The first 8 bytes as a fraction of 2⁶⁴: below 0.8 train (0), below 0.9 val (1), else test (2).
    """
    fraction = int(sha256[:16], 16) / 2**64
    return SPLITS["train" if fraction < TRAIN else "val" if fraction < TRAIN + VAL else "test"]


def run(request: PrepRequest, *, report: Report = Silent()) -> PrepResult:
    """Prepare the photographs. A bad file costs itself only: it goes to the ``skipped`` table with the reason.

    Raises UsageError (size, crop, workers), InputError (nothing there, no usable picture), StaleError (the artifact was
    made from other files or options), OutputError.
    """
    crop = _check(request)
    out = Path(request.out)
    own_files = [out.with_name(out.name + suffix) for suffix in ("", ".partial", ".finishing.partial")]
    with open_source(Path(request.source), exclude=own_files) as source, worker_threads(request.workers) as threads:
        sums, faces = hash_all(source, threads, report), None
        parent = fingerprint(source, sums)
        if request.layout == "3dfaw":
            source, sums, faces = pair_faces(source, sums)
        unusable = problems(source.items, sums)
        with (
            within_folder(out.parent),
            RowWriter(
                out,
                "sym3d.images",
                count=len(source.items),
                dims={"H": request.size, "W": request.size},
                fields=("image", "split", "name", "sha256", "box", *(("keypoints",) if faces else ())),
                provenance=make_provenance(recipe=_recipe(request, crop), parents=[parent]),
                overwrite=request.overwrite,
                report=report,
            ) as writer,
        ):
            already_complete = writer.complete
            if not already_complete:
                square = _Square(source, crop, request.size, request.perturb, faces)
                _fill(writer, source, sums, unusable, square, threads, report)
                _publish(writer, source)
    return _summarise(request, out, already_complete, report)


def _check(request: PrepRequest) -> Crop:
    crop = parse_crop(request.crop)
    if request.layout not in LAYOUTS:
        raise UsageError("--layout", f"{request.layout} is not a layout", f"use {' or '.join(LAYOUTS)}")
    if request.layout == "3dfaw":
        if crop != Crop("center"):
            raise UsageError("--crop", "3dfaw's pictures are cropped about their key points", "leave it out")
        crop = ABOUT_POINTS
    if request.size not in SIZES:
        raise UsageError("--size", f"{request.size} is not a size", f"use {', '.join(map(str, SIZES))}")
    if request.workers is not None and request.workers < 1:
        raise UsageError("--workers", f"{request.workers} is not a number of threads", "use 1 or more")
    check_output(Path(request.out), [Path(request.source)])
    return crop


def _recipe(request: PrepRequest, crop: Crop) -> str:
    """All that determines the result besides the files."""
    perturbed = "perturb = true\n" if request.perturb else ""
    moved = f"down = {crop.down}\n" if crop.down else ""
    return f'size = {request.size}\ncrop = "{crop.kind}"\nfraction = {crop.fraction}\n{moved}{perturbed}'


# -- second pass: squares ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Square:
    """From an item to the part of its picture that is kept."""

    source: Source
    crop: Crop
    size: int
    perturb: bool
    faces: Faces | None

    def __call__(self, row: int, sha256: str) -> tuple[np.ndarray, Box]:
        content = self.source.read(self.source.items[row])
        if hashlib.sha256(content).hexdigest() != sha256:
            raise UnusableError("changed while it was read")
        pixels, (width, height) = decode(content, shrink_to=self.crop.decoded_side(self.size))
        across, down = width / pixels.shape[1], height / pixels.shape[0]  # a JPEG may have been decoded smaller
        if self.faces is None:
            x0, y0, x1, y1 = box = crop_box(pixels, self.crop)
            part = cut(pixels, box, self.size)
        else:
            whole, (x0, y0, x1, y1), inside = self.faces.box(row, pixels, (across, down))
            part = cut(whole, inside, self.size)
        return part, (x0 * across, y0 * down, x1 * across, y1 * down)

    def split(self, row: int, sha256: str) -> int:
        return split_of(sha256) if self.faces is None else self.faces.splits[row]


def _fill(
    writer: RowWriter,
    source: Source,
    sums: Sequence[Any],
    unusable: dict[int, str],
    square: _Square,
    threads: Threads,
    report: Report,
) -> None:
    """Write or drop every pending row. A chunk is always computed whole, so that the pixels do not depend on where
    an earlier run was stopped."""

    def make_chunk(rows: range) -> tuple[dict[str, list], dict[int, str]]:
        made: dict[str, list] = {"row": [], "part": [], "box": []}
        dropped = {row: unusable[row] for row in rows if row in unusable}
        for row in rows:
            threads.check()
            if row in dropped:
                continue
            try:
                part, box = square(row, sums[row])
            except UnusableError as error:
                dropped[row] = str(error)
            else:
                made["row"].append(row)
                made["part"].append(part)
                made["box"].append(box)
        made["image"] = resize_squares(made.pop("part"), square.size)
        if square.perturb and made["row"]:
            made["image"] = perturb(made["image"])
        return made, dropped

    pending = np.zeros(len(source.items), bool)
    pending[writer.pending()] = True
    jobs = [
        rows
        for rows in chunks(range(len(pending)), max(1, CHUNK * 64**2 // square.size**2))
        if pending[rows.start : rows.stop].any()
    ]
    done = int((~pending).sum())
    with report.task("preparing", total=len(pending), done=done) as task:
        for made, dropped in threads.in_order(make_chunk, jobs):
            keep = [at for at, row in enumerate(made["row"]) if pending[row]]
            rows = [made["row"][at] for at in keep]
            columns = {
                "image": made["image"][keep],
                "box": np.array([made["box"][at] for at in keep], np.float32).reshape(-1, 4),
                "split": np.array([square.split(row, sums[row]) for row in rows], np.uint8),
                "name": [source.items[row].name for row in rows],
                "sha256": [sums[row] for row in rows],
            }
            if square.faces and rows:
                columns["keypoints"] = np.stack(
                    [square.faces.placed(row, box, square.size) for row, box in zip(rows, columns["box"], strict=True)]
                )
            if rows:
                writer.write(rows, columns)
            late = [row for row in dropped if pending[row]]
            for row in late:
                writer.drop(row, source.items[row].name, dropped[row])
            task.advance(len(rows) + len(late))


def _publish(writer: RowWriter, source: Source) -> None:
    if writer.written == 0:
        counted = ", ".join(f"{kind} ({count})" for kind, count in _count_reasons(writer.skipped()).items())
        writer.discard()
        what = f"no usable picture among {len(source.items)} files: {counted}"
        raise InputError(printable(str(source.path)), what, "give it photographs or another --crop")
    writer.finish()


def _count_reasons(skipped: Sequence[tuple[str, str]]) -> dict[str, int]:
    return dict(Counter(reason.partition(":")[0] for _, reason in skipped).most_common())


def _summarise(request: PrepRequest, path: Path, already_complete: bool, report: Report) -> PrepResult:
    """Read the counts back from the artifact, so that they are the same however many runs it took."""
    with open_artifact(path, "sym3d.images") as artifact:
        split, box = artifact["split"][:], artifact["box"][:]
        skipped = ()
        if "skipped/name" in artifact:
            skipped = tuple(zip(artifact.strings("skipped/name"), artifact.strings("skipped/reason"), strict=True))
    width, height = box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]
    result = PrepResult(
        path=path,
        count=len(split),
        splits={name: int((split == code).sum()) for name, code in SPLITS.items()},
        skipped=skipped,
        upscaled=int((np.minimum(width, height) < request.size - 0.5).sum()),
        squeezed=int((np.abs(width - height) > 0.01 * np.maximum(width, height)).sum()),
        already_complete=already_complete,
    )
    for name, reason in skipped[:SHOWN]:
        report.note(f"skipped {name}: {reason}")
    if len(skipped) > SHOWN:
        report.note(f"… and {len(skipped) - SHOWN} more: all of them are in the table 'skipped' of {path}")
    if result.upscaled:
        report.warn(
            f"{result.upscaled} pictures had to be enlarged to {request.size} pixels; they carry less detail than that"
        )
    if result.squeezed:
        report.warn(f"{result.squeezed} pictures were not square and were squeezed; --crop center keeps their shape")
    empty = [name for name, number in result.splits.items() if number == 0]
    if empty:
        why = "with few pictures that is chance; add more"
        if request.layout == "3dfaw":
            why = f"the folders say which are for training, and {LIST} which of valid_img are not for testing"
        report.warn(f"no picture fell into {' and '.join(empty)}: {why}")
    return result
