"""Maps of depth and normals as files: PNG, OpenEXR and NumPy."""

import io

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stages.errors import InputError
from stages.io.files import temporary_folder

__all__ = ["DEPTHS", "encode_normals"]

PNG_STEPS = 50_000  # to the metre: steps of 0.02 mm, and a furthest depth of 1.31 m


def png16(depth: np.ndarray, name: str) -> dict[str, bytes]:
    """16-bit grey. Raises InputError for depth that it cannot hold."""
    if depth.max() * PNG_STEPS > 65535:
        raise InputError(name, f"png16 holds depth up to {65535 / PNG_STEPS:.2f} m", "choose exr or npy")
    note = PngInfo()
    note.add_text("Description", f"depth in 1/{PNG_STEPS} m along the optical axis; 0: no surface")
    stream = io.BytesIO()
    Image.fromarray((depth * PNG_STEPS + 0.5).astype(np.uint16)).save(stream, format="PNG", pnginfo=note)
    return {f"{name}+depth.png": stream.getvalue()}


def exr(depth: np.ndarray, name: str) -> dict[str, bytes]:
    """OpenEXR, float32 metres in the channel Y, which every reader takes for a grey picture (few look for a Z)."""
    import OpenEXR

    with temporary_folder() as folder:
        path = folder / "depth.exr"
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        try:
            OpenEXR.File(header, {"Y": np.ascontiguousarray(depth)}).write(str(path))
        except RuntimeError as error:  # on a full disk
            raise OSError(error) from error
        return {f"{name}+depth.exr": path.read_bytes()}


def npy(depth: np.ndarray, name: str) -> dict[str, bytes]:
    """NumPy's own format, float32 metres."""
    stream = io.BytesIO()
    np.save(stream, depth, allow_pickle=False)
    return {f"{name}+depth.npy": stream.getvalue()}


# (H, W) float32 metres, 0 where there is no surface, and the name without suffix → the file's name and content.
DEPTHS = {"png16": png16, "exr": exr, "npy": npy}


def encode_normals(normals: np.ndarray, name: str) -> dict[str, bytes]:
    """(H, W, 3) unit normals → an 8-bit PNG: red right, green up (as OpenGL has it), blue towards the viewer."""
    stream = io.BytesIO()
    Image.fromarray((normals * 127.5 + 128).clip(0, 255).astype(np.uint8)).save(stream, format="PNG")
    return {f"{name}+normals.png": stream.getvalue()}
