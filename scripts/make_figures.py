"""Draw the figures of docs/method.md with the model that ships, from synthetic faces that it never saw.

``python scripts/make_figures.py`` writes docs/images/method-*.png and prints how much the pictures of a face and of its
mould differ.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d, interpolate

from stages import Scene, load, render, with_photo
from stages.core.geometry import depth_normals
from stages.core.lighting import shade
from stages.core.scene import lit
from stages.core.view import yaw_views
from stages.data.faces import render_faces
from stages.io.pictures import colour_confidence, colour_depth, colour_normals, colour_shading, contact_sheet
from stages.predict import to_images, to_tensor
from stages.scenes import make_canvas

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
CELL = 100  # pixels a picture
FACES = (5, 2)  # of the set with seed 2026: one nearly frontal, one turned
STICKER = np.s_[34:50, 12:28]

model = load("synfaces", device="cpu")
images = render_faces(2026, FACES, model.size)["image"]
factors = model.predict(images)


def factors_figure() -> list[dict]:
    """What the networks say, and what the renderer makes of it."""
    seen = model.reconstruct(factors)
    return [
        {
            "image": images[row],
            "depth": colour_depth(factors.depth[row].numpy()),
            "normals": colour_normals(factors.depth[row].numpy()),
            "albedo": to_images(factors.albedo)[row],
            "shading": colour_shading(seen.shading[row].numpy()),
            "albedo, shaded": to_images(seen.canonical_image)[row],
            "its viewpoint": to_images(seen.image * seen.valid[:, None])[row],
        }
        for row in range(len(images))
    ]


def warp_figure() -> list[dict]:
    """From the canonical view to the photograph's: only depth is rasterised, colours are fetched."""
    scene = model.scenes(images, factors)[-1]
    canvas = make_canvas(2 * CELL, "white", "cpu")
    lines = torch.ones(1, 2 * CELL, 2 * CELL)
    lines[:, ::12], lines[:, :, ::12] = 0.3, 0.3
    mesh = lines * interpolate(_shading(scene), (2 * CELL, 2 * CELL), mode="bicubic")
    grid = torch.ones_like(scene.albedo)
    grid[:, ::6], grid[:, :, ::6] = 0.2, 0.2
    picture, depth, valid = _look(scene, lit(scene)[0])
    return [
        {
            "canonical image": _byte(lit(scene)[0]),
            "its mesh": canvas.draw(scene, yaw_views([0]), mesh.expand(1, 3, -1, -1), fov=scene.fov)[0],
            "turned": canvas.draw(scene, scene.view[None], mesh.expand(1, 3, -1, -1), fov=scene.fov)[0],
            "its depth": colour_depth(depth, valid),
            "where it looks": _look(scene, grid)[0],
            "colours fetched": picture,
            "image": images[-1],
        }
    ]


def flip_figure() -> list[dict]:
    """The photograph's own albedo, and its mirror image, as explanations of the photograph; once with a sticker on it.

    σ' is what costs least where the mirrored picture is so far from the image: √2 times the difference.
    """
    stuck = images[:1].copy()
    stuck[:, *STICKER] = (250, 200, 40)
    lines = []
    for image in (images[:1], stuck):
        scene = with_photo(model.scenes(image, model.predict(images[:1]))[0])
        mirrored = replace(scene, albedo=scene.albedo.flip(-1), depth=scene.depth.flip(-1))
        plain, other = (_look(thing, lit(thing)[0])[0] for thing in (scene, mirrored))
        error = (to_tensor(other[None]) - to_tensor(image)).abs().mean(1)
        sigma = 2**0.5 * avg_pool2d(error, 5, 1, 2, count_include_pad=False)[0]
        lines.append(
            {
                "image": image[0],
                "albedo": _byte(scene.albedo),
                "mirrored": _byte(mirrored.albedo),
                "reconstruction": plain,
                "mirrored one": other,
                "confidence": colour_confidence(sigma.numpy()),
            }
        )
    return lines


def hollow_figure() -> list[dict]:
    """A face and its mould: depth mirrored in the plane through the rotation centre, turned and lit the other way."""
    scene = model.scenes(images, factors)[-1]
    signs_of_view, signs_of_light = torch.tensor([-1, -1, 1, 1, 1, -1]), torch.tensor([1, 1, -1, -1, 1])
    mould = replace(scene, depth=2 - scene.depth, view=scene.view * signs_of_view, light=scene.light * signs_of_light)
    pictures = [_look(thing, lit(thing)[0])[0] for thing in (scene, mould)]
    inside = np.s_[8:-8, 8:-8]
    difference = np.abs(pictures[0][inside].astype(float) - pictures[1][inside]).mean() / 255
    print(f"The pictures of a face and of its mould differ by {difference:.3f} of white on average.")
    return [
        {
            "depth": colour_depth(thing.depth.numpy()),
            "shading": colour_shading(_shading(thing)[0, 0].numpy()),
            "its picture": picture,
            **{f"turned by {yaw}°": render(thing, yaw, size=2 * CELL, background="white") for yaw in (-40, 40)},
        }
        for thing, picture in zip((scene, mould), pictures, strict=True)
    ]


def _look(scene: Scene, picture: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A canonical picture (3, S, S) on the scene's surface as its photograph shows it, uint8 (S, S, 3), the depth
    there in metres (S, S) and where there is one (S, S), by the method's own renderer."""
    seen, depth, valid = model.loaded.model.look(scene.depth[None], picture[None] * 2 - 1, scene.view[None])
    return to_images(seen * valid[:, None])[0], depth[0].numpy(), valid[0].numpy()


def _shading(scene: Scene) -> torch.Tensor:
    light = scene.light[None]
    return shade(depth_normals(scene.depth[None], scene.fov), light[:, 0], light[:, 1], light[:, 2:])[None]


def _byte(picture: torch.Tensor) -> np.ndarray:
    """(3, S, S) in [0, 1] → uint8 (S, S, 3)."""
    return to_images(picture[None] * 2 - 1)[0]


if __name__ == "__main__":
    for draw in (factors_figure, warp_figure, flip_figure, hollow_figure):
        path = IMAGES / f"method-{draw.__name__.removesuffix('_figure')}.png"
        Image.fromarray(contact_sheet(draw(), cell=CELL)).save(path, optimize=True)
