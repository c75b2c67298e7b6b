"""Stage: judge the pictures of a ``sym3d.images`` artifact before anything is trained on them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.artifact import open_artifact
from stages.data.quality import COMPARED, Finding, evenly, grade
from stages.progress import Report, Silent

__all__ = ["GradeRequest", "GradeResult", "run"]


@dataclass(frozen=True)
class GradeRequest:
    path: Path


@dataclass(frozen=True)
class GradeResult:
    """count: pictures in the artifact, of which figures are measured on COMPARED at most, evenly spaced."""

    path: Path
    count: int
    findings: tuple[Finding, ...]


def run(request: GradeRequest, *, report: Report = Silent()) -> GradeResult:
    """Measure the pictures and warn of everything that will go wrong. The same file gives the same figures.

    Raises InputError when the file is no ``sym3d.images``.
    """
    with open_artifact(Path(request.path), "sym3d.images") as artifact:
        images, count = artifact["image"], artifact.count
        findings = grade(np.stack([images[row] for row in evenly(count, COMPARED)]), count)
    for finding in findings:
        if not finding.ok:
            wanted = f"{finding.shown}, wanted {finding.wanted}"
            report.warn(f"{finding.check} {wanted}: {finding.trouble}; {finding.remedy}")
    return GradeResult(Path(request.path), count, tuple(findings))
