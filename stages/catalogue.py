"""The models that come with sym3d, and their cards."""

from dataclasses import dataclass
from pathlib import Path

from stages.errors import UsageError
from stages.loading import load_model
from stages.shipped import shipped_models

__all__ = ["Model", "catalogue", "read_card"]


@dataclass(frozen=True)
class Model:
    """``about`` is the first line of its card."""

    name: str
    about: str
    size: int  # pixels that it takes
    parameters: int
    file_bytes: int
    path: Path


def catalogue() -> list[Model]:
    """All that ship, by name. Raises InputError when one is damaged."""
    return [_model(name, path) for name, path in shipped_models().items()]


def read_card(name: str) -> str:
    """The model card, Markdown. Raises UsageError when no model of this name ships."""
    models = shipped_models()
    if name not in models:
        raise UsageError(name, "no such model comes with sym3d", f"choose from {', '.join(models)}")
    return models[name].with_suffix(".md").read_text(encoding="utf-8")


def _model(name: str, path: Path) -> Model:
    model = load_model(path).model
    about = read_card(name).partition("\n")[0].removeprefix("#").partition(":")[2].strip()
    return Model(name, about, model.size, sum(p.numel() for p in model.parameters()), path.stat().st_size, path)
