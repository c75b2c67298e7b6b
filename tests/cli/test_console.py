"""What goes to the terminal, to a log, and to a script."""

import io
import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from sym3d_cli import console, live, waiting
from sym3d_cli.console import Reporter, print_json, print_table, print_wrapped
from sym3d_cli.text import bound_terminal, clean, register_plain


def test_clean_leaves_text_and_escapes_the_rest():
    assert clean("Müller 猫 ×10⁻².png") == "Müller 猫 ×10⁻².png"
    assert clean("a\nb\rc\x1b[2J\x7f\u202e\udce9") == "a\\nb\\rc\\x1b[2J\\x7f\\u202e\\udce9"


def test_a_message_that_holds_a_huge_name_is_cut_in_its_middle(capsys):
    console.error_line(f"a.pth: unknown {'y' * 10**6}; give another")
    Reporter().note(f"left out: {'y' * 10**6}")
    error, note = capsys.readouterr().err.splitlines()
    assert error.startswith("sym3d: error: a.pth: unknown yyy")
    assert error.endswith("yyy; give another")
    assert note.startswith("left out: yyy")
    assert max(len(error), len(note)) < 5000


def test_progress_in_a_log(capsys, monkeypatch):
    clock = iter(range(0, 1000))
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(clock)))
    report = Reporter()
    with report.task("train", total=100, done=40) as task:
        for _ in range(60):
            task.advance(1, "loss 0.5")
    lines = capsys.readouterr().err.splitlines()
    assert 5 < len(lines) < 20
    assert lines[0].startswith("train 45/100 · ")
    assert lines[0].endswith(" left · loss 0.5")
    assert lines[-1].startswith("train 100/100 · ")
    assert "left" not in lines[-1]


def test_work_that_was_already_done_says_nothing(capsys):
    with Reporter().task("prep", total=10, done=10):
        pass
    assert capsys.readouterr().err == ""


def test_the_last_line_is_said_even_when_it_fails(capsys, monkeypatch):
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(clock)))
    report = Reporter()
    with pytest.raises(ZeroDivisionError), report.task("infer", total=10) as task:  # noqa: PT012
        task.advance(3)
        raise ZeroDivisionError
    assert capsys.readouterr().err.startswith("infer 3/10")


def test_rates_that_people_can_read():
    assert [live.rate(*case) for case in ((0, 5), (9, 0), (10_000, 4), (1, 2), (2, 25))] == [
        *("", "", "2,500.0/s", "0.5/s"),
        "12 s each",
    ]


def test_work_done_at_once_says_nothing(capsys):
    report = Reporter()
    with report.task("checking", total=1) as task:
        task.advance()
    assert capsys.readouterr().err == ""


def test_a_part_of_other_work_says_nothing_unless_it_takes_long(capsys, monkeypatch):
    clock = iter(range(0, 1000))
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(clock)))
    report = Reporter()
    with report.task("train", total=9) as task:
        task.advance(4)
        with report.task("validating", total=2) as inner:
            inner.advance(2)
        task.advance(5)
    assert "validating" not in capsys.readouterr().err


@pytest.fixture
def screen(monkeypatch):
    """A reporter, and what its terminal of 80 columns and 24-bit colours has been sent."""

    def make(**how):
        sent = io.StringIO()
        monkeypatch.setattr(live, "QUICK", 0.0)  # nothing here takes long
        report = Reporter()
        how = {"width": 80, "height": 24, "color_system": "truecolor", "_environ": {"TERM": "xterm"}, **how}
        report.console = Console(file=sent, force_terminal=True, **how)
        monkeypatch.setattr(Console, "encoding", "utf-8")  # a StringIO has none
        return report, sent

    return make


def test_progress_on_a_terminal(screen):
    report, sent = screen(width=120)
    with report.task("train", total=4, done=1) as task:
        task.advance(2, "loss [red]0.5")
        report.note("hello [b]")
        with report.task("eval", total=1) as inner:
            inner.advance()
            report._display._live.refresh()
    for part in ("train", "3/4", "loss [red]0.5", "hello [b]", "eval"):
        assert part in sent.getvalue()
    assert report._display is None


def test_what_was_done_at_once_is_wiped_from_the_terminal(screen, monkeypatch):
    report, sent = screen()
    monkeypatch.setattr(live, "QUICK", 60.0)
    with report.task("checking", total=1) as task:
        task.advance()
    assert sent.getvalue().rpartition("\x1b[2K")[2].count("checking") == 0


LOG = {
    "step": 100,
    "seconds": 9.5,
    "images_per_second": 42.123,
    "total": 0.61234,
    **{key: 0.123456 for key in ("photo", "photo_flip", "perceptual", "perceptual_flip", "gradient_norm")},
}


def shown_lines(sent):
    """What was drawn, escape codes taken out."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", sent).replace("\r", "\n").splitlines()


def test_the_table_of_a_training_fits_80_columns_and_10_lines(screen):
    report, sent = screen()
    with report.task("train " + "long-name" * 10, total=400) as task:
        for step, side in ((100, 1.5), (200, 1.2), (300, 1.4)):
            report.figures(LOG | {"step": step, "side": side, "mad": 20 + side})
            task.advance(100, "loss 0.5")
            report._display._live.refresh()
        report.figures(LOG | {"step": 400})
    drawn = shown_lines(sent.getvalue())
    assert max(map(cell_len, drawn)) <= 80
    last = drawn[max(at for at, line in enumerate(drawn) if line.startswith("train")) :]
    assert 4 < len(last) <= 10
    text = "\n".join(last)
    for part in ("400", "300/400", "loss 0.612", "perceptual flip 0.123", "gradient norm 0.123", "images/s 42.1"):
        assert part in text, part
    assert re.search(r"SIDE ×10⁻² +1\.40 +best 1\.20 at step 200", text)
    assert re.search(r"MAD ° +21\.4 +best 21\.2 at step 200", text)
    assert "loss 0.5 " not in text, "the status only repeats the figures"


def test_a_picture_is_drawn_in_half_blocks(screen):
    report, sent = screen()
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:4] = (255, 0, 0)
    pixels[4:, :8] = (0, 128, 255)
    with report.task("train", total=1):
        report.picture(pixels)
    rows = [line for line in shown_lines(sent.getvalue()) if "▀" in line]
    assert rows == ["▀" * 64] * 16
    assert "\x1b[38;2;255;0;0;48;2;255;0;0m▀" in sent.getvalue()
    assert "\x1b[38;2;0;128;255;48;2;0;128;255m▀" in sent.getvalue()
    assert "\x1b[38;2;0;0;0;48;2;0;0;0m▀" in sent.getvalue()


@pytest.mark.parametrize("how", [{"color_system": "256"}, {"no_color": True}, {"width": 60}])
def test_no_picture_where_the_terminal_cannot(screen, how):
    report, sent = screen(**how)
    with report.task("train", total=1):
        report.picture(np.zeros((8, 16, 3), np.uint8))
    assert "▀" not in sent.getvalue()


def test_a_dumb_terminal_gets_lines(screen):
    report, sent = screen(_environ={"TERM": "dumb"}, color_system=None)
    with report.task("train", total=1):
        assert report._display is None
        report.figures(LOG)
    assert "\x1b" not in sent.getvalue()


def test_letters_that_the_locale_lacks():
    assert "SIDE ×10⁻² · 猫 …".encode("ascii", register_plain()) == b"SIDE x10-2 | \\u732b ..."
    assert "SIDE ×10⁻² · ü".encode("latin-1", register_plain()) == b"SIDE \xd710-\xb2 \xb7 \xfc"


def test_no_terminal_is_a_million_letters_wide():
    environment = {"COLUMNS": "99999999", "LINES": "40", "HOME": "/home/ann"}
    bound_terminal(environment)
    assert environment == {"COLUMNS": "999", "LINES": "40", "HOME": "/home/ann"}


@pytest.mark.parametrize("size", ["", "0", "-5", "²", "wide", "80\n", "1e9"])
def test_a_terminal_size_that_is_no_number_is_passed_over(size):
    environment = {"COLUMNS": size, "TERMINAL_WIDTH": size}
    bound_terminal(environment)
    assert environment == {}


def test_quiet_keeps_warnings(capsys):
    report = Reporter(-1)
    report.note("a note")
    report.warn("a warning")
    with report.task("train", total=1) as task:
        task.advance()
    assert capsys.readouterr().err == "sym3d: warning: a warning\n"


def test_long_lines_are_not_wrapped(capsys):
    Reporter().note("x" * 500)
    assert capsys.readouterr().err == "x" * 500 + "\n"


def test_a_table_for_scripts_is_tab_separated(capsys):
    print_table(["name", "n"], [["a\tb", 1], ["c", 2.5]])
    assert capsys.readouterr().out == "name\tn\na\\tb\t1\nc\t2.5\n"


def test_a_table_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(["name", "n"], [["[b]a", 1]])
    assert "[b]a" in capsys.readouterr().out


def narrow(monkeypatch, columns):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))


def test_a_narrow_terminal_is_shown_fewer_columns(capsys, monkeypatch):
    narrow(monkeypatch, 40)
    rows = [["a" * 20, "b" * 12, "c" * 12], ["a", "b", "c"]]
    print_table(["name", "unit", "frame"], rows, spare=("frame", "unit"))
    head, *_ = lines = shown_lines(capsys.readouterr().out)
    assert head.split() == ["name", "unit"]
    assert lines[-1].strip() == "not shown, for want of room: frame"
    assert max(map(cell_len, lines)) <= 40
    narrow(monkeypatch, 100)
    print_table(["name", "unit", "frame"], rows, spare=("frame", "unit"))
    assert shown_lines(capsys.readouterr().out)[0].split() == ["name", "unit", "frame"]


def test_wrapped_lines_are_indented_on_a_terminal_only(capsys, monkeypatch):
    print_wrapped(["  " + "word " * 20])
    assert capsys.readouterr().out == "  " + "word " * 20 + "\n"
    narrow(monkeypatch, 40)
    print_wrapped(["  " + "word " * 20])
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("  word")
    assert others
    assert all(line.startswith("      word") for line in others)


def test_json_of_a_result(capsys):
    @dataclass(frozen=True)
    class Inner:
        path: Path

    print_json({"a": Inner(Path("b/c.h5")), "d": [Inner(Path("e"))]})
    assert json.loads(capsys.readouterr().out) == {"a": {"path": "b/c.h5"}, "d": [{"path": "e"}]}


def test_json_has_no_nan(capsys):
    print_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": ("x", None)})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": ["x", None]}


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def test_a_word_while_libraries_load_goes_before_anything_else_is_shown(monkeypatch, capsys):
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)
    report, screen = Reporter(), io.StringIO()
    report.console = Console(file=screen, force_terminal=True, width=80)
    report.wait()
    assert until(lambda: "loading" in screen.getvalue())
    console.print_lines(["result.h5"])
    assert capsys.readouterr().out == "result.h5\n"
    assert screen.getvalue().endswith("\x1b[2K"), "its line is wiped"
    shown = len(screen.getvalue())
    with report.task("infer", total=1):
        pass
    assert until(lambda: "working" in screen.getvalue()[shown:])
    with report.task("sheet", total=1) as task:
        task.advance()
        assert "working" in screen.getvalue()
    report.rest()
    shown = len(screen.getvalue())
    with report.task("one more", total=1):
        pass
    time.sleep(0.05)
    assert "working" not in screen.getvalue()[shown:], "nobody waits for it any more"


def test_no_word_in_a_log_nor_when_it_is_to_be_quiet(monkeypatch, capsys):
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)
    Reporter().wait()
    quiet = Reporter(-1)
    quiet.console = Console(file=sys.stderr, force_terminal=True)
    quiet.wait()
    time.sleep(0.05)
    assert capsys.readouterr().err == ""
