"""USDZ, which Apple's devices show in a room: a scene and its texture in one package, written by Pixar's library."""

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from stages.core.mesh import Mesh
from stages.errors import MissingPartError
from stages.io.files import temporary_folder

__all__ = ["require_usd", "usdz"]


def require_usd() -> None:
    """Raises MissingPartError when the library is not there."""
    if importlib.util.find_spec("pxr") is None:
        raise MissingPartError("format usdz", "it needs usd-core (200 MB)", "pip install 'sym3d[usd]'")


def usdz(mesh: Mesh, colours: np.ndarray, name: str) -> dict[str, bytes]:
    """One mesh with a preview surface: no metal, fully rough, the texture in sRGB. Metres, y up."""
    require_usd()
    from pxr import Tf

    with temporary_folder() as folder:
        try:
            return {f"{name}.usdz": _write(mesh, colours, name, folder)}
        except Tf.ErrorException as error:  # on a full disk, in many lines
            raise OSError("USD failed to write them") from error


def _write(mesh: Mesh, colours: np.ndarray, name: str, folder: Path) -> bytes:
    from pxr import Sdf, Usd, UsdGeom, UsdShade, UsdUtils, Vt

    Image.fromarray(colours).save(folder / "texture.png")
    stage = Usd.Stage.CreateNew(str(folder / "scene.usdc"))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    root = UsdGeom.Xform.Define(stage, "/Root")
    stage.SetDefaultPrim(root.GetPrim())
    root.GetPrim().SetDisplayName(name)

    shape = UsdGeom.Mesh.Define(stage, "/Root/Mesh")
    shape.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(mesh.vertices.numpy()))
    shape.CreateFaceVertexCountsAttr(Vt.IntArray([3] * len(mesh.faces)))
    shape.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(mesh.faces.flatten().int().numpy()))
    shape.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(mesh.normals.numpy()))
    shape.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    shape.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    shape.CreateDoubleSidedAttr(True)
    shape.CreateExtentAttr(UsdGeom.PointBased.ComputeExtent(shape.GetPointsAttr().Get()))
    types = Sdf.ValueTypeNames
    uv = UsdGeom.PrimvarsAPI(shape).CreatePrimvar("st", types.TexCoord2fArray, UsdGeom.Tokens.vertex)
    uv.Set(Vt.Vec2fArray.FromNumpy(mesh.uv.numpy()))

    material = UsdShade.Material.Define(stage, "/Root/Material")
    surface, texture, reader = (
        UsdShade.Shader.Define(stage, f"/Root/Material/{part}") for part in ("Surface", "Texture", "Coordinates")
    )
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", types.String).Set("st")
    texture.CreateIdAttr("UsdUVTexture")
    texture.CreateInput("file", types.Asset).Set("texture.png")
    texture.CreateInput("sourceColorSpace", types.Token).Set("sRGB")
    coordinates = reader.CreateOutput("result", types.Float2)
    texture.CreateInput("st", types.Float2).ConnectToSource(coordinates)
    surface.CreateIdAttr("UsdPreviewSurface")
    surface.CreateInput("roughness", types.Float).Set(1.0)
    surface.CreateInput("metallic", types.Float).Set(0.0)
    colour = surface.CreateInput("diffuseColor", types.Color3f)
    colour.ConnectToSource(texture.CreateOutput("rgb", types.Float3))
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", types.Token))
    UsdShade.MaterialBindingAPI.Apply(shape.GetPrim()).Bind(material)
    stage.GetRootLayer().Save()

    package = folder / "scene.usdz"
    UsdUtils.CreateNewUsdzPackage(stage.GetRootLayer().realPath, str(package))
    return package.read_bytes()
