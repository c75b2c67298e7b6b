"""Hooks of MkDocs (mkdocs.yml): pages from outside docs/, and the notebook as a page.

The Markdown is written for whoever reads it in the repository. Here its links are turned from places in the repository
to places on the site.
"""

import json
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
MOVED = {"recipes/README.md": "shipped-recipes.md", "docs/notebook.ipynb": "notebook.md"}  # docs/recipes.md is there
OUTSIDE = ("recipes/README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE", "stages/pages/page/three.LICENSE")
LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")


def place(path: str) -> str:
    """Where a file of the repository lies on the site."""
    return MOVED.get(path) or path.removeprefix("docs/")


def on_files(files, config):
    """Add what pages link to outside docs/, and the notebook in place of its JSON."""
    results = [path for path in (ROOT / "results").rglob("*") if path.suffix in (".md", ".png")]
    for path in (*(ROOT / name for name in OUTSIDE), *sorted(results)):
        files.append(File.generated(config, place(path.relative_to(ROOT).as_posix()), abs_src_path=str(path)))
    notebook = files.get_file_from_path("notebook.ipynb")
    files.remove(notebook)
    files.append(File.generated(config, "notebook.md", content=notebook_page(json.loads(notebook.content_string))))
    return files


def on_page_markdown(markdown: str, page, config, files) -> str:
    """Links between files of the repository become links between pages."""
    uri = page.file.src_uri
    source = next((path for path, moved in MOVED.items() if moved == uri), None)
    source = source or (uri if (ROOT / uri).is_file() else f"docs/{uri}")

    def moved(link: re.Match) -> str:
        target = place(posixpath.normpath(posixpath.join(posixpath.dirname(source), link[2])))
        return link[1] + posixpath.relpath(target, posixpath.dirname(uri) or ".") + link[3]

    return LINK.sub(moved, markdown)


def notebook_page(notebook: dict) -> str:
    """Its cells and what they showed, as Markdown."""
    return "\n\n".join(part for cell in notebook["cells"] for part in _parts(cell))


def _parts(cell: dict) -> list[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    parts = [f"```python\n{source}\n```"]
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            parts.append(f"![{''.join(data['text/plain'])}](data:image/png;base64,{data['image/png']})")
        else:
            text = "".join(output.get("text") or data["text/plain"]).rstrip()
            parts.append(f"```text\n{text}\n```")
    return parts
