"""A table as Markdown, as a picture and as JSON, each next to the paper's figures."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stages.io.files import make_folder, write_file
from stages.io.pictures import write_png
from stages.io.sources import printable
from stages.reproduce.tables import Figures

__all__ = ["HEAD", "DepthLine", "Line", "Spread", "write_table"]

HEAD = ("", "SIDE ×10⁻²", "MAD °", "paper SIDE", "paper MAD", "seeds", "minutes")
KEY = (
    "Mean over images and seeds ± deviation over images; in brackets the deviation of the seeds' means. Minutes: of "
    "all trainings of the row, one after another."
)
INK, FAINT, PAPER = (40, 40, 40), (150, 150, 150), (255, 255, 255)
LINE, NOTE, MARGIN, FONT = 40, 24, 24, 20


@dataclass(frozen=True)
class Spread:
    """Of one metric: mean over images and seeds, deviation over the images of a seed, and of the seeds' means."""

    mean: float
    over_images: float
    over_seeds: float

    @classmethod
    def of(cls, runs: Sequence[np.ndarray]) -> "Spread":
        """Of the figures for each image of several runs; NaN stands for images that could not be judged."""
        means = [np.nanmean(values, dtype=np.float64) for values in runs]
        over_images = np.mean([np.nanstd(values, dtype=np.float64) for values in runs])
        return cls(float(np.mean(means)), float(over_images), float(np.std(means)))

    def shown(self, digits: int) -> str:
        seeds = f" ({self.over_seeds:.{digits}f})" if self.over_seeds else ""
        return f"{self.mean:.{digits}f} ± {self.over_images:.{digits}f}{seeds}"


class Line(Protocol):
    """A row of any table: a dataclass with its figures, which knows how to show them."""

    def cells(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class DepthLine:
    """A row of the tables of errors in depth: SIDE ×10⁻², MAD in degrees, and how many seeds are hollow or diverged."""

    label: str
    paper: Figures
    seeds: int
    side: Spread | None  # None: no seed got to its end
    mad: Spread | None
    hollow: int = 0
    diverged: int = 0
    seconds: float = 0.0  # of training, all seeds

    def cells(self) -> tuple[str, ...]:
        side, side_std, mad, mad_std = self.paper
        seeds = str(self.seeds or "")
        for count, fate in ((self.hollow, "hollow"), (self.diverged, "diverged")):
            seeds += f", {count} {fate}" if count else ""
        return (
            self.label,
            "none finished" if self.side is None else self.side.shown(2),
            "none finished" if self.mad is None else self.mad.shown(1),
            f"{side:.2f} ± {side_std:.2f}",
            f"{mad:.1f} ± {mad_std:.1f}",
            seeds,
            f"{self.seconds / 60:.0f}" if self.seconds else "",
        )


def write_table(
    folder: Path,
    name: str,
    title: str,
    lines: Sequence[Line],
    facts: dict[str, str],
    head: Sequence[str] = HEAD,
    key: str = KEY,
    remarks: Sequence[str] = (),
) -> list[Path]:
    """NAME.md, NAME.png and NAME.json in ``folder``: ``key`` says what the figures are, ``facts`` where from, and
    ``remarks``, under the rows, what they show."""
    make_folder(folder)
    rows = [line.cells() for line in lines]
    text = "\n".join(
        [
            f"# {title}",
            "",
            key,
            "",
            f"| {' | '.join(head)} |",
            "|" + "---|" * len(head),
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            *(line for remark in remarks for line in (remark, "")),
            *(f"- {key}: {printable(value)}" for key, value in facts.items()),
            "",
        ]
    )
    data = {"title": title, "rows": [asdict(line) for line in lines], "remarks": list(remarks), **facts}
    return [
        write_file(folder / f"{name}.md", text.encode()),
        write_png(folder / f"{name}.png", _picture(title, head, rows, remarks)),
        write_file(folder / f"{name}.json", json.dumps(data, indent=2).encode()),
    ]


def _picture(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], remarks: Sequence[str]) -> np.ndarray:
    font, small = ImageFont.load_default(FONT), ImageFont.load_default(FONT * 3 // 4)
    theirs = [cell.startswith("paper") for cell in head]
    cells = [[cell.replace("×10⁻²", "/ 0.01") for cell in head], *rows]  # the font has no raised figures
    widths = [max(int(font.getlength(row[column])) for row in cells) + MARGIN for column in range(len(head))]
    notes = [line for remark in remarks for line in _wrapped(remark, small, sum(widths))]
    below = MARGIN + LINE * (len(cells) + 1) + (NOTE // 2 if notes else 0)
    picture = Image.new("RGB", (sum(widths) + 2 * MARGIN, below + NOTE * len(notes) + MARGIN), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN), title, INK, font)
    for number, row in enumerate(cells, 1):
        y = MARGIN + number * LINE
        for column, cell in enumerate(row):
            ink = FAINT if number == 1 or theirs[column] else INK
            draw.text((MARGIN + sum(widths[:column]), y), cell, ink, font)
        draw.line(
            (MARGIN, y + LINE - 8, picture.width - MARGIN, y + LINE - 8), FAINT if number == 1 else (225, 225, 225)
        )
    for number, note in enumerate(notes):
        draw.text((MARGIN, below + NOTE * number), note, INK, small)
    return np.asarray(picture)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """In lines of at most ``width`` pixels, as far as words allow."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
