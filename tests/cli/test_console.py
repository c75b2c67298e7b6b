"""What goes to the terminal, to a log, and to a script."""

import io
import json
import sys

import pytest
from rich.console import Console

from sym3d_cli import console
from sym3d_cli.console import Reporter, clean, print_json, print_table


def test_clean_leaves_text_and_escapes_the_rest():
    assert clean("Müller 猫 ×10⁻².png") == "Müller 猫 ×10⁻².png"
    assert clean("a\nb\rc\x1b[2J\x7f\u202e\udce9") == "a\\nb\\rc\\x1b[2J\\x7f\\u202e\\udce9"


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


def test_the_last_line_is_said_even_when_it_fails(capsys):
    report = Reporter()
    with pytest.raises(ZeroDivisionError), report.task("infer", total=10) as task:  # noqa: PT012
        task.advance(3)
        raise ZeroDivisionError
    assert capsys.readouterr().err.startswith("infer 3/10")


def test_progress_on_a_terminal():
    report, screen = Reporter(), io.StringIO()
    report.console = Console(file=screen, force_terminal=True, width=120)
    with report.task("train", total=4, done=1) as task:
        task.advance(2, "loss [red]0.5")
        report.note("hello [b]")
        with report.task("eval", total=1) as inner:
            inner.advance()
    shown = screen.getvalue()
    for part in ("train", "3/4", "loss [red]0.5", "hello [b]", "eval"):
        assert part in shown
    assert report._progress is None


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


def test_json_has_no_nan(capsys):
    print_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": ("x", None)})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": ["x", None]}
