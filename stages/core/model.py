"""The photo-geometric autoencoder: one image → depth, albedo, light, viewpoint, confidence → the image again.

Read :meth:`Sym3D.predict`, :meth:`Sym3D.render` and :func:`stages.core.objective.objective` in this order: they are the
whole method.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from stages.core.camera import FOV, view_points, view_sources
from stages.core.geometry import depth_normals
from stages.core.lighting import shade
from stages.core.losses import Gather, alone
from stages.core.networks import Autoencoder, ConfidenceNet, Encoder
from stages.core.raster import rasterise_depth

__all__ = ["BORDER", "Factors", "Reconstruction", "Sym3D", "look"]

IN_A_MIRROR = (1, -1, -1, -1, 1, 1)  # signs of pitch, yaw, roll and t_x, t_y, t_z in a mirror
BORDER = 2  # columns on the left and the right whose canonical depth is fixed

Light = tuple[Float[Tensor, " b"], Float[Tensor, " b"], Float[Tensor, "b 3"]]  # ambient, diffuse, direction


@dataclass(frozen=True)
class Factors:
    """What the model sees in B images. Canonical means frontal: the symmetry plane is the middle column."""

    depth: Float[Tensor, "b h w"]  # canonical, metres, border columns fixed
    free_depth: Float[Tensor, "b h w"]  # canonical, metres, before the border is fixed
    albedo: Float[Tensor, "b 3 h w"]  # canonical, [-1, 1]
    ambient: Float[Tensor, " b"]
    diffuse: Float[Tensor, " b"]
    light_direction: Float[Tensor, "b 3"]  # unit, frontal is +z
    view: Float[Tensor, "b 6"]  # three angles in radians, three translations in metres
    confidence: Float[Tensor, "b 2 h w"] | None  # photometric σ, σ'
    perceptual_confidence: Float[Tensor, "b 2 h4 w4"] | None

    @property
    def light(self) -> Float[Tensor, "b 5"]:
        """Ambient, diffuse and direction as one tensor."""
        return torch.cat([self.ambient[:, None], self.diffuse[:, None], self.light_direction], 1)

    def flipped(self, names: Sequence[str] = ("depth", "albedo")) -> "Factors":
        """The mirror image of shape and albedo (or of one of them) under the same light, from the same viewpoint."""
        changed = [*names, *(["free_depth"] if "depth" in names else [])]
        return replace(self, **{name: getattr(self, name).flip(-1) for name in changed})

    def stack(self, other: "Factors") -> "Factors":
        """Both in one batch, this one first."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return Factors(**{name: None if a is None else torch.cat([a, b]) for name, (a, b) in pairs.items()})


@dataclass(frozen=True)
class Reconstruction:
    """What the factors look like from their viewpoint.

    Depths are clamped to [d_min - m, d_max + m], m = (d_max - d_min) / 2.
    """

    image: Float[Tensor, "b 3 h w"]  # [-1, 1]; what lies outside `valid` is meaningless
    depth: Float[Tensor, "b h w"]  # metres, in view; d_max + m where nothing is seen
    valid: Bool[Tensor, "b h w"]
    normal: Float[Tensor, "b h w 3"]  # canonical
    shading: Float[Tensor, "b h w"]  # canonical
    canonical_image: Float[Tensor, "b 3 h w"]  # canonical, albedo times shading, [-1, 1] and brighter where overlit


class Sym3D(nn.Module):
    """The five networks and the renderer; without ``confidence`` or ``light`` four or three.

    Arguments: ``size`` 64, 128 or 256 pixels; ``width`` multiplies channels; depths and translations in metres; the
    ``ambient`` and ``diffuse`` ranges of k_s and k_d; ``fov`` in degrees. ``border`` columns on the left and the right
    have a fixed canonical depth, ``border_depth``, by default 0.7 d_max + 0.3 d_min. ``mirrored`` names the maps that
    symmetry is assumed of. Without ``light``, the albedo has all the shading to itself. ``align_corners`` False samples
    the texture as the reference does by accident on torch ≥ 1.3, whose grid_sample changed its default: the picture
    shrinks by (W-1)/W. Raises ValueError when the size is not 64 times a power of two.

    Not in the paper, and off by default: ``convex_prior`` is the amplitude (before the tanh) of a fixed dome that
    starts the depth convex: at 10° the camera is nearly orthographic, and a hollow face lit and turned the other way
    explains the images as well. Its middle is ``dome_below`` that of the image, as a share of the height: for things
    that are nearest low down. ``symmetric`` makes canonical depth and albedo exactly symmetric, each the mean of itself
    and its mirror image, and the viewpoint of a mirrored image the mirrored viewpoint, which is left to explain what is
    not symmetric. ``he_init`` starts the light and viewpoint encoders from He's initialisation. ``tint`` lets hues
    differ from image to image; see :class:`Autoencoder`.
    """

    def __init__(
        self,
        size: int = 64,
        width: float = 1.0,
        *,
        depth_min: float = 0.9,
        depth_max: float = 1.1,
        border_depth: float | None = None,
        max_rotation_degrees: float = 60.0,
        max_translation_xy: float = 0.1,
        max_translation_z: float = 0.0,
        ambient: tuple[float, float] = (0.0, 1.0),
        diffuse: tuple[float, float] = (0.0, 1.0),
        fov: float = FOV,
        confidence: bool = True,
        convex_prior: float = 0.0,
        dome_below: float = 0.0,
        symmetric: bool = False,
        mirrored: Sequence[str] = ("depth", "albedo"),
        light: bool = True,
        border: int = BORDER,
        align_corners: bool = True,
        he_init: bool = False,
        tint: bool = False,
    ):
        super().__init__()
        self.netD = Autoencoder(1, size, width, tanh=False)
        self.netA = Autoencoder(3, size, width, tanh=True, tint=tint)
        self.netL = Encoder(4, size, width, he_init=he_init) if light else None
        self.netV = Encoder(6, size, width, he_init=he_init)
        self.netC = ConfidenceNet(size, width) if confidence else None
        self.size, self.fov = size, fov
        self.depth_min, self.depth_max = depth_min, depth_max
        self.border_depth = 0.7 * depth_max + 0.3 * depth_min if border_depth is None else border_depth
        self.ambient, self.diffuse = ambient, diffuse
        self.align_corners, self.symmetric, self.mirrored, self.border = align_corners, symmetric, mirrored, border
        xy, z = max_translation_xy, max_translation_z
        reach = torch.tensor([math.radians(max_rotation_degrees)] * 3 + [xy, xy, z])
        self.register_buffer("view_reach", reach, persistent=False)
        self.register_buffer("in_a_mirror", torch.tensor(IN_A_MIRROR, dtype=torch.float32), persistent=False)
        self.register_buffer("prior", convex_prior * _dome(size, dome_below), persistent=False)

    def predict(self, image: Float[Tensor, "b 3 h w"]) -> Factors:
        """Everything that the networks say about images in [-1, 1]."""
        return self.interpret({name: self.answer(name, image) for name, _ in self.named_children()})

    def template(self, image: Float[Tensor, "b 3 h w"], gather: Gather = alone) -> Factors:
        """As predict, but every image has the mean albedo of its batch, and the prior for its shape.

        With ``gather`` the images are one process's share of the batch.
        """
        # Adam passes over parameters without a gradient. Had the depth network gradients of 0, its first real steps
        # would be ten times too long, and they kill narrow networks.
        said = {name: self.answer(name, image) for name, _ in self.named_children() if name != "netD"}
        albedo = gather(said["netA"].float().mean(0, keepdim=True)).mean(0, keepdim=True)
        return self.interpret(said | {"netD": torch.zeros_like(image[:, :1]), "netA": albedo.expand_as(image)})

    def answer(self, name: str, image: Float[Tensor, "b 3 h w"]) -> Tensor | tuple[Tensor, Tensor]:
        """What the network of this name says about images."""
        network = getattr(self, name)
        if not (self.symmetric and name == "netV"):
            return network(image)
        plain, mirrored = network(torch.cat([image, image.flip(-1)])).chunk(2)
        return (plain.float() + mirrored.float() * self.in_a_mirror) / 2

    def interpret(self, said: dict) -> Factors:
        """Name of a network → what it said about the images: numbers become metres, radians and light, in float32."""
        # Networks may pack channels last; what follows works on planes.
        raw, albedo = said["netD"][:, 0].float(), said["netA"].float().contiguous()
        if self.symmetric and "depth" in self.mirrored:
            raw = (raw + raw.flip(-1)) / 2
        if self.symmetric and "albedo" in self.mirrored:
            albedo = (albedo + albedo.flip(-1)) / 2
        free_depth = self.metric_depth(raw)
        inner = free_depth[:, :, self.border : self.size - self.border]
        depth = F.pad(inner, (self.border, self.border), value=self.border_depth)
        ambient, diffuse, direction = self._light(said)
        confidence, perceptual_confidence = (
            (sigma.float() for sigma in said["netC"]) if "netC" in said else (None, None)
        )
        return Factors(
            depth=depth,
            free_depth=free_depth,
            albedo=albedo,
            ambient=ambient,
            diffuse=diffuse,
            light_direction=direction,
            view=said["netV"].float() * self.view_reach,
            confidence=confidence,
            perceptual_confidence=perceptual_confidence,
        )

    def _light(self, said: dict) -> Light:
        if "netL" not in said:
            one, zero = torch.ones_like(said["netV"][:, 0].float()), torch.zeros_like(said["netV"][:, :2].float())
            return one, zero[:, 0], torch.cat([zero, one[:, None]], 1)
        light = said["netL"].float()
        ambient, diffuse = (
            low + (value / 2 + 0.5) * (high - low)
            for value, (low, high) in zip(light[:, :2].unbind(1), (self.ambient, self.diffuse), strict=True)
        )
        return ambient, diffuse, F.normalize(torch.cat([light[:, 2:], torch.ones_like(light[:, :1])], 1), dim=1)

    def metric_depth(self, raw: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
        """The depth network's output, mean removed, squashed into [d_min, d_max] metres."""
        d = torch.tanh(raw - raw.mean((1, 2), keepdim=True) - self.prior)
        return self.depth_min + (d + 1) / 2 * (self.depth_max - self.depth_min)

    def render(
        self,
        factors: Factors,
        *,
        view: Float[Tensor, "b 6"] | None = None,
        light: Light | None = None,
    ) -> Reconstruction:
        """Shade the canonical view, turn its depth to the viewpoint, fetch its colours from there.

        ``view`` and ``light`` (ambient, diffuse, direction) replace the factors' own, to turn and to relight.
        Only depth is rasterised; the texture is warped, because gradients through a rasterised texture hurt.
        """
        normal, shading, canonical_image = self.shaded(factors, light)
        seen = self.look(factors.depth, canonical_image, factors.view if view is None else view)
        return Reconstruction(*seen, normal, shading, canonical_image)

    def shaded(
        self,
        factors: Factors,
        light: Light | None = None,
    ) -> tuple[Float[Tensor, "b h w 3"], Float[Tensor, "b h w"], Float[Tensor, "b 3 h w"]]:
        """Canonical normals, shading and image; see :class:`Reconstruction`."""
        normal = depth_normals(factors.depth, self.fov)
        shading = shade(normal, *(light or (factors.ambient, factors.diffuse, factors.light_direction)))
        return normal, shading, (factors.albedo / 2 + 0.5) * shading[:, None] * 2 - 1

    def look(
        self, depth: Float[Tensor, "b h w"], canonical_image: Float[Tensor, "b 3 h w"], view: Float[Tensor, "b 6"]
    ) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
        """Image, depth and valid from a viewpoint; see :class:`Reconstruction`."""
        limits = (self.depth_min, self.depth_max)
        return look(depth, canonical_image, view, limits, fov=self.fov, align_corners=self.align_corners)


def look(
    depth: Float[Tensor, "b h w"],
    canonical_image: Float[Tensor, "b 3 h w"],
    view: Float[Tensor, "b 6"],
    limits: tuple[float, float],
    *,
    fov: float = FOV,
    align_corners: bool = True,
) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
    """Image, depth and valid, as in :class:`Reconstruction`, of depths within ``limits``, in metres."""
    margin = (limits[1] - limits[0]) / 2
    background = limits[1] + margin
    depth, covered = rasterise_depth(view_points(depth, view, fov), fov=fov)
    depth = torch.where(covered, depth.clamp(limits[0] - margin, background), background)
    sources = view_sources(depth, view, fov)
    image = F.grid_sample(canonical_image, sources, mode="bilinear", align_corners=align_corners)
    return image, depth, depth < background


def _dome(size: int, below: float) -> Float[Tensor, "h w"]:
    """A Gaussian of σ = 22 × 26 pixels of 64, mean removed; subtracted from raw depth, it brings its middle nearer."""
    # On the CPU even of a model on "meta", where these operations alone import libraries for a second.
    axis = (torch.arange(size, device="cpu") - (size - 1) / 2) * (64 / size)
    dome = torch.exp(-(axis[None, :] ** 2) / (2 * 22**2) - (axis[:, None] - 64 * below) ** 2 / (2 * 26**2))
    return dome - dome.mean()
