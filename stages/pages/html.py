"""One HTML file out of the page's parts and its data, under a policy that lets nothing else in."""

import base64
import functools
import hashlib
import json
import re
from pathlib import Path

__all__ = ["page", "to_json"]

PARTS = Path(__file__).parent / "page"
SCRIPTS = ("charts.js", "stage.js", "overview.js", "gallery.js", "viewer.js", "live.js")  # one after the other


def to_json(document: object) -> str:
    """JSON that is safe inside a script element: ASCII, and no ``<`` that could end it. Raises ValueError on NaN."""
    text = json.dumps(document, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def page(overview: str = "null", items: str = "null", *, live: bool = False) -> str:
    """The page with the two documents (of :func:`to_json`) in it, or, when ``live``, fetching them from its server.

    Its policy allows the inlined scripts and style by their hashes, pictures in data URLs, and, when live, requests to
    where the page came from; nothing from anywhere else.
    """
    css, three, scripts = _part("page.css"), _part("three.min.js"), "".join(map(_part, SCRIPTS))
    policy = [
        "default-src 'none'",
        f"script-src {_hash(three)} {_hash(scripts)}",
        f"style-src {_hash(css)}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        *(["connect-src 'self'"] if live else []),
    ]
    fill = {
        "policy": "; ".join(policy),
        "css": css,
        "three": three,
        "scripts": scripts,
        "overview": overview,
        "items": items,
        "live": "live" if live else "file",
    }
    # In one pass: what is filled in may itself hold braces.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: fill[match[1]], _part("page.html"))


@functools.cache
def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


@functools.cache
def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
