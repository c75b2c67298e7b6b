"""The meshes and maps of many items of a prediction, where one bad item must not cost the others."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from stages.artifact import Artifact
from stages.core.maps import mesh_maps
from stages.errors import InputError
from stages.io.files import make_folder, write_file
from stages.io.maps import DEPTHS, encode_normals
from stages.io.meshes import build_mesh, export_name, write_meshes
from stages.photographs import Photographs, place_of, texture_from
from stages.progress import Report

__all__ = ["check_maps", "export_maps", "export_meshes", "mesh_choices"]

MESH_FIELDS = ("canonical_depth", "albedo", "canonical_image", "view")


def mesh_choices(request) -> dict:
    """What a request says about meshes: the arguments of check_choices and :func:`export_meshes`."""
    return {
        "formats": request.formats,
        "pose": request.pose,
        "texture": request.texture,
        "resolution": request.resolution,
        "triangles": request.triangles,
        "solid": request.solid,
    }


def export_meshes(
    prediction: Artifact,
    rows: Sequence[int],
    folder: Path,
    *,
    stems: Sequence[str],
    photographs: Photographs,
    report: Report,
    **choices,
) -> list[Path]:
    """Write these rows as :func:`stages.io.meshes.write_meshes` does; returns the paths.

    stems: of the files of every row of the prediction.
    photographs: where the texture "photo" is taken from. Warns of an item without a surface or photograph and goes on;
    raises InputError when no item has one.
    """
    if choices["texture"] == "photo" and rows:
        place_of(prediction, rows[0])  # what does not say where its items are says so of none

    def write(row: int, item: dict[str, np.ndarray], stem: str, fov: float) -> list[Path]:
        if choices["texture"] == "photo":
            item["photo_texture"] = texture_from(photographs, prediction, row)
        return write_meshes(item, folder, stem, fov=fov, **choices)

    return _each("meshes", prediction, rows, stems, write, report)


def export_maps(
    prediction: Artifact,
    rows: Sequence[int],
    folder: Path,
    *,
    stems: Sequence[str],
    depth: Sequence[str],
    normals: bool,
    pose: str,
    resolution: int | None,
    report: Report,
) -> list[Path]:
    """Write maps of these rows: the mesh of each as the camera sees it, at the resolution or the prediction's own.

    depth: names in :data:`stages.io.maps.DEPTHS`. Warns and raises as :func:`export_meshes` does.
    """

    def write(row: int, item: dict[str, np.ndarray], stem: str, fov: float) -> list[Path]:
        files = _draw_maps(item, stem, fov, depth=depth, normals=normals, pose=pose, resolution=resolution)
        make_folder(folder)
        return [write_file(folder / path, content) for path, content in files.items()]

    return _each("maps", prediction, rows, stems, write, report)


def check_maps(prediction: Artifact, rows: Sequence[int], *, stems: Sequence[str], **choices) -> None:
    """Raises what :func:`export_maps` will where it can draw none of these rows, before anything is written."""
    fault, fov = None, float(prediction.attrs["fov"])
    for row in rows:
        try:
            _draw_maps(_item(prediction, row), stems[row], fov, **choices)
            return
        except InputError as error:
            fault = fault or error
    if fault is not None:
        raise fault


def _draw_maps(
    item: dict[str, np.ndarray],
    stem: str,
    fov: float,
    *,
    depth: Sequence[str],
    normals: bool,
    pose: str,
    resolution: int | None,
) -> dict[str, bytes]:
    """The files of an item, by name."""
    mesh, _ = build_mesh(item, stem, pose=pose, resolution=resolution, fov=fov)
    distance, normal = mesh_maps(mesh, resolution or len(item["canonical_depth"]), fov)
    name, files = export_name(stem, pose=pose, resolution=resolution), {}
    for kind in depth:
        files |= DEPTHS[kind](distance.numpy(), name)
    return files | (encode_normals(normal.numpy(), name) if normals else {})


def _item(prediction: Artifact, row: int) -> dict[str, np.ndarray]:
    return {field: prediction[field][row] for field in MESH_FIELDS}


def _each(
    title: str,
    prediction: Artifact,
    rows: Sequence[int],
    stems: Sequence[str],
    write: Callable[[int, dict[str, np.ndarray], str, float], list[Path]],
    report: Report,
) -> list[Path]:
    fov, written, faults = float(prediction.attrs["fov"]), [], []
    with report.task(title, total=len(rows)) as task:
        for row in rows:
            try:
                written += write(row, _item(prediction, row), stems[row], fov)
            except InputError as error:
                faults.append(error)
                report.warn(f"{error.where}: {error.what}; skipped")
            task.advance()
    if faults and not written:
        raise faults[0]
    return written
