"""The table of failures: graded sets drawn and judged once, errors by level, and what reliability is worth."""

import json
from pathlib import Path

import numpy as np
import pytest

from stages.artifact import file_sha256, open_artifact
from stages.errors import InputError, UsageError
from stages.reproduce import ReproduceRequest, failures, run
from stages.reproduce.failures import SETS, _markdown, _trust
from tests.stages.small import write_checkpoint, write_data
from tests.stages.tiny_face import tiny_arrays, write_model

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Two levels of two images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(failures, "EACH", 2)
    monkeypatch.setattr(failures, "LEVELS", 2)
    monkeypatch.setattr(failures, "SETS", tuple(key for key in SETS if key[1] < 2))
    return tmp_path


def test_a_checkpoint_is_judged_and_not_judged_again(tiny):
    write_checkpoint(tiny / "runs/mine/checkpoint.h5")
    request = ReproduceRequest("failures", checkpoint="runs/mine")
    result = run(request)
    assert [line.cells()[0] for line in result.lines] == [
        f"{f} {level}" for f in ("light", "noise", "pose") for level in (0, 1)
    ]
    assert all(line.side.mean > 0 and line.images == 2 and 0 <= line.reliability.mean <= 1 for line in result.lines)
    assert len(result.head) == len(result.lines[0].cells())
    ends = [".md", ".png", "-faces.png", ".json"]
    assert [str(path) for path in result.files] == [f"results/failures-mine{end}" for end in ends]
    text = Path("results/failures-mine.md").read_text()
    assert "- command: sym3d reproduce failures --checkpoint mine" in text
    assert "| ordinary pictures |" in text
    assert "- faces: procedural\n" in text
    data = json.loads(Path("results/failures-mine.json").read_text())
    assert data["levels"][0]["side"]["mean"] == result.lines[0].side.mean
    assert len(data["reliability"]) == 10

    made = sorted(Path("runs/failures-64").rglob("*.h5"))
    assert len(made) == 12
    before = [path.stat().st_mtime_ns for path in made]
    assert run(request).lines == result.lines
    assert [path.stat().st_mtime_ns for path in made] == before, "what was complete was done again"


def test_facts_hold_any_name():
    """Of a file, whose bytes need be no text."""
    text = _markdown("x", [], [], {"faces": "a\nb\udce9.h5"})
    assert text.encode().endswith(rb"- faces: a\nb\xe9.h5" + b"\n")


def test_on_faces_of_a_morphable_model(tiny):
    write_checkpoint(tiny / "runs/mine/checkpoint.h5")
    model = write_model(tiny / "my model.h5", tiny_arrays())
    request = ReproduceRequest("failures", checkpoint="runs/mine", morphable=model)
    result = run(request)
    text = result.files[0].read_text()
    digest = file_sha256(model)
    assert result.files[0].name.startswith("failures-mine-my_model")
    assert "- command: sym3d reproduce failures --checkpoint mine --morphable my model.h5" in text
    assert f"- faces: my model.h5, digest {digest[:12]}" in text

    folder = Path(f"runs/failures-64-{digest[:6]}")
    with open_artifact(folder / "noise-1.h5", "sym3d.images") as images:
        assert images.provenance["parents"] == [{"name": "my model.h5", "digest": digest}]
    made = sorted(folder.rglob("*.h5"))
    assert len(made) == 12
    before = [path.stat().st_mtime_ns for path in made]
    assert run(request).lines == result.lines
    assert [path.stat().st_mtime_ns for path in made] == before, "what was complete was done again"

    arrays = tiny_arrays()
    arrays["shape/model/pcaVariance"][0] *= 4
    write_model(model, arrays)
    assert run(request).lines != result.lines, "another face model has sets of its own"


@pytest.mark.slow
def test_its_own_models_are_trained_first(tiny, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    write_data(tiny / "faces.h5", count=20)
    model = write_model(tiny / "model.h5", tiny_arrays())
    result = run(ReproduceRequest("failures", Path("faces.h5"), quick=True, seeds=2, steps=1, morphable=model))
    assert result.lines[0].side.over_seeds > 0
    assert result.files[0] == Path("results/failures-quick-model.md")
    text = result.files[0].read_text()
    assert "- command: sym3d reproduce failures faces.h5 --morphable model.h5 --quick --steps 1 --seeds 2" in text


def test_trust_is_the_mean_over_models():
    error = np.arange(1, 21, dtype=np.float32)
    knows = {("light", 0): {"side": error, "reliability": -error}}
    errs = {("light", 0): {"side": error, "reliability": error}}
    line = _trust("x", [("light", 0)], "side", [knows, errs])
    assert line.spearman == pytest.approx(0)
    assert line.risk[0] == pytest.approx(10.5)
    assert line.risk[-1] == line.least_risk[-1] == pytest.approx(10.5)
    assert line.least_risk[0] == 1
    assert line.aurc == pytest.approx(10.5)


def test_what_makes_no_sense_is_refused(tiny):
    with pytest.raises(UsageError, match="--checkpoint: the table baselines trains its own models; leave it out"):
        run(ReproduceRequest("baselines", Path("faces.h5"), checkpoint="synfaces"))
    with pytest.raises(UsageError, match="--morphable: the table seeds draws no faces; name data made from it"):
        run(ReproduceRequest("seeds", Path("faces.h5"), morphable=Path("model.h5")))
    with pytest.raises(InputError, match=r"model.h5: does not exist"):
        run(ReproduceRequest("failures", Path("faces.h5"), morphable=Path("model.h5")))
    with pytest.raises(UsageError, match="failures: has nothing to learn from; name a"):
        run(ReproduceRequest("failures"))
