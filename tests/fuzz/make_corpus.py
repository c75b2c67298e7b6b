"""``python -m tests.fuzz.make_corpus``: the seeds of the kept corpus, all made here. Finds lie beside them."""

import io
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from tests.fuzz.edits import EDITS

CORPUS = Path(__file__).parent / "corpus"
PICTURES = (
    "PNG",
    "JPEG",
    "GIF",
    "BMP",
    "TIFF",
    "WEBP",
    "PPM",
    "ICO",
    "TGA",
    "PCX",
    "JPEG2000",
    "QOI",
    "DDS",
    "SGI",
    "IM",
)
MODES = ("1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F")


def edits(*kinds: int) -> dict[str, bytes]:
    """One of each edit of each kind of file."""
    chance = random.Random(0)
    return {f"{kind}-{at}": bytes([kind, at]) + chance.randbytes(30) for kind in kinds for at in range(len(EDITS))}


def pictures() -> dict[str, bytes]:
    sample = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    found, exif = {}, Image.Exif()
    exif[0x0112] = 6
    for name, picture, format in [
        *((format, sample, format) for format in PICTURES),
        *(
            (f"{mode.replace(';', '')}-{format}", sample.convert("L" if mode == "I;16" else mode), format)
            for mode in MODES
            for format in ("PNG", "TIFF")
        ),
    ]:
        stream = io.BytesIO()
        try:
            picture.save(stream, format, exif=exif)
        except (OSError, ValueError):  # this format has no such mode
            continue
        found[name.lower()] = stream.getvalue()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("png", "jpeg"):
            archive.writestr(f"../{name}", found[name])
    return found | {"zip": packed.getvalue()}


def weights() -> dict[str, bytes]:
    """The first byte says what the rest is; see targets.checkpoint."""
    state = {"network.0.weight": torch.ones(4, 3, 4, 4), "network.2.weight": torch.ones(6, 4, 1, 1)}
    content = {net: state for net in ("netD", "netA", "netL", "netV")} | {"epoch": 3, "optimizerV": {"state": {}}}
    found = {}
    for name, zipped in (("zip", True), ("legacy", False)):
        stream = io.BytesIO()
        torch.save(content, stream, _use_new_zipfile_serialization=zipped)
        found |= {f"reference-{name}": b"\1" + stream.getvalue()}
        stream = io.BytesIO()
        torch.save({"features.0.bias": torch.zeros(4)}, stream, _use_new_zipfile_serialization=zipped)
        found |= {f"weights-{name}": b"\3" + stream.getvalue()}
    lie = b'{"features.0.bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 80]}}'
    found["safetensors-lie"] = b"\2" + struct.pack("<Q", len(lie)) + lie
    found["whole"] = b"\4"
    return found | {"safetensors": b"\2" + save({"features.0.bias": torch.zeros(4)})}


if __name__ == "__main__":
    seeds = {
        "artifact": edits(0, 1, 2, 3),
        "morphable": edits(0, 1),
        "image": pictures(),
        "checkpoint": edits(0) | weights(),
    }
    for target, contents in seeds.items():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (CORPUS / target / f"seed-{name}").write_bytes(content)
