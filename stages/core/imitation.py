"""Learn from another model's answers (knowledge distillation, Hinton et al. 2015), whatever its size and width.

Networks for larger images have other layers, so weights cannot be taken over, and looking for viewpoints again costs
more the more pixels there are. Answers can be taken over: nothing is rendered, and every pixel says what is right.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from stages.core.model import Sym3D

__all__ = ["imitation"]


def imitation(
    model: Sym3D,
    teacher: Sym3D,
    image: Float[Tensor, "b 3 h w"],
    *,
    precision: torch.dtype = torch.float32,
) -> dict[str, Float[Tensor, ""]]:
    """How far ``model`` is from saying what ``teacher`` says of the same images, in [-1, 1], each at its own size.

    Keys: ``total``, the sum of the others; ``depth``, the mean absolute difference of canonical depths as a share of
    d_max - d_min; ``albedo``, of albedos in [0, 1]; ``view``, the mean square of the viewpoints' differences as shares
    of what the model can turn and shift; ``light``, of ambient, diffuse and direction. Confidence is not learned.

    **Convention:** pixels are areas here: to another size images are averaged, maps interpolated bilinearly
    (align_corners=False).
    """
    with torch.autocast(image.device.type, precision, enabled=precision != torch.float32):
        ours = model.predict(image)
        with torch.no_grad():
            theirs = teacher.predict(F.interpolate(image, (teacher.size, teacher.size), mode="area"))

    def apart(a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c H W"]) -> Float[Tensor, ""]:
        return (a - F.interpolate(b, a.shape[-2:], mode="bilinear", align_corners=False, antialias=True)).abs().mean()

    reach = model.view_reach
    turned = torch.where(reach > 0, (ours.view - theirs.view) / reach.clamp(min=1e-9), 0)
    parts = {
        "depth": apart(ours.free_depth[:, None], theirs.free_depth[:, None]) / (model.depth_max - model.depth_min),
        "albedo": apart(ours.albedo, theirs.albedo) / 2,
        "view": turned.square().mean(),
        "light": (ours.light - theirs.light).square().mean(),
    }
    return {"total": sum(parts.values()), **parts}
