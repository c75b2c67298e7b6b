"""Options and arguments that two commands share, and the form of the examples in a command's help."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "AsJson",
    "Batch",
    "Crop",
    "Device",
    "Ema",
    "Looked",
    "Meshes",
    "ModelCrop",
    "MostItems",
    "Overwrite",
    "Perturb",
    "Pose",
    "Settings",
    "Size",
    "Split",
    "Texture",
    "epilog",
    "names",
]


class _Pose(StrEnum):
    canonical = "canonical"
    input = "input"


class _Texture(StrEnum):
    albedo = "albedo"
    shaded = "shaded"
    photo = "photo"


class _Split(StrEnum):
    all = "all"
    train = "train"
    val = "val"
    test = "test"


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Images per forward pass.")]
CROPS = (
    "What to cut out of a photograph: center, face, cat (found by a detector), none (squeeze the whole image), or a "
    "number in (0, 1]: that fraction of the centre square. cat:0.9:0.1 is the detector's square times 0.9, moved down "
    "by 0.1 of its side"
)
Crop = Annotated[str, typer.Option("--crop", help=f"{CROPS}.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu or cuda; left out: cuda when there is one.")]
Ema = Annotated[bool, typer.Option(help="Use the averaged weights where the checkpoint has them.")]
Looked = Annotated[
    list[Path],
    typer.Argument(help="Run folders, predictions, scores, or folders with these; several kinds go on one page."),
]
Meshes = Annotated[
    str, typer.Option(metavar="FORMATS", help="Textured meshes to write: obj, glb, ply, separated by commas.")
]
ModelCrop = Annotated[str | None, typer.Option("--crop", help=f"{CROPS}; left out: as the model was trained.")]
MostItems = Annotated[
    int,
    typer.Option("--items", min=1, help="Show at most so many items: the worst, the best, an even pick of the others."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Start over, replacing what an earlier run with other settings left.")
]
Perturb = Annotated[
    bool, typer.Option("--perturb", help="Stick a random rectangle on each image, as the paper's robustness test does.")
]
Pose = Annotated[_Pose, typer.Option(help="Viewpoint of the meshes: facing you, or as in the input.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="KEY=VALUE", help="Change a value of the recipe; may be repeated."),
]
Size = Annotated[int, typer.Option("--size", help="Side of the square images in pixels: 64, 128 or 256.")]


Split = Annotated[_Split, typer.Option(help="Which images of a sym3d.images file.")]
Texture = Annotated[
    _Texture,
    typer.Option(help="Paint meshes with their own colour, with the input's light, or with the photograph."),
]


def names(text: str | None) -> tuple[str, ...]:
    """Split a comma-separated option such as ``obj,glb``."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def epilog(examples: Sequence[str]) -> str:
    """The end of a command's help: its examples, one a line."""
    return "\n\n".join(["Examples:", *(f"  $ {example}" for example in examples)])
