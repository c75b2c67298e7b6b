"""The documentation: the notebook runs, pages are in the site's menu, and links lead somewhere."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *(ROOT / "recipes").glob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def cells():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_the_notebook_is_one_and_was_run():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert {"cells", "metadata"} <= set(notebook)
    assert len({cell["id"] for cell in cells()}) == len(cells())
    for cell in cells():
        assert {"cell_type", "metadata", "source"} <= set(cell)
        assert ("outputs" in cell) == (cell["cell_type"] == "code")
    code = [cell for cell in cells() if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert all(cell["outputs"] for cell in code[1:])
    assert NOTEBOOK.stat().st_size < 400_000
    assert str(ROOT) not in NOTEBOOK.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    """And shows as many things as it did."""
    monkeypatch.chdir(tmp_path)
    fresh = cells()
    runpy.run_path(str(ROOT / "scripts" / "run_notebook.py"))["run_cells"](fresh)
    kinds = [
        [[output["output_type"] for output in cell.get("outputs", [])] for cell in some] for some in (fresh, cells())
    ]
    assert kinds[0] == kinds[1]
    assert {path.suffix for path in tmp_path.iterdir()} >= {".glb", ".obj"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """To a file of the repository and, in a page, to one of its headings."""
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.is_file(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


def anchors(page: Path) -> set[str]:
    """As GitHub and the site make them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_site_has_no_dead_link(tmp_path):
    pytest.importorskip("material", reason="the site needs the docs extra")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_page_is_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    missing = [page.name for page in (ROOT / "docs").glob("*.md") if f" {page.name}\n" not in menu]
    assert not missing, "add them to nav in mkdocs.yml"


def test_figures_are_small():
    for path in (ROOT / "docs" / "images").glob("method-*.png"):
        assert path.stat().st_size < 150_000


def test_meshes_are_called_what_their_command_calls_them():
    """Where a page shows an infer and its meshes, the texture that was chosen is in their names."""
    shown = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for options, lines in re.findall(r"^\$ sym3d infer (.*)\n((?:[^$`\n].*\n)*)", text, re.MULTILINE):
            texture = re.search(r"--texture (shaded|photo)", options)
            shown += [(texture and texture[1], stem) for stem in re.findall(r"/meshes/(.+)\.\w+", lines)]
    assert {texture for texture, _ in shown} == {None, "photo"}
    for texture, stem in shown:
        assert stem.partition("+")[2] == (texture or ""), stem
