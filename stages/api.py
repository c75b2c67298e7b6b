"""For notebooks and scripts: load a model, take images apart, look at what it sees, relight and export it.

Everything here is also in the stages and in ``stages.core``; this is the short way to it, without files in between.

>>> from stages import load, render
>>> model = load("synfaces")
>>> from stages.data.faces import render_faces
>>> images = render_faces(seed=1, indices=[0, 1], size=model.size)["image"]
>>> images.shape, images.dtype
((2, 64, 64, 3), dtype('uint8'))
>>> factors = model.predict(images)
>>> tuple(factors.depth.shape), tuple(factors.view.shape)
((2, 64, 64), (2, 6))
>>> render(model.scenes(images, factors)[0], yaw=30, size=128).shape
(128, 128, 3)
"""

import math
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np
import torch

from stages.core.model import Factors, Reconstruction
from stages.core.scene import Scene, changed_light, lit, with_photo
from stages.core.view import FOV, yaw_views
from stages.device import pick_device
from stages.entries import gather
from stages.errors import InputError, UsageError
from stages.infer import crop_of
from stages.io.crops import parse_crop
from stages.io.files import safe_stem
from stages.io.images import UnusableError
from stages.io.meshes import FORMATS, build_mesh, write_mesh
from stages.loading import Loaded, load_model
from stages.predict import to_tensor
from stages.progress import Silent
from stages.scenes import BACKGROUND, make_canvas

__all__ = ["Factors", "Model", "Reconstruction", "Scene", "load", "render", "save_mesh", "with_light", "with_photo"]

BATCH = 16  # images at a time


def load(name: str | Path, device: str | None = None) -> "Model":
    """The model of a checkpoint file, a run folder, or a name such as "synfaces" (``sym3d models`` lists them).

    device: "cpu" or "cuda"; None is CUDA where there is one.

    Raises InputError when there is no such model or it is damaged, UsageError when there is no such device.
    """
    loaded = load_model(name)
    loaded.model.to(pick_device(device))
    return Model(loaded)


@dataclass(frozen=True)
class Model:
    """A trained model, ready to use; :func:`load` makes it. ``loaded`` has its networks, recipe and provenance."""

    loaded: Loaded

    @property
    def size(self) -> int:
        """The side S in pixels of the images that it takes."""
        return self.loaded.model.size

    def read(self, *paths: str | Path, crop: str | None = None) -> np.ndarray:
        """Photographs as the model wants them: uint8 (N, S, S, 3), RGB.

        paths: images, folders, zips, lists of paths (.txt) and ``sym3d.images`` files, as ``sym3d infer`` takes them.
        crop: which square of a photograph, as ``--crop``; None cuts as the model's training pictures were cut.

        Raises InputError when one is missing, is no picture, or shows no face where faces are looked for.
        """
        cut = crop_of(self.loaded) if crop is None else parse_crop(crop)
        with ExitStack() as stack:
            choices = {"size": self.size, "crop": cut, "split": "all", "every": False, "exclude": None}
            entries = gather([Path(path) for path in paths], **choices, stack=stack, report=Silent()).entries
            squares = []
            for entry in entries:
                try:
                    squares.append(entry.load().pixels)
                except UnusableError as error:
                    raise InputError(entry.name, str(error), "leave it out, or try another crop") from error
        return np.stack(squares) if squares else np.empty((0, self.size, self.size, 3), np.uint8)

    @torch.no_grad()
    def predict(self, images: np.ndarray) -> Factors:
        """What the model sees in images: uint8 (N, S, S, 3), RGB, N at least 1, as :meth:`read` gives them.

        Returns tensors on the model's device, one row for each image: canonical depth in metres and albedo in [-1, 1];
        ambient and diffuse light and the unit direction that it shines in (frontal is +z); the viewpoint, three angles
        in radians and three translations in metres; and confidence maps σ where the model has them (small is sure).
        Canonical means seen from the front, the symmetry plane in the middle column.

        Raises ValueError when the images have another shape or type.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != (self.size, self.size, 3) or not len(images):
            raise ValueError(f"{images.dtype} {images.shape} is not uint8 (N, {self.size}, {self.size}, 3)")
        model = self.loaded.model
        device = next(model.parameters()).device
        chunks = np.split(images, range(BATCH, len(images), BATCH))
        return reduce(Factors.stack, [model.predict(to_tensor(chunk, device)) for chunk in chunks])

    def reconstruct(self, factors: Factors) -> Reconstruction:
        """The factors put together again, as the model was trained to: image (N, 3, S, S) in [-1, 1], depth (N, S, S)
        in metres and where there is any (``valid``), all from the input's viewpoint; shading and image from the front.
        Differentiable.
        """
        return self.loaded.model.render(factors)

    def scenes(self, images: np.ndarray, factors: Factors) -> list[Scene]:
        """Each image and its factors as one thing to be turned, relit and exported: colours in [0, 1], on the CPU."""
        parts = (to_tensor(images) / 2 + 0.5, factors.depth, factors.albedo / 2 + 0.5, factors.light, factors.view)
        return [Scene(*row, self.loaded.model.fov) for row in zip(*(part.cpu() for part in parts), strict=True)]


def render(
    scene: Scene, yaw: float | None = None, *, size: int = 512, background: str = BACKGROUND, device: str | None = None
) -> np.ndarray:
    """A picture of the textured surface under the scene's light: uint8 (size, size, 3), edges antialiased.

    yaw: degrees that the front is turned to the picture's right, the light turning along; None is the photograph's own
    viewpoint, pixel on pixel with it. size: 16 to 2048 pixels. background: a colour's name in CSS or #rrggbb.
    device: where it is drawn; None is CUDA where there is one.

    Raises UsageError on a size, colour or device that there is not, or a yaw that is no number.
    """
    canvas = make_canvas(size, background, device)
    if yaw is not None and not math.isfinite(yaw):
        raise UsageError(f"yaw {yaw}", "is no angle", "give degrees, or None for the photograph's own viewpoint")
    if yaw is None:
        return canvas.draw(scene, scene.view[None], lit(scene), fov=scene.fov)[0]
    return canvas.draw(scene, yaw_views([yaw]), lit(scene), fov=FOV)[0]


def with_light(
    scene: Scene,
    lamp: tuple[float, float] | None = None,
    *,
    ambient: float | None = None,
    diffuse: float | None = None,
) -> Scene:
    """The same thing under another light; what is not given stays.

    lamp: where it stands, so many units to the right and up for each in front of the thing seen from the front: (1, 0)
    is 45° from the right. ambient, diffuse: the even rest and the lamp's strength, both usually in [0, 1].

    The model's albedo is blurred. For the photograph's own detail, ``with_photo(scene)`` before.

    Raises UsageError on numbers that are no light's.
    """
    strengths = [strength for strength in (ambient, diffuse) if strength is not None]
    wrong = lamp is not None and len(lamp) != 2
    if wrong or not all(abs(number) <= 100 for number in (*(lamp or ()), *strengths)) or min(strengths, default=0) < 0:
        fix = "give numbers up to 100, of strength 0 and more"
        raise UsageError(f"lamp {lamp}, ambient {ambient}, diffuse {diffuse}", "is no light", fix)
    return replace(scene, light=changed_light(scene.light, lamp, ambient, diffuse))


def save_mesh(scene: Scene, path: str | Path, *, shaded: bool = False) -> list[Path]:
    """Write the surface as a textured mesh; the path's suffix is the format: .obj, .glb, .ply, .stl, …

    Metres (STL: millimetres), x right, y up, z towards the viewer, seen from the front. The texture is the albedo; with
    ``shaded`` the scene's light is in it. Returns the files written, the mesh first; characters that are unsafe in a
    file's name are replaced.

    Raises UsageError on an unknown format, InputError when there is no surface, OutputError when writing fails.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise UsageError(path, "its suffix names no format of meshes", f"choose from .{', .'.join(FORMATS)}")
    colours = lit(scene)[0] if shaded else scene.albedo
    item = {"canonical_depth": scene.depth.numpy(), "albedo": colours.permute(1, 2, 0).numpy()}
    mesh, texture = build_mesh(item, path.stem, fov=scene.fov)
    return write_mesh(mesh, texture, path.parent, safe_stem(path.stem), (kind,), baked=shaded)
