"""The two documents of a page and the HTML around them: figures, causes, sources, names that try to break out."""

import base64
import hashlib
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.artifact import SCHEMAS, Field, make_provenance, write_artifact
from stages.errors import InputError, UsageError
from stages.pages import find_sources, page, read_items, read_overview, to_json
from stages.pages.items import CODES
from stages.progress import Silent
from stages.report import ReportRequest, run
from tests.pages.small_files import HOSTILE, SIZE, write_prediction, write_run, write_scores


@pytest.fixture
def result(tmp_path):
    prediction = write_prediction(tmp_path / "out" / "prediction.h5", HOSTILE)
    write_scores(tmp_path / "out" / "scores.h5", prediction, HOSTILE)
    write_run(tmp_path / "runs" / "one")
    return tmp_path


@pytest.fixture(autouse=True)
def _folder(tmp_path):
    (tmp_path / "out").mkdir()


def items_of(path, scores=(), most=500):
    return read_items(path, scores, most, Silent())


def column(items, key):
    index = [c["key"] for c in items["columns"]].index(key)
    return [item["figures"][index] for item in items["items"]]


# sources


def test_every_kind_of_input_is_found(result):
    out, runs = result / "out", result / "runs"
    everything = find_sources([runs / "one", out])
    assert everything == find_sources([runs, out / "prediction.h5", out / "scores.h5"])
    assert everything.checkpoints == (runs / "one" / "checkpoint.h5",)
    assert everything.prediction == out / "prediction.h5"
    assert everything.scores == (out / "scores.h5",)
    assert [path.name for path in everything.files()][-1] == "step-0000030.png"


def test_scores_bring_the_prediction_that_they_are_of(result):
    out = result / "out"
    assert find_sources([out / "scores.h5"]).prediction == out / "prediction.h5"
    write_prediction(out / "prediction.h5", ["another"])  # of the same name, but not what was judged
    (out / "scores.h5").rename(out / "moved.h5")
    assert find_sources([out / "moved.h5"]).prediction is None


def test_what_cannot_be_shown_is_refused(result, tmp_path):
    with pytest.raises(InputError, match="holds no checkpoint"):
        find_sources([tmp_path])
    assert find_sources([tmp_path], empty=True).files() == []
    with pytest.raises(InputError, match="does not exist"):
        find_sources([tmp_path / "nothing.h5"])
    arrays = {"encoder/a": np.zeros(1, np.float32), "mean": np.zeros(3, np.float32), "std": np.ones(3, np.float32)}
    attrs = {"width": 1.0, "size": 64, "accuracy": 0.5}
    write_artifact(tmp_path / "features.h5", "sym3d.features", arrays, provenance=make_provenance(), attrs=attrs)
    with pytest.raises(InputError, match=r"is a sym3d\.features file"):
        find_sources([tmp_path / "features.h5"])
    second = write_prediction(tmp_path / "second.h5", ["a"])
    with pytest.raises(UsageError, match="is a prediction already"):
        find_sources([result / "out", second])


# items


def test_figures_and_causes(result):
    items = items_of(result / "out" / "prediction.h5", [result / "out" / "scores.h5"])
    assert column(items, "misfit") == pytest.approx([0, 10 / 2.55, 20 / 2.55, 30 / 2.55], rel=1e-3)
    assert column(items, "yaw") == pytest.approx([np.degrees(-0.5)] * 4, rel=1e-3)
    assert column(items, "light") == [0, 0, 0, 0]
    assert column(items, "sure") == pytest.approx([50] * 4, rel=1e-3)
    assert column(items, "side") == [1, 2, 3, 4]
    assert column(items, "span")[0] == 0
    causes = {cause["label"]: cause for cause in items["causes"]}
    assert causes["worse than flat"]["items"] == [2, 3]
    assert causes["worse than flat"]["side"] == [3.5, 1.5]
    assert causes["picture not explained"]["items"] == [3]
    assert causes["flat shape"]["items"] == [0]
    assert causes["hollow shape"]["count"] == causes["dark picture"]["count"] == 0


def test_the_depth_grid_is_the_depth(tmp_path):
    depth = np.random.default_rng(0).uniform(0.95, 1.05, (2, SIZE, SIZE)).astype(np.float32)
    depth[0, 3, 4] = np.nan
    depth[1] = np.nan
    items = items_of(write_prediction(tmp_path / "p.h5", ["a", "b"], canonical_depth=depth))["items"]
    codes = np.frombuffer(base64.b64decode(items[0]["grid"]), "<u2").reshape(SIZE, SIZE)
    near, far = items[0]["range"]
    decoded = near + (codes.astype(float) - 1) / CODES * (far - near)
    solid = np.isfinite(depth[0])
    assert np.abs(decoded - depth[0])[solid].max() < (far - near) / CODES
    assert codes[3, 4] == 0
    assert (codes > 0).sum() == SIZE * SIZE - 1
    assert "grid" not in items[1], "an item without a surface says so"


def test_large_images_are_reduced(tmp_path):
    big = 160
    maps = {"canonical_depth": np.ones((1, big, big), np.float32), "depth": np.ones((1, big, big), np.float32)}
    maps |= {"valid": np.ones((1, big, big), bool), "shading": np.ones((1, big, big), np.float32)}
    maps |= {name: np.zeros((1, big, big, 3), np.uint8) for name in ("image", "reconstruction", "canonical_image")}
    maps |= {"albedo": np.ones((1, big, big, 3), np.float32), "confidence": np.ones((1, 2, big, big), np.float32)}
    assert items_of(write_prediction(tmp_path / "p.h5", ["a"], **maps))["items"][0]["size"] == [128, 128]


def test_the_worst_and_the_best_are_among_those_shown(tmp_path):
    names = [f"{i:02}" for i in range(40)]
    prediction = write_prediction(tmp_path / "p.h5", names)
    items = items_of(prediction, [write_scores(tmp_path / "s.h5", prediction, names)], most=12)
    shown = [item["row"] for item in items["items"]]
    assert len(shown) == 12
    assert items["total"] == 40
    assert {0, 1, 2, 37, 38, 39} <= set(shown)
    assert len(set(shown) & set(range(3, 37))) == 6
    everywhere = {cause["label"]: cause["count"] for cause in items["causes"]}
    assert everywhere["worse than flat"] == 38, "causes are counted over all items, shown or not"


def test_numbers_of_other_files_become_columns(tmp_path, monkeypatch):
    monkeypatch.setitem(SCHEMAS["sym3d.prediction"].fields, "reliability", Field("f4", ("N",), "from a later version"))
    reliability = np.float32([0.5, np.nan])
    prediction = write_prediction(tmp_path / "p.h5", ["a", "b"], reliability=reliability)
    scores = write_scores(tmp_path / "s.h5", prediction, ["b", "x"])
    items = items_of(prediction, [scores])
    assert column(items, "reliability") == [0.5, None]
    assert column(items, "side") == [None, 1], "scores are found by name"
    assert (
        items_of(prediction, [write_scores(tmp_path / "t.h5", prediction, ["x", "y"])])["columns"][0]["key"] != "side"
    )
    twice = items_of(prediction, [write_scores(tmp_path / "u.h5", prediction, ["b", "b", "a"])])
    assert column(twice, "side") == [3, None], "a name that stands there twice is nobody's"


@pytest.mark.parametrize(("metric", "worst"), [("mad", 9), ("convexity", 0)])
def test_more_scores_of_another_metric_than_are_shown(tmp_path, metric, worst):
    arrays = {"name": [f"{i}" for i in range(10)], metric: np.arange(10, dtype=np.float32)}
    write_artifact(tmp_path / "s.h5", "sym3d.scores", arrays, provenance=make_provenance(), attrs={"summary": {}})
    shown = [item["row"] for item in items_of(None, [tmp_path / "s.h5"], most=4)["items"]]
    assert len(shown) == 4
    assert worst in shown


def test_scores_alone_make_a_table(result):
    items = items_of(None, [result / "out" / "scores.h5"])
    assert [item["name"] for item in items["items"]] == HOSTILE
    assert items["pictures"] == []
    assert items_of(None)["items"] == []
    assert items_of(write_prediction(result / "empty.h5", []))["items"] == []


# overview


def test_curves_and_histograms(result):
    overview = read_overview(find_sources([result / "runs", result / "out"]))
    assert overview["title"] == "one, out"
    (run,) = overview["runs"]
    assert (run["name"], run["step"], run["steps"], run["recipe"]) == ("one", 30, 1000, "<b>")
    assert run["log"] == {"step": [10, 20, 30], "total": [0.1, 0.05, 0.033333], "side": [None, 1.5, None]}
    assert run["sheets"][0]["step"] == "30"
    side = overview["scores"][0]["histograms"][0]
    assert list(side["means"]) == ["model", "null-depth"]
    assert side["means"]["model"] == [2.5, pytest.approx(1.118), 4]
    assert sum(side["counts"]) == 4
    assert {"prediction.h5", "scores.h5", "checkpoint.h5"} == {link["name"] for link in overview["origin"]}


def test_a_long_log_is_averaged(tmp_path):
    log = read_overview(find_sources([write_run(tmp_path / "long", rows=2000)]))["runs"][0]["log"]
    assert len(log["step"]) == 400
    assert log["step"][:2] == [30, 80], "of 10 to 50, and of 60 to 100"


# html


class Scripts(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.policy, self.inside = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        assert not any(name.startswith("on") for name in attributes), "no handlers in the markup"
        assert "src" not in attributes
        self.inside = tag in ("script", "style")
        if self.inside:
            self.found.append([tag, attributes.get("type"), ""])
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]

    def handle_data(self, data):
        if self.inside:
            self.found[-1][2] += data

    def handle_endtag(self, tag):
        self.inside = False


def test_hostile_names_stay_inside_the_data(result):
    out = run(ReportRequest((result / "out", result / "runs"), result / "new" / "report.html")).path
    parsed = Scripts(out.read_text(encoding="utf-8"))
    assert [(tag, kind) for tag, kind, _ in parsed.found] == [
        ("style", None),
        ("script", "application/json"),
        ("script", "application/json"),
        ("script", None),
        ("script", None),
    ]
    assert [item["name"] for item in json.loads(parsed.found[2][2])["items"]] == HOSTILE
    for tag, kind, text in parsed.found:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert (f"'sha256-{digest}'" in parsed.policy) == (kind is None), tag
    assert parsed.policy.startswith("default-src 'none'; ")
    assert "unsafe" not in parsed.policy
    assert "connect-src" not in parsed.policy
    assert "connect-src 'self'" in Scripts(page(live=True)).policy


@given(st.text())
def test_json_in_a_script_comes_back(text):
    written = to_json({"name": text})
    assert "<" not in written
    assert written.isascii()
    assert json.loads(written) == {"name": text}


def test_numbers_that_are_none_are_refused():
    with pytest.raises(ValueError):
        to_json(float("nan"))
