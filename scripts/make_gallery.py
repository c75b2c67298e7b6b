"""Draw what the shipped models `faces` and `cats` make of the reference implementation's demo pictures.

``python scripts/make_gallery.py unsup3d_demo.zip``, whenever one of these models changes, writes docs/gallery/*.jpg and
of docs/images/ relight.jpg, edit-photos.jpg, motions.jpg and photo-mesh.jpg. The other figures: scripts/make_figures.py
(the method), sym3d export --sheet (heldout.png, cars.png), sym3d edit on synthetic faces (edit.jpg), a browser
(report.jpg).
"""

import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stages import edit, infer, relight
from stages.artifact import Artifact, open_artifact
from stages.core.view import render_mesh, yaw_views
from stages.export import draw_sheet
from stages.io.meshes import build_mesh
from stages.io.pictures import contact_sheet
from stages.motions import MOTIONS
from stages.photographs import Photographs, open_photographs, texture_from
from stages.progress import Silent
from stages.scenes import make_canvas, usable_scenes

DOCS = Path(__file__).resolve().parents[1] / "docs"
DEMO = {"faces": ("human_face", "none"), "cats": ("cat_face", "0.85")}  # model → folder and crop
RELIT = {
    "faces": ("004_face.png", "005_face.png", "013_face.png"),
    "cats": ("001_cat.png", "005_cat.png", "013_cat.png"),
}
EDITED = {
    "faces": ("010_face.png", "014_face.png", "019_paint.png"),
    "cats": ("010_cat.png", "020_cat.png", "023_cat.png"),
}
BLENDED = ("005_face.png", "016_paint.png")
MOVING = ("cats", "001_cat.png")
CELL = 128  # pixels
YAWS = (-40, -20, 0, 20, 40)


def gallery(folder: Path) -> None:
    for kind in DEMO:
        with open_artifact(folder / kind / "prediction.h5") as prediction:
            sheet = Image.fromarray(draw_sheet(prediction, range(prediction.count), None))
        small = sheet.resize((sheet.width * 2 // 3, sheet.height * 2 // 3), Image.Resampling.LANCZOS)
        small.save(DOCS / "gallery" / f"{kind}.jpg", quality=80)


def relit(folder: Path) -> None:
    sheets = []
    for kind, names in RELIT.items():
        choices = {"sweep": True, "names": names, "video_formats": ("webp",), "size": CELL}
        request = relight.RelightRequest(folder / kind / "prediction.h5", folder / "relit" / kind, **choices)
        sheets.append(np.asarray(Image.open(relight.run(request).sheet)))
    save("relight", np.concatenate(sheets))


def edited(folder: Path) -> None:
    sheets = []
    for kind, names in EDITED.items():
        choices = {"frontal": True, "symmetric": True, "names": names, "video_formats": ("webp",), "size": CELL}
        request = edit.EditRequest(folder / kind / "prediction.h5", folder / "edited" / kind, **choices)
        sheets.append(np.asarray(Image.open(edit.run(request).sheet)))
    choices = {"names": BLENDED[:1], "towards": BLENDED[1], "video_formats": ("webp",), "size": CELL}
    request = edit.EditRequest(folder / "faces" / "prediction.h5", folder / "edited", **choices)
    strip = np.asarray(Image.open(edit.run(request).pictures[0]))
    above = np.concatenate(sheets, 1)
    spare = strip.shape[1] - above.shape[1]
    above = np.pad(above, ((0, 0), (spare // 2, spare - spare // 2), (0, 0)), constant_values=255)
    save("edit-photos", np.concatenate([above, strip]))


def motions(folder: Path) -> None:
    kind, name = MOVING
    with open_artifact(folder / kind / "prediction.h5") as prediction:
        _, scene = next(usable_scenes(prediction, [row_of(prediction, name)], Silent()))
    canvas = make_canvas(144)
    films = {motion: draw(scene, 12, canvas) for motion, draw in MOTIONS.items()}
    save("motions", contact_sheet([{title: film[at] for title, film in films.items()} for at in (0, 3, 8)], cell=144))


def meshes(folder: Path) -> None:
    lines = []
    for kind, names in RELIT.items():
        with (
            open_photographs(folder / DEMO[kind][0]) as source,
            open_artifact(folder / kind / "prediction.h5") as prediction,
        ):
            photographs = Photographs([source])
            for row in (row_of(prediction, name) for name in names[1:]):
                texture = texture_from(photographs, prediction, row)
                item = {"canonical_depth": prediction["canonical_depth"][row], "photo_texture": texture}
                mesh, colours = build_mesh(item, "mesh", texture="photo")
                colours = torch.from_numpy(colours).permute(2, 0, 1)[None].float() / 255
                drawn = render_mesh(mesh, colours, yaw_views(YAWS), size=180, background=(1, 1, 1))
                turned = (drawn * 255).round().byte().permute(0, 2, 3, 1).numpy()
                lines.append(
                    {"": prediction["image"][row]} | {f"{yaw}°": view for yaw, view in zip(YAWS, turned, strict=True)}
                )
    save("photo-mesh", contact_sheet(lines, cell=180))


def row_of(prediction: Artifact, name: str) -> int:
    return prediction.strings("name").index(name)


def save(name: str, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(DOCS / "images" / f"{name}.jpg", quality=85)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        zipfile.ZipFile(sys.argv[1]).extractall(folder)
        for kind, (photographs, crop) in DEMO.items():
            infer.run(infer.InferRequest(kind, (folder / photographs,), folder / kind, crop=crop))
        for draw in (gallery, relit, edited, motions, meshes):
            draw(folder)
            print(draw.__name__, flush=True)
