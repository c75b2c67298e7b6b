"""One HTML file to look at results with: gallery, 3D viewer, curves, histograms, provenance (``sym3d report``)."""

from dataclasses import dataclass
from pathlib import Path

from stages.io.files import hold_file, write_file
from stages.pages import find_sources, page, read_items, read_overview, to_json
from stages.progress import Report, Silent

__all__ = ["ReportRequest", "ReportResult", "run"]


@dataclass(frozen=True)
class ReportRequest:
    """inputs: run folders, checkpoints, predictions, scores, folders of runs. most: items shown; see read_items."""

    inputs: tuple[Path, ...]
    out: Path
    most: int = 500


@dataclass(frozen=True)
class ReportResult:
    """items: shown, of so many in ``total``."""

    path: Path
    items: int
    total: int
    size_bytes: int


def run(request: ReportRequest, *, report: Report = Silent()) -> ReportResult:
    """Write it; an existing file is replaced.

    Raises InputError when an input is missing, damaged or of another kind, UsageError for two predictions, OutputError
    when writing fails.
    """
    sources = find_sources(request.inputs)
    with hold_file(request.out, sources.files()):
        items = read_items(sources.prediction, sources.scores, request.most, report)
        content = page(to_json(read_overview(sources)), to_json(items)).encode()
        write_file(request.out, content)
    return ReportResult(request.out, len(items["items"]), items["total"], len(content))
