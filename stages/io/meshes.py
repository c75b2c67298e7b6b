"""Items of a prediction as meshes: what can be chosen, the mesh itself, and the files of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stages.core.mesh import Mesh, grid_mesh
from stages.errors import InputError, UsageError
from stages.io.files import make_folder, write_file
from stages.io.mesh_formats import FORMATS
from stages.io.usdz import require_usd

__all__ = ["FORMATS", "POSES", "TEXTURES", "build_mesh", "check_choices", "export_name", "write_mesh", "write_meshes"]

POSES = ("canonical", "input")
RESOLUTIONS = (16, 512)
FEWEST_TRIANGLES = 100

# What a mesh is painted with: an item of a prediction → (H, W, 3) uint8 sRGB.
TEXTURES = {
    "albedo": lambda item: (np.nan_to_num(item["albedo"]).clip(0, 1) * 255 + 0.5).astype(np.uint8),
    "shaded": lambda item: np.array(item["canonical_image"], dtype=np.uint8),
    "photo": lambda item: np.array(item["photo_texture"], dtype=np.uint8),
}


def check_choices(
    formats: Sequence[str],
    *,
    pose: str = "canonical",
    texture: str = "albedo",
    resolution: int | None = None,
    triangles: int | None = None,
    solid: bool = False,
) -> None:
    """Raises UsageError that names the first impossible choice and what there is, MissingPartError for a format whose
    library is not installed."""
    asked = [("format", f, FORMATS) for f in formats] + [("pose", pose, POSES), ("texture", texture, TEXTURES)]
    for option, value, known in asked:
        if value not in known:
            raise UsageError(f"--{option} {value}", "there is no such choice", f"choose from {', '.join(known)}")
    low, high = RESOLUTIONS
    if resolution is not None and not low <= resolution <= high:
        raise UsageError(
            f"--resolution {resolution}", "no mesh is so coarse or so fine", f"choose from {low} to {high}"
        )
    if triangles is not None and triangles < FEWEST_TRIANGLES:
        raise UsageError(f"--triangles {triangles}", "that is too few", f"allow {FEWEST_TRIANGLES} or more")
    if "usdz" in formats:
        require_usd()


def export_name(
    stem: str,
    *,
    pose: str = "canonical",
    texture: str = "albedo",
    resolution: int | None = None,
    triangles: int | None = None,
    solid: bool = False,
) -> str:
    """The name, without suffix, that holds everything chosen otherwise than usual: "ann", "ann+input+r128+solid".

    No stem holds a plus (see files.safe_stem), so that no item's name is another item's name and choices.
    """
    marks = [
        pose if pose != "canonical" else "",
        texture if texture != "albedo" else "",
        f"r{resolution}" if resolution else "",
        f"t{triangles}" if triangles else "",
        "solid" if solid else "",
    ]
    return "+".join([stem, *filter(None, marks)])


def write_meshes(
    item: Mapping[str, np.ndarray], folder: Path, stem: str, *, formats: Sequence[str] = ("obj",), fov=10.0, **choices
) -> list[Path]:
    """Write one item of a prediction in each format; returns the paths, the mesh files first.

    stem: safe for a file name (see files.safe_stem); :func:`export_name` adds what was chosen. item, choices and fov
    as in :func:`build_mesh`.

    Every format holds the same vertices in metres (STL: millimetres): x right, y up, z towards the viewer, origin at
    the method's rotation centre. That is glTF's and three.js' frame and what Blender expects of GLB and OBJ.

    Raises UsageError on an unknown choice, InputError on arrays that make no mesh, OutputError when writing fails.
    """
    check_choices(formats, **choices)
    mesh, colours = build_mesh(item, stem, fov=fov, **choices)
    baked = choices.get("texture", "albedo") != "albedo"
    return write_mesh(mesh, colours, folder, export_name(stem, **choices), formats, baked=baked)


def write_mesh(
    mesh: Mesh, colours: np.ndarray, folder: Path, name: str, formats: Sequence[str], *, baked: bool
) -> list[Path]:
    """Write a mesh and its texture, (S, S, 3) uint8, in each format; returns the paths, the mesh files first.

    baked: the texture has its light in it. Raises OutputError when writing fails.
    """
    make_folder(folder)
    meshes, extras = [], []
    for kind in dict.fromkeys(formats):
        light = {"baked": baked} if kind == "glb" else {}  # the others have no word for it
        main, *others = FORMATS[kind](mesh, colours, name, **light).items()
        # The mesh last: once it is there, all that it refers to is there too.
        extras += [write_file(folder / path, content) for path, content in others]
        meshes.append(write_file(folder / main[0], main[1]))
    return meshes + extras


def build_mesh(
    item: Mapping[str, np.ndarray],
    name: str,
    *,
    pose: str = "canonical",
    texture: str = "albedo",
    resolution: int | None = None,
    triangles: int | None = None,
    solid: bool = False,
    fov: float = 10.0,
) -> tuple[Mesh, np.ndarray]:
    """The mesh of one item and its texture, (S, S, 3) uint8 sRGB.

    item: canonical_depth (H, W) float32 metres; by ``texture`` albedo (H, W, 3) float32 in [0, 1], canonical_image
    (H, W, 3) uint8 or photo_texture (S, S, 3) uint8; and view (6,) when ``pose`` is "input". resolution, triangles,
    solid: as in :func:`stages.core.mesh.grid_mesh`; the texture grows with the resolution. fov: degrees.

    Raises InputError, naming the item, when there is no surface in it.
    """
    view = torch.from_numpy(np.array(item["view"], dtype=np.float32)) if pose == "input" else None
    depth = torch.from_numpy(np.array(item["canonical_depth"], dtype=np.float32))
    try:
        mesh = grid_mesh(depth, view=view, fov=fov, resolution=resolution, triangles=triangles, solid=solid)
    except ValueError as error:
        raise InputError(name, str(error), "choose otherwise, or infer it again") from error
    if not len(mesh.faces) or not bool(mesh.vertices.isfinite().all()):
        raise InputError(
            name, "its depth and view hold no surface", "infer it again, with a model that has learned a shape"
        )
    colours = TEXTURES[texture](item)
    if resolution is not None and resolution > len(colours):
        colours = np.array(Image.fromarray(colours).resize((resolution, resolution), Image.Resampling.BICUBIC))
    return mesh, colours
