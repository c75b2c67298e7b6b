"""What a terminal shows of work in progress: bars with rate and time left, the newest figures, pictures."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TimeRemainingColumn
from rich.progress import Task as RichTask
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table
from rich.text import Text

from sym3d_cli.text import clean

if TYPE_CHECKING:
    import numpy as np

__all__ = ["QUICK", "Bar", "Display", "half_blocks", "rate"]

QUICK = 2.0  # seconds: what took less leaves no trace
WIDTH = 80  # columns that figures and pictures keep to
PICTURE = (64, 32)  # its most pixels, across and down; a character shows two, one above the other
SCORES = {"side": ("SIDE ×10⁻²", ".2f"), "mad": ("MAD °", ".1f")}  # of these less is better
NAMES = {"total": "loss", "images_per_second": "images/s"}  # for people; other keys say what they are
HIDDEN = ("step", "seconds", *SCORES)


class Display:
    """Drawn over and over at the bottom of the terminal until it is stopped."""

    def __init__(self, console: Console):
        self.console = console
        columns = (_Line("title"), BarColumn(bar_width=16), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
        self.bars = Progress(*columns, _Line("status"), console=console)
        self.newest: dict[str, float] = {}
        self.best: dict[str, tuple[float, float]] = {}  # score → value and step
        # stdout is for results, also while something moves on stderr.
        self._live = Live(get_renderable=self.draw, console=console, refresh_per_second=4, redirect_stdout=False)
        self._live.start()

    def stop(self) -> None:
        self._live.transient = not self.bars.tasks
        self._live.stop()

    def figures(self, values: Mapping[str, float]) -> None:
        self.newest = self.newest | values  # a new one: the terminal may be at the old one
        for name in SCORES.keys() & values.keys():
            now = values[name], values.get("step", 0.0)
            self.best[name] = min(self.best.get(name, now), now)

    def picture(self, pixels: "np.ndarray") -> None:
        """Where there are colours and room for it: above, once; to draw it over and over would choke a slow line."""
        console = self.console
        able = console.color_system == "truecolor" and not console.no_color and console.encoding.startswith("utf")
        if able and console.width >= PICTURE[0]:
            console.print(half_blocks(pixels, *PICTURE))

    def draw(self) -> Group:
        shown: list = [self.bars.make_tasks_table(self.bars.tasks)]
        if self.newest:
            cells = [_figure(name, value) for name, value in self.newest.items() if name not in HIDDEN]
            shown.append(Columns(cells, width=min(WIDTH, self.console.width) // 3 - 1, padding=(0, 1, 0, 0)))
        if self.best:
            shown.append(self._scores())
        return Group(*shown)

    def _scores(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        for name, (heading, form) in SCORES.items():
            if name in self.best:
                value, step = self.best[name]
                now = f"{self.newest[name]:{form}}"
                table.add_row(Text(heading, "dim"), Text(now, "bold"), Text(f"best {value:{form}} at step {step:.0f}"))
        return table


def _figure(name: str, value: float) -> Text:
    text = Text(f"{NAMES.get(name, clean(name).replace('_', ' '))} ", "dim", no_wrap=True, overflow="ellipsis")
    return text.append(f"{value:.3g}", "not dim bold")


def half_blocks(pixels: "np.ndarray", width: int, height: int) -> Segments:
    """A picture uint8 (H, W, 3), made to fit into so many pixels, as lines of ▀: the upper half in the letter's colour,
    the lower half in that of its background."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    scale = min(width / picture.width, height / picture.height)
    across, down = (max(2, round(side * scale) // 2 * 2) for side in picture.size)
    small = picture.resize((across, down), Image.Resampling.BOX)
    colour = [[f"rgb({r},{g},{b})" for r, g, b in (small.getpixel((x, y)) for x in range(across))] for y in range(down)]
    segments = []
    for upper, lower in zip(colour[::2], colour[1::2], strict=True):
        segments += [Segment("▀", Style.parse(f"{top} on {bottom}")) for top, bottom in zip(upper, lower, strict=True)]
        segments.append(Segment.line())
    return Segments(segments)


class _Line(ProgressColumn):
    """A field of the task, on one line however narrow the terminal is."""

    def __init__(self, field: str):
        super().__init__()
        self.field = field

    def render(self, task: RichTask) -> Text:
        return Text(task.fields[self.field], no_wrap=True, overflow="ellipsis")


class _Rate(ProgressColumn):
    """Items per second of this session, not counting what an earlier one had done."""

    def render(self, task: RichTask) -> Text:
        return Text(rate(task.completed - task.fields["start_at"], task.elapsed or 0.0))


def rate(items: float, seconds: float) -> str:
    if not (items > 0 and seconds > 0):
        return ""
    return f"{items / seconds:,.1f}/s" if items >= seconds / 4 else f"{seconds / items:.0f} s each"


class Bar:
    """One line of the display."""

    def __init__(self, display: Display, title: str, total: int, done: int):
        self.display = display
        fields = {"title": clean(title), "start_at": done, "status": ""}
        self.id = display.bars.add_task("", total=total, completed=done, **fields)

    def advance(self, amount: int = 1, status: str = "") -> None:
        # The figures below the bars say more than the status, and in order.
        fields = {"status": clean(status)} if status and not self.display.newest else {}
        fields |= {"status": ""} if self.display.newest else {}
        self.display.bars.update(self.id, advance=amount, **fields)

    def remove_if(self, inner: bool) -> None:
        """Leave no trace of work within other work, or of what was done at once."""
        task = next(task for task in self.display.bars.tasks if task.id == self.id)
        if inner or (task.elapsed or 0.0) < QUICK:
            self.display.bars.remove_task(self.id)
