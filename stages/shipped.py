"""Which models come with sym3d: a look into a folder, for those who cannot wait for torch."""

from pathlib import Path

__all__ = ["shipped_models"]


def shipped_models() -> dict[str, Path]:
    """Name → file of the checkpoints that come with sym3d."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "models").glob("*.h5"))}
