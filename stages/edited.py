"""Edited items as a ``sym3d.prediction`` file, so that whatever takes a prediction takes the result of an edit too."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from stages.artifact import Artifact, RowWriter, make_provenance, open_artifact
from stages.core.model import look
from stages.core.scene import Scene, lit, shading
from stages.errors import UsageError
from stages.io.files import file_stems
from stages.meshing import export_meshes
from stages.photographs import Photographs
from stages.predict import to_images
from stages.progress import Report

__all__ = ["edited_meshes", "edited_prediction"]

LIMITS = ("depth_min", "depth_max")
FIELDS = (
    *("name", "image", "canonical_depth", "depth", "valid", "albedo", "shading", "canonical_image"),
    *("reconstruction", "view", "light"),
)


@contextmanager
def edited_prediction(
    path: Path, source: Artifact, names: Sequence[str], change: str, report: Report
) -> Iterator[Callable[[str, int, Scene], None]]:
    """A file with an item for each name, replacing what is at ``path``; it is there at the end of the block.

    Yields ``put(name, row, scene)``: row is the item of ``source``, a prediction, that the scene was made from. What is
    not put goes to the skipped. The image of an item is what its scene looks like from its viewpoint: it has no
    photograph. Albedo above 1 is cut off, but not before it is shaded. Raises UsageError when ``path`` is that of
    ``source``, OutputError when writing fails.
    """
    if path.exists() and path.samefile(source.path):
        raise UsageError(path, "is the prediction to change", "name another output folder")
    kept = ("reliability",) if "reliability" in source else ()
    height, width = source["canonical_depth"].shape[1:]
    limits = tuple(float(source.attrs[key]) for key in LIMITS)
    place = {name: at for at, name in enumerate(names)}
    with RowWriter(
        path,
        "sym3d.prediction",
        count=len(names),
        dims={"H": height, "W": width},
        fields=(*FIELDS, *kept),
        provenance=make_provenance(recipe=f"change = {change}\n", parents=[source]),
        attrs={key: float(source.attrs[key]) for key in (*LIMITS, "fov")},
        overwrite=True,
        report=report,
    ) as writer:

        def put(name: str, row: int, scene: Scene) -> None:
            fields = {"name": [name], **_fields(scene, limits), **{field: source[field][row][None] for field in kept}}
            writer.write(place[name], fields)

        try:
            yield put
        except BaseException:
            writer.discard()
            raise
        for at in writer.pending().tolist():
            writer.drop(at, names[at], "what it is made from holds no surface")
        writer.finish()


def edited_meshes(path: Path, formats: Sequence[str], texture: str, report: Report) -> list[Path]:
    """The meshes of such a file, beside it, all named after their texture; returns their paths."""
    if not formats:
        return []
    mark = "+albedo" if texture == "albedo" else ""  # others are named anyway; an OBJ's is no picture of the edit
    with open_artifact(path, "sym3d.prediction", report) as edited:
        choices = {"formats": formats, "texture": texture, "photographs": Photographs([])}
        stems = [f"{stem}{mark}" for stem in file_stems(edited.strings("name"))]
        return export_meshes(edited, range(edited.count), path.parent, stems=stems, **choices, report=report)


def _fields(scene: Scene, limits: tuple[float, float]) -> dict[str, np.ndarray]:
    """What a prediction holds of an item, each with a first axis of one."""
    picture = lit(scene) * 2 - 1
    image, depth, valid = look(scene.depth[None], picture, scene.view[None], limits, fov=scene.fov)
    seen = to_images(image * valid[:, None])  # mid-grey where nothing is seen
    maps = {
        "canonical_depth": scene.depth[None],
        "depth": depth,
        "valid": valid,
        "albedo": scene.albedo.clamp(0, 1).permute(1, 2, 0)[None],
        "shading": shading(scene, scene.light[None]),
        "view": scene.view[None],
        "light": scene.light[None],
    }
    arrays = {name: value.numpy() for name, value in maps.items()}
    return arrays | {"image": seen, "reconstruction": seen, "canonical_image": to_images(picture)}
