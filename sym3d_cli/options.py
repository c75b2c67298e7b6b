"""Options and arguments that two commands share, and the form of the examples in a command's help."""

import math
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stages.errors import UsageError

__all__ = [
    "Ambient",
    "AsJson",
    "Background",
    "Batch",
    "Beside",
    "Checkpoint",
    "Crop",
    "DepthMaps",
    "Device",
    "Diffuse",
    "Ema",
    "Light",
    "Looked",
    "Meshes",
    "ModelCrop",
    "MostItems",
    "NormalMap",
    "Only",
    "Overwrite",
    "Perturb",
    "PictureSize",
    "Pose",
    "Resolution",
    "Rows",
    "Settings",
    "Size",
    "Solid",
    "Split",
    "Texture",
    "Triangles",
    "VideoFormats",
    "Videos",
    "epilog",
    "lamp",
    "model_names",
    "names",
    "recipe_names",
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


def recipe_names() -> list[str]:
    """The recipes that come with sym3d, for a shell to complete."""
    from stages.recipe import shipped_recipes

    return list(shipped_recipes())


def model_names() -> list[str]:
    """The models that come with sym3d, for a shell to complete: it must not wait for torch."""
    from stages.shipped import shipped_models

    return list(shipped_models())


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
Ambient = Annotated[
    float | None, typer.Option("--ambient", min=0, max=4, help="Strength of the light from everywhere.")
]
Background = Annotated[
    str, typer.Option("--background", metavar="COLOUR", help="Behind the thing: a CSS colour's name or #rrggbb.")
]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Images per forward pass.")]
Checkpoint = Annotated[
    str,
    typer.Argument(help="A checkpoint, a run folder, or a model that comes with sym3d.", autocompletion=model_names),
]
Beside = Annotated[
    Path | None, typer.Option("-o", "--out", help="The folder to write into; left out: one beside the prediction.")
]
CROPS = (
    "What to cut out of a photograph: center, face, cat (found by a detector), none (squeeze the whole image), or a "
    "number from 0.01 to 1: that fraction of the centre square. cat:0.9:0.1 is the detector's square times 0.9, moved "
    "down by 0.1 of its side"
)
Crop = Annotated[str, typer.Option("--crop", help=f"{CROPS}.")]
DepthMaps = Annotated[
    str,
    typer.Option(
        metavar="KINDS",
        help="Maps of depth, separated by commas: png16 (1/50000 m, 0 where there is nothing), exr, npy (metres).",
    ),
]
Device = Annotated[str | None, typer.Option("--device", help="cpu or cuda; left out: cuda when there is one.")]
Diffuse = Annotated[float | None, typer.Option("--diffuse", min=0, max=4, help="Strength of the lamp.")]
Ema = Annotated[bool, typer.Option(help="Use the averaged weights where the checkpoint has them.")]
Light = Annotated[
    str | None,
    typer.Option(
        "--light",
        metavar="X,Y",
        help="Where the lamp stands: X to the right and Y up for each unit in front of the frontal view; 1,0 is "
        "45° from the right.",
    ),
]
Looked = Annotated[
    list[Path],
    typer.Argument(help="Run folders, predictions, scores, or folders with these; several kinds go on one page."),
]
Meshes = Annotated[
    str,
    typer.Option(
        metavar="FORMATS",
        help="Meshes to write, separated by commas: obj, glb, ply, stl (millimetres), usdz, or points (a PLY of "
        "points and their colours).",
    ),
]
ModelCrop = Annotated[str | None, typer.Option("--crop", help=f"{CROPS}; left out: as the model was trained.")]
MostItems = Annotated[
    int,
    typer.Option("--items", min=1, help="Show at most so many items: the worst, the best, an even pick of the others."),
]
Only = Annotated[list[str] | None, typer.Option("--only", help="Only the item of this name; may be repeated.")]
NormalMap = Annotated[
    bool, typer.Option("--normals", help="Write a map of normals: red right, green up, blue towards you.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Start over, replacing what an earlier run with other settings left.")
]
Perturb = Annotated[
    bool, typer.Option("--perturb", help="Stick a random rectangle on each image, as the paper's robustness test does.")
]
PictureSize = Annotated[int, typer.Option("--size", help="Side of pictures and videos in pixels: 16 to 2048.")]
Pose = Annotated[_Pose, typer.Option(help="Viewpoint of the meshes: facing you, or as in the input.")]
Resolution = Annotated[
    int | None,
    typer.Option(help="Vertices along each side of a mesh, 16 to 512; left out: one for each pixel of the prediction."),
]
Rows = Annotated[list[int] | None, typer.Option("--row", help="Only this row; may be repeated.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="KEY=VALUE", help="Change a value of the recipe; an empty one is left out."),
]
Size = Annotated[int, typer.Option("--size", help="Side of the square images in pixels: 64, 128 or 256.")]
Split = Annotated[_Split, typer.Option(help="Which images of a sym3d.images file.")]
Solid = Annotated[
    bool, typer.Option("--solid", help="Close meshes with a flat back, 5 mm behind the deepest point: for 3D printing.")
]
Texture = Annotated[
    _Texture,
    typer.Option(
        help="Paint meshes with their own colour, with the input's light, or (videos too) with the photograph."
    ),
]
Triangles = Annotated[
    int | None, typer.Option(help="At most so many triangles in a mesh, 100 or more: flat parts lose theirs first.")
]
VideoFormats = Annotated[
    str,
    typer.Option("--video-format", metavar="FORMATS", help="mp4, gif, webp, png (frames), separated by commas."),
]
Videos = Annotated[
    str,
    typer.Option(
        "--video",
        metavar="MOTIONS",
        help="Videos of each item, separated by commas: swing, turntable, frontal, wireframe, normals, light.",
    ),
]


def names(text: str | None) -> tuple[str, ...]:
    """Split a comma-separated option such as ``obj,glb``; what is named twice counts once."""
    return tuple(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))


def epilog(examples: Sequence[str]) -> str:
    """The end of a command's help: its examples, one a line."""
    return "\n\n".join(["Examples:", *(f"  $ {example}" for example in examples)])


def lamp(text: str | None) -> tuple[float, float] | None:
    """The two numbers of ``--light``. Raises UsageError when they are no place for a lamp."""
    if text is None:
        return None
    try:
        x, y = map(float, text.split(","))
    except ValueError:
        x = y = math.nan
    if not max(abs(x), abs(y)) <= 100:
        raise UsageError(f"--light {text}", "is no place for a lamp", "give two numbers up to 100, such as -1,0.5")
    return x, y
