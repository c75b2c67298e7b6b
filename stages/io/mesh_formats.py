"""One mesh in the formats of other programs: each function gives file names and contents, the main file first."""

from functools import partial

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import grid_sample

from stages.core.mesh import Mesh
from stages.interrupt import interrupts_later
from stages.io.usdz import usdz

with interrupts_later():  # trimesh takes Ctrl-C, as any exception, for a sign that an optional library is not there
    import trimesh
    from trimesh.visual.material import PBRMaterial, SimpleMaterial

__all__ = ["FORMATS"]

MILLIMETRES = 1000.0
VERTICES, INDICES = 34962, 34963  # targets of buffers, by glTF's numbers


def obj(mesh: Mesh, colours: np.ndarray, name: str) -> dict[str, bytes]:
    """Wavefront OBJ with its MTL and PNG."""
    # The name of the material names the texture's file too: without it every export in a folder would write
    # material_0.png.
    white = [255, 255, 255, 255]
    material = SimpleMaterial(
        image=Image.fromarray(colours), diffuse=white, ambient=white, specular=[0, 0, 0, 255], name=name, glossiness=0.0
    )
    text, files = trimesh.exchange.obj.export_obj(
        _textured(mesh, material), include_normals=True, return_texture=True, mtl_name=f"{name}.mtl", header=None
    )
    return {f"{name}.obj": text.encode("ascii"), **files}


def glb(mesh: Mesh, colours: np.ndarray, name: str, *, baked: bool = False) -> dict[str, bytes]:
    """Binary glTF 2.0 with one PBR material: no metal, fully rough, and the texture in it (sRGB, as glTF has it).

    baked: the texture has its light in it, so whoever knows KHR_materials_unlit shows it as it is.
    """
    material = PBRMaterial(
        baseColorTexture=Image.fromarray(colours), metallicFactor=0.0, roughnessFactor=1.0, doubleSided=True, name=name
    )
    scene = trimesh.Scene()
    scene.add_geometry(_textured(mesh, material), geom_name=name, node_name=name)
    return {
        f"{name}.glb": trimesh.exchange.gltf.export_glb(
            scene, include_normals=True, tree_postprocessor=partial(_finish, unlit=baked)
        )
    }


def ply(mesh: Mesh, colours: np.ndarray, name: str) -> dict[str, bytes]:
    """Binary PLY with a normal and a colour per vertex."""
    painted = _trimesh(mesh, trimesh.visual.ColorVisuals(vertex_colors=_vertex_colours(mesh, colours)))
    return {f"{name}.ply": trimesh.exchange.ply.export_ply(painted, vertex_normal=True)}


def points(mesh: Mesh, colours: np.ndarray, name: str) -> dict[str, bytes]:
    """The vertices alone, as a binary PLY: a point cloud with colours."""
    cloud = trimesh.PointCloud(mesh.vertices.numpy(), colors=_vertex_colours(mesh, colours))
    return {f"{name}+points.ply": trimesh.exchange.ply.export_ply(cloud)}


def stl(mesh: Mesh, colours: np.ndarray, name: str) -> dict[str, bytes]:
    """Binary STL in millimetres, which is what slicers take its numbers for; it knows no colours."""
    large = _trimesh(mesh, None)
    large.vertices = large.vertices * MILLIMETRES
    return {f"{name}.stl": trimesh.exchange.stl.export_stl(large)}


FORMATS = {"obj": obj, "glb": glb, "ply": ply, "stl": stl, "usdz": usdz, "points": points}


def _finish(document: dict, *, unlit: bool) -> None:
    """What trimesh leaves out of a glTF document: what its buffers are for, and a material without lights."""
    for primitive in (primitive for mesh in document["meshes"] for primitive in mesh["primitives"]):
        for accessor, target in [
            (primitive["indices"], INDICES),
            *((at, VERTICES) for at in primitive["attributes"].values()),
        ]:
            document["bufferViews"][document["accessors"][accessor]["bufferView"]]["target"] = target
    if unlit:
        document["extensionsUsed"] = ["KHR_materials_unlit"]
        for material in document["materials"]:
            material["extensions"] = {"KHR_materials_unlit": {}}


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


def _vertex_colours(mesh: Mesh, colours: np.ndarray) -> np.ndarray:
    """(V, 3) uint8, the texture at each vertex, interpolated between the centres of its pixels."""
    texture = torch.from_numpy(colours).permute(2, 0, 1)[None].float()
    where = (mesh.uv * torch.tensor([2.0, -2.0]) + torch.tensor([-1.0, 1.0]))[None, None]
    sampled = grid_sample(texture, where, align_corners=False, padding_mode="border")[0, :, 0].T
    return sampled.round().byte().numpy()
