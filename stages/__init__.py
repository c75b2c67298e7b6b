"""From photographs of a kind of thing to its 3D shape: one module per stage.

From Python:

    from stages import load, render, save_mesh, with_light

    model = load("synfaces")
    images = model.read("photo.png")
    factors = model.predict(images)
    scene = model.scenes(images, factors)[0]
    render(scene, yaw=30)
    save_mesh(with_light(scene, (-1, 0.5)), "face.glb")
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stages.api import Factors, Model, Reconstruction, Scene, load, render, save_mesh, with_light, with_photo

__all__ = [  # noqa: RUF022 (in the order that one reads about them; none is a module's name)
    "load",
    "Model",
    "render",
    "with_light",
    "with_photo",
    "save_mesh",
    "Factors",
    "Reconstruction",
    "Scene",
]


def __getattr__(name: str):
    # Only now, because every command of the command line imports this package, and some do without torch.
    if name in __all__:
        return getattr(import_module("stages.api"), name)
    raise AttributeError(f"module 'stages' has no attribute {name!r}")
