"""Factors as pictures, and pictures in a labelled grid: the contact sheets."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from stages.core.geometry import depth_normals
from stages.core.view import render_mesh, yaw_views
from stages.io.files import make_folder, write_file
from stages.io.meshes import build_mesh

__all__ = [
    "NOVEL_YAWS",
    "SHEET_FIELDS",
    "colour_confidence",
    "colour_depth",
    "colour_normals",
    "colour_shading",
    "contact_sheet",
    "item_pictures",
    "novel_views",
    "write_png",
]

NOVEL_YAWS = (-30.0, 0.0, 30.0)
SHEET_FIELDS = (  # of an item, that its row of a contact sheet shows
    *("image", "reconstruction", "albedo", "shading", "canonical_depth", "canonical_image", "view"),
    *("depth", "valid"),
)
PAPER, INK = (255, 255, 255), (40, 40, 40)


def colour_depth(
    depth: np.ndarray, visible: np.ndarray | None = None, *, near: float = 0.9, far: float = 1.1
) -> np.ndarray:
    """(H, W) metres → (H, W, 3) uint8: near light, far dark, blue-grey where nothing is ``visible``."""
    grey = _byte((far - depth) / (far - near))
    picture = np.repeat(grey[..., None], 3, axis=-1)
    if visible is not None:
        picture[~visible] = (70, 80, 110)
    return picture


def colour_normals(depth: np.ndarray, fov: float = 10.0) -> np.ndarray:
    """(H, W) metres → (H, W, 3) uint8 of the outward normals: red right, green up, blue towards the viewer."""
    normal = depth_normals(torch.from_numpy(np.array(depth, dtype=np.float32))[None], fov)[0].numpy()
    # The method's normals point away from the camera in a frame with y down: outward and y up is (-x, y, z).
    return _byte(normal * (-0.5, 0.5, 0.5) + 0.5)


def colour_shading(shading: np.ndarray) -> np.ndarray:
    """(H, W) shading factor → (H, W, 3) uint8 grey; 1 (the albedo as it is) and above is white."""
    return np.repeat(_byte(shading)[..., None], 3, axis=-1)


def colour_confidence(sigma: np.ndarray) -> np.ndarray:
    """(H, W) scale σ of the confidence loss → (H, W, 3) uint8 grey: light where the model is sure, exp(-σ)."""
    return np.repeat(_byte(np.exp(-sigma))[..., None], 3, axis=-1)


def novel_views(
    item: Mapping[str, np.ndarray], name: str, yaws: Sequence[float] = NOVEL_YAWS, *, size: int = 192, fov: float = 10.0
) -> np.ndarray:
    """(len(yaws), size, size, 3) uint8 renderings of one prediction item, lit as in the input; the light turns along.

    yaws: degrees, positive to the picture's right. Raises InputError when the item holds no surface.
    """
    mesh, colours = build_mesh(item, name, texture="shaded", fov=fov)
    texture = torch.from_numpy(colours).permute(2, 0, 1)[None].float() / 255
    pictures = render_mesh(mesh, texture, yaw_views(yaws), size=size)
    return _byte(pictures.permute(0, 2, 3, 1).numpy())


def item_pictures(
    item: Mapping[str, np.ndarray],
    name: str,
    *,
    depth_range: tuple[float, float] = (0.9, 1.1),
    fov: float = 10.0,
    truth: np.ndarray | None = None,
    size: int = 192,
) -> dict[str, np.ndarray]:
    """One row of the contact sheet, column title → (·, ·, 3) uint8.

    item: SHEET_FIELDS of one row of a sym3d.prediction; truth: (H, W) metres in the input view, 0 on the background;
    None leaves its column out.
    """
    near, far = depth_range
    views = novel_views(item, name, size=size, fov=fov)
    row = {
        "input": item["image"],
        "reconstruction": item["reconstruction"],
        "albedo": _byte(item["albedo"]),
        "shading": colour_shading(item["shading"]),
        "canonical depth": colour_depth(item["canonical_depth"], near=near, far=far),
        "normals": colour_normals(item["canonical_depth"], fov),
        "depth in view": colour_depth(item["depth"], item["valid"], near=near, far=far),
    }
    if truth is not None:
        row["true depth"] = colour_depth(truth, truth > 0, near=near, far=far)
    return row | {f"view {yaw:+g}°" if yaw else "view 0°": view for yaw, view in zip(NOVEL_YAWS, views, strict=True)}


def contact_sheet(
    rows: Sequence[Mapping[str, np.ndarray]], labels: Sequence[str] | None = None, *, cell: int = 128
) -> np.ndarray:
    """A white sheet, (·, ·, 3) uint8, with one line of pictures per row under the titles of their columns.

    rows: column title → (H, W, 3) uint8; columns are those of any row, a row without one leaves it empty. labels: a
    line of text over each row. cell: side of a picture on the sheet in pixels.
    """
    titles = list(dict.fromkeys(title for row in rows for title in row))
    gap, head, line = 6, 24, 20 if labels else 0
    sheet = Image.new("RGB", (gap + (cell + gap) * len(titles), head + (cell + gap + line) * len(rows)), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, title in enumerate(titles):
        middle = gap + column * (cell + gap) + cell // 2
        draw.text((middle, head // 2), title, fill=INK, font=font, anchor="mm")
    for index, row in enumerate(rows):
        top = head + index * (cell + gap + line)
        if labels:
            draw.text((gap, top + line // 2), _one_line(labels[index]), fill=INK, font=font, anchor="lm")
        for column, title in enumerate(titles):
            if title in row:
                sheet.paste(_fit(row[title], cell), (gap + column * (cell + gap), top + line))
    return np.asarray(sheet)


def write_png(path: Path, picture: np.ndarray) -> Path:
    """picture: (H, W, 3) uint8, or 4 with opacity. Raises OutputError when writing fails."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    make_folder(path.parent)
    return write_file(path, stream.getvalue())


def _fit(picture: np.ndarray, cell: int) -> Image.Image:
    """Small pictures grow smoothly, large ones shrink with antialias."""
    small = max(picture.shape[:2]) <= cell
    return Image.fromarray(picture).resize(
        (cell, cell), Image.Resampling.BICUBIC if small else Image.Resampling.LANCZOS
    )


def _one_line(text: str, longest: int = 120) -> str:
    printable = "".join(letter if letter.isprintable() else "�" for letter in text)
    return printable if len(printable) <= longest else printable[: longest - 1] + "…"


def _byte(values: np.ndarray) -> np.ndarray:
    """[0, 1] → uint8, out-of-range clipped, NaN black."""
    return (np.nan_to_num(values).clip(0, 1) * 255 + 0.5).astype(np.uint8)
