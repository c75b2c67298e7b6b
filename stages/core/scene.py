"""One thing as the method describes it, to be relit, made symmetric and blended with another. Pictures, not gradients.

**Convention:** one image without a batch axis; colours are RGB in [0, 1]; "canonical" maps face the viewer, the mirror
plane in their middle column.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from stages.core.camera import FOV, project, rotation, view_points
from stages.core.geometry import depth_normals
from stages.core.lighting import shade
from stages.core.raster import rasterise_depth
from stages.core.texture import smoothstep

__all__ = [
    *("Scene", "blend", "changed_light", "light_from", "lit", "photographed", "shading", "symmetric", "with_photo"),
]

# A surface further than this from the line of sight smears its pixels; nearer than the second it shows them well.
GRAZING, FACING = 80.0, 60.0  # degrees
HIDDEN = 0.01  # metres behind the nearest surface; a steep but visible slope falls less within a pixel
DARKEST = 0.2  # least shading that a photograph is divided by: in deeper shadow there is little albedo to be seen


@dataclass(frozen=True)
class Scene:
    """What the model sees in one photograph."""

    photo: Float[Tensor, "3 h w"]
    depth: Float[Tensor, "h w"]  # canonical, metres
    albedo: Float[Tensor, "3 h w"]  # canonical; above 1 where a photograph is brighter than its shading allows
    light: Float[Tensor, " 5"]  # ambient, diffuse, unit direction that it shines in (frontal is +z)
    view: Float[Tensor, " 6"]  # three angles in radians, three translations in metres
    fov: float = FOV  # degrees
    # The canonical image from the photograph itself, finer than albedo. In ``light``: who replaces that drops it.
    paint: Float[Tensor, "1 3 s s"] | None = None


def light_from(x: float, y: float, ambient: float, diffuse: float) -> Float[Tensor, " 5"]:
    """The light of a lamp ``x`` to the right and ``y`` up for each unit in front of the canonical view: (1, 0) is 45°.

    It *shines* the other way, and the frame's y runs down.
    """
    direction = F.normalize(torch.tensor([-x, y, 1.0], dtype=torch.float32), dim=0)
    return torch.cat([torch.tensor([ambient, diffuse], dtype=torch.float32), direction])


def changed_light(
    light: Float[Tensor, " 5"],
    lamp: tuple[float, float] | None = None,
    ambient: float | None = None,
    diffuse: float | None = None,
) -> Float[Tensor, " 5"]:
    """A light with what is given of it replaced, as :func:`light_from` takes it; None leaves what was."""
    changed = light.clone() if lamp is None else light_from(*lamp, *light[:2].tolist())
    for place, strength in enumerate((ambient, diffuse)):
        if strength is not None:
            changed[place] = strength
    return changed


def lit(scene: Scene, lights: Float[Tensor, "n 5"] | None = None) -> Float[Tensor, "n 3 h w"]:
    """The canonical image under each of these lights, None being the scene's own: albedo times shading, or what is
    painted in the photograph's light, relit and as large as that."""
    own = scene.light[None]
    if scene.paint is None:
        lights = own if lights is None else lights
        return scene.albedo * shading(scene, lights)[:, None]
    if lights is None:
        return scene.paint
    change = shading(scene, lights) / shading(scene, own).clamp(min=DARKEST)
    # Texels are areas, as where a texture is drawn, so the corners are not aligned.
    return scene.paint * F.interpolate(change[:, None], scene.paint.shape[-2:], mode="bilinear", align_corners=False)


def photographed(scene: Scene) -> tuple[Float[Tensor, "3 h w"], Float[Tensor, "h w"]]:
    """The photograph's pixels moved to the canonical view, and how far to trust each: 1 seen well, 0 hidden.

    Hidden is what lies behind something else, outside the photograph, or edge-on.
    """
    height, width = scene.depth.shape
    points = view_points(scene.depth[None], scene.view[None], scene.fov)
    limit = torch.tensor([width - 1, height - 1])
    where = project(points, height, width, scene.fov) / limit * 2 - 1
    colour = F.grid_sample(scene.photo[None], where, align_corners=True, padding_mode="border")[0]

    nearest, covered = rasterise_depth(points, fov=scene.fov)
    nearest = torch.where(covered, nearest, nearest.max())
    seen = F.grid_sample(nearest[:, None], where, align_corners=True, padding_mode="border")[:, 0]
    open_view = (points[..., 2] < seen + HIDDEN) & (where.abs() <= 1).all(-1)
    normal = depth_normals(scene.depth[None], scene.fov) @ rotation(scene.view[None, :3]).mT
    cosine = (normal * F.normalize(points, dim=-1)).sum(-1)
    grazing, facing = torch.tensor([GRAZING, FACING]).deg2rad().cos()
    trust = open_view * smoothstep((cosine - grazing) / (facing - grazing))
    # A pixel beside a hidden one is already a mixture with whatever hides it; and the border is no surface.
    trust = -F.max_pool2d(F.pad(-trust, (1, 1, 1, 1)), 3, 1)
    return colour, F.avg_pool2d(trust, 3, 1, padding=1)[0]


def with_photo(scene: Scene) -> Scene:
    """The photograph's detail in place of the model's albedo wherever the photograph shows it well."""
    colour, trust = photographed(scene)
    return replace(scene, albedo=trust * _unlit(scene, colour) + (1 - trust) * scene.albedo)


def symmetric(scene: Scene) -> Scene:
    """The half that the photograph hides, replaced by the mirror image of the other; likewise for depth.

    Where neither half is seen well, the mean of the model's two halves stands in.
    """
    colour, trust = photographed(scene)

    def mirrored(seen: Tensor, model: Tensor) -> Tensor:
        other = trust.flip(-1) * seen.flip(-1) + (1 - trust.flip(-1)) * (model + model.flip(-1)) / 2
        return trust * seen + (1 - trust) * other

    depth = mirrored(scene.depth, scene.depth)
    return replace(scene, depth=depth, albedo=mirrored(_unlit(scene, colour), scene.albedo), paint=None)


def blend(first: Scene, second: Scene, amount: float) -> Scene:
    """The way from one (0) to the other (1): the light's direction turns steadily, all else is mixed evenly."""
    mixed = {
        name: torch.lerp(getattr(first, name), getattr(second, name), amount)
        for name in ("photo", "depth", "albedo", "light", "view")
    }
    direction = _slerp(first.light[2:], second.light[2:], amount)
    return replace(first, **mixed | {"light": torch.cat([mixed["light"][:2], direction]), "paint": None})


def shading(scene: Scene, lights: Float[Tensor, "n 5"]) -> Float[Tensor, "n h w"]:
    """Canonical shading under each of these lights."""
    normal = depth_normals(scene.depth[None], scene.fov).expand(len(lights), -1, -1, -1)
    return shade(normal, lights[:, 0], lights[:, 1], lights[:, 2:])


def _unlit(scene: Scene, colour: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    return colour / shading(scene, scene.light[None]).clamp(min=DARKEST)


def _slerp(first: Float[Tensor, " 3"], second: Float[Tensor, " 3"], amount: float) -> Float[Tensor, " 3"]:
    angle = (first * second).sum().clamp(-1, 1).acos()
    if angle < 1e-3:
        return F.normalize(torch.lerp(first, second, amount), dim=0)
    return (((1 - amount) * angle).sin() * first + (amount * angle).sin() * second) / angle.sin()
