"""Lambertian shading under one ambient and one directional light."""

from jaxtyping import Float
from torch import Tensor

__all__ = ["shade"]


def shade(
    normal: Float[Tensor, "b h w 3"],
    ambient: Float[Tensor, " b"],
    diffuse: Float[Tensor, " b"],
    direction: Float[Tensor, "b 3"],
) -> Float[Tensor, "b h w"]:
    """k_s + k_d · max(0, ⟨n, l⟩), with l of unit length in the normals' frame (a frontal light is +z)."""
    cosine = (normal * direction[:, None, None, :]).sum(-1).clamp(min=0)
    return ambient[:, None, None] + diffuse[:, None, None] * cosine
