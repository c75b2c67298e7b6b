"""`sym3d report` and `view`: what they print, and how they refuse."""

from tests.pages.small_files import write_prediction, write_run, write_scores


def test_report_prints_where_it_is(sym3d, tmp_path):
    prediction = write_prediction(tmp_path / "p.h5", ["a", "b", "c"])
    write_scores(tmp_path / "s.h5", prediction, ["a", "b", "c"])
    done = sym3d("report", write_run(tmp_path / "run"), "p.h5", "s.h5", "-o", "new/out.html", "--items", 2)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "new/out.html\n"
    assert "2 of 3 items, " in done.stderr
    assert (tmp_path / "new" / "out.html").read_bytes().startswith(b"<!doctype html>")


def test_what_cannot_be_shown_is_refused(refused, tmp_path):
    assert "does not exist" in refused(3, "report", "no.h5", "-o", "out.html")
    assert "holds no checkpoint.h5" in refused(3, "report", tmp_path, "-o", "out.html")
    assert "does not exist" in refused(3, "view", "no.h5")
    for name in ("a.h5", "b.h5"):
        write_prediction(tmp_path / name, ["x"])
    assert "is a prediction already" in refused(2, "report", "a.h5", "b.h5", "-o", "out.html")
    (tmp_path / "file").touch()
    assert "could not be written" in refused(6, "-q", "report", "a.h5", "-o", "file/out.html")
    assert not (tmp_path / "out.html").exists()
