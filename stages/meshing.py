"""The meshes of many items of a prediction, where one bad item must not cost the others."""

from collections.abc import Sequence
from pathlib import Path

from stages.artifact import Artifact
from stages.errors import InputError
from stages.io.files import file_stems
from stages.io.meshes import write_meshes
from stages.photographs import Photographs, texture_from
from stages.progress import Report

__all__ = ["MESH_FIELDS", "export_meshes"]

MESH_FIELDS = ("canonical_depth", "albedo", "canonical_image", "view")


def export_meshes(
    prediction: Artifact,
    rows: Sequence[int],
    folder: Path,
    *,
    formats: Sequence[str],
    pose: str,
    texture: str,
    photographs: Photographs,
    report: Report,
) -> list[Path]:
    """Write these rows as :func:`stages.io.meshes.write_meshes` does, ``folder/<item>.<format>``; returns the paths.

    photographs: where the ``texture`` "photo" is taken from. Warns of an item without a surface or photograph and goes
    on; raises InputError when no item has one.
    """
    stems, fov, written, faults = file_stems(prediction.strings("name")), float(prediction.attrs["fov"]), [], []
    with report.task("meshes", total=len(rows)) as task:
        for row in rows:
            item = {field: prediction[field][row] for field in MESH_FIELDS}
            try:
                if texture == "photo":
                    item["photo_texture"] = texture_from(photographs, prediction, row)
                written += write_meshes(item, folder, stems[row], formats=formats, pose=pose, texture=texture, fov=fov)
            except InputError as error:
                faults.append(error)
                report.warn(f"{error.where}: {error.what}; skipped")
            task.advance()
    if faults and not written:
        raise faults[0]
    return written
