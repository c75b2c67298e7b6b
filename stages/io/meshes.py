"""Reconstructions as files that modelling programs open: OBJ with its material and texture, GLB, PLY."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial, SimpleMaterial

from stages.core.mesh import Mesh, grid_mesh
from stages.errors import InputError, UsageError
from stages.io.files import make_folder, write_file

__all__ = ["FORMATS", "POSES", "TEXTURES", "build_mesh", "check_choices", "write_meshes"]

FORMATS = ("obj", "glb", "ply")
POSES = ("canonical", "input")
TEXTURES = ("albedo", "shaded", "photo")


def check_choices(formats: Sequence[str], pose: str, texture: str) -> None:
    """Raises UsageError that names the first unknown format, pose or texture and what there is."""
    asked = [("format", f, FORMATS) for f in formats] + [("pose", pose, POSES), ("texture", texture, TEXTURES)]
    for option, value, known in asked:
        if value not in known:
            raise UsageError(f"--{option} {value}", "there is no such choice", f"choose from {', '.join(known)}")


def write_meshes(
    item: Mapping[str, np.ndarray],
    folder: Path,
    stem: str,
    *,
    formats: Sequence[str] = ("obj",),
    pose: str = "canonical",
    texture: str = "albedo",
    fov: float = 10.0,
) -> list[Path]:
    """Write one item of a prediction as ``folder/stem.<format>``; returns the paths, the mesh files first.

    item: canonical_depth (H, W) float32 metres; by ``texture`` albedo (H, W, 3) float32 in [0, 1], canonical_image
    (H, W, 3) uint8 or photo_texture (S, S, 3) uint8; and view (6,) when ``pose`` is "input". stem: safe for a file name
    (see files.safe_stem). fov: degrees.

    Every format holds the same vertices in metres: x right, y up, z towards the viewer, origin at the method's
    rotation centre. That is glTF's and three.js' frame and what Blender expects of GLB and OBJ. OBJ brings stem.mtl
    and stem.png; GLB holds its texture; PLY has a colour per vertex, which at one vertex per pixel loses only a
    photograph's detail.

    Raises UsageError on an unknown choice, InputError on arrays that make no mesh, OutputError when writing fails.
    """
    check_choices(formats, pose, texture)
    mesh, colours = build_mesh(item, stem, pose=pose, texture=texture, fov=fov)
    make_folder(folder)
    encode = {"obj": _obj, "glb": _glb, "ply": _ply}
    meshes, extras = [], []
    for name in dict.fromkeys(formats):
        main, *others = encode[name](mesh, colours, stem).items()
        # The mesh last: once it is there, all that it refers to is there too.
        extras += [write_file(folder / path, content) for path, content in others]
        meshes.append(write_file(folder / main[0], main[1]))
    return meshes + extras


def build_mesh(
    item: Mapping[str, np.ndarray], name: str, *, pose: str = "canonical", texture: str = "albedo", fov: float = 10.0
) -> tuple[Mesh, np.ndarray]:
    """The mesh of one item and its texture, (H, W, 3) uint8 sRGB. Raises InputError, naming the item, when there is
    no surface in it."""
    view = torch.from_numpy(np.array(item["view"], dtype=np.float32)) if pose == "input" else None
    try:
        mesh = grid_mesh(torch.from_numpy(np.array(item["canonical_depth"], dtype=np.float32)), view=view, fov=fov)
    except ValueError as error:
        raise InputError(name, str(error), "infer it again") from error
    if not len(mesh.faces) or not bool(mesh.vertices.isfinite().all()):
        raise InputError(
            name, "its depth and view hold no surface", "infer it again, with a model that has learned a shape"
        )
    if texture == "photo":
        return mesh, np.array(item["photo_texture"], dtype=np.uint8)
    if texture == "shaded":
        return mesh, np.array(item["canonical_image"], dtype=np.uint8)
    return mesh, (np.nan_to_num(item["albedo"]).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _trimesh(mesh: Mesh, visual) -> trimesh.Trimesh:
    return trimesh.Trimesh(
        vertices=mesh.vertices.numpy(),
        faces=mesh.faces.numpy(),
        vertex_normals=mesh.normals.numpy(),
        visual=visual,
        process=False,  # it would merge and reorder vertices
    )


def _textured(mesh: Mesh, material) -> trimesh.Trimesh:
    return _trimesh(mesh, trimesh.visual.TextureVisuals(uv=mesh.uv.numpy(), material=material))


def _obj(mesh: Mesh, colours: np.ndarray, stem: str) -> dict[str, bytes]:
    # The name of the material names the texture's file too: without it every export in a folder would write
    # material_0.png.
    white = [255, 255, 255, 255]
    material = SimpleMaterial(
        image=Image.fromarray(colours), diffuse=white, ambient=white, specular=[0, 0, 0, 255], name=stem, glossiness=0.0
    )
    text, files = trimesh.exchange.obj.export_obj(
        _textured(mesh, material), include_normals=True, return_texture=True, mtl_name=f"{stem}.mtl", header=None
    )
    return {f"{stem}.obj": text.encode("ascii"), **files}


def _glb(mesh: Mesh, colours: np.ndarray, stem: str) -> dict[str, bytes]:
    material = PBRMaterial(
        baseColorTexture=Image.fromarray(colours), metallicFactor=0.0, roughnessFactor=1.0, doubleSided=True, name=stem
    )
    scene = trimesh.Scene()
    scene.add_geometry(_textured(mesh, material), geom_name=stem, node_name=stem)
    return {f"{stem}.glb": trimesh.exchange.gltf.export_glb(scene, include_normals=True)}


def _ply(mesh: Mesh, colours: np.ndarray, stem: str) -> dict[str, bytes]:
    height, width = colours.shape[:2]
    column = (mesh.uv[:, 0] * width - 0.5).round().long().numpy()
    row = ((1 - mesh.uv[:, 1]) * height - 0.5).round().long().numpy()
    visual = trimesh.visual.ColorVisuals(vertex_colors=colours[row, column])
    return {f"{stem}.ply": trimesh.exchange.ply.export_ply(_trimesh(mesh, visual), vertex_normal=True)}
