"""sym3d bench: what it prints; how it measures is tested with the stage."""

import json
import sys

import pytest
from rich.text import Text

import stages.bench
from stages.bench import PARTS, BenchRequest, BenchResult, Growth, Row


@pytest.fixture
def measured(monkeypatch):
    """A result with the widest numbers there are, and the requests that asked for it."""
    asked = []
    row = Row("perceptual", "reference", 128, 1024, 123456.7, 1.0, 3, 123456.7, 0.01234, 1234.5, 1.234, 123456.7, 1.0)
    plain = Row("loader", "resident", 64, 64, 0.01234, 0.01, 9, 5e6, 1.0, None, None, None, 0.1)
    result = BenchResult(
        {"device": "cpu, 2 threads", "times": "medians"},
        {"float32": 140.4},
        (row, plain),
        (Growth("float32", 64, 16, 2400.0, 6.7, 1.0, 900.0), Growth("float32", 128, 16, 9700.0, 1.6, 4.04, None)),
    )

    def run(request, *, report):
        asked.append(request)
        return result

    monkeypatch.setattr(stages.bench, "run", run)
    return asked


def test_tables_for_scripts(sym3d, measured):
    shown = sym3d("bench")
    assert shown.exit_code == 0
    machine, rows, growth = (block.splitlines() for block in shown.stdout.split("\n\n"))
    assert machine[1:] == ["device\tcpu, 2 threads", "times\tmedians", "matmul float32\t140 GFLOP/s"]
    assert rows[0].split("\t") == ["part", "way", "px", "batch", "ms", "images/s", "ratio", "GFLOP", "peak", "MiB"]
    assert rows[1].split("\t")[4:] == ["123457", "123457", "0.0123", "1234", "123%", "123457"]
    assert rows[2].split("\t")[4:] == ["0.0123", "5000000", "1", "", "", ""]
    assert [line.split("\t")[-2:] for line in growth] == [["times", "MiB"], ["1", "900"], ["4.04", ""]]
    assert measured == [BenchRequest()]


def test_a_terminal_of_80_columns_is_wide_enough(sym3d, measured, monkeypatch, capsys):
    from sym3d_cli.app import app

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    app(["bench"], standalone_mode=False)
    lines = [Text.from_ansi(line).plain for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 80
    unfolded = "perceptual reference 128 1024 123457 123457 0.0123 1234 123% 123457"
    assert unfolded in [" ".join(line.split()) for line in lines]


def test_json(sym3d, measured):
    shown = json.loads(sym3d("bench", "--json").stdout)
    assert shown["rows"][1]["peak"] is None
    assert shown["growth"][1]["times"] == 4.04
    assert shown["matmul"] == {"float32": 140.4}


def test_lists_of_sizes_batches_and_parts(sym3d, measured):
    assert sym3d("bench", "--size", "64,256", "--batch", "8,32", "--part", "step,raster", "--width", 0.5).exit_code == 0
    assert measured == [BenchRequest((64, 256), (8, 32), 0.5, ("step", "raster"))]


def test_what_makes_no_sense_is_usage(refused):
    assert "choose from raster, networks" in refused(2, "bench", "--part", "paint")
    assert "choose from 64, 128, 256" in refused(2, "bench", "--size", "96")
    assert "whole numbers" in refused(2, "bench", "--size", "large")
    assert "whole numbers" in refused(2, "bench", "--batch", "0")
    assert "no such device" in refused(2, "bench", "--device", "abacus")


def test_the_help_names_every_part(sym3d):
    words = " ".join(sym3d("bench", "--help").stdout.replace("│", " ").split())
    assert ", ".join(PARTS) in words


def test_a_real_one(sym3d):
    shown = sym3d("bench", "--part", "loader", "--batch", 4)
    assert shown.exit_code == 0, shown.stderr
    assert "loader\tresident\t64\t4\t" in shown.stdout
    assert "bench 2/2" in shown.stderr
