"""The terms of the training objective: reconstructions, weighed by confidence, and what viewpoints are like."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from stages.core.camera import rotation

__all__ = ["Gather", "alone", "depth_error", "perceptual", "photometric", "viewpoints"]

EPSILON = 1e-7
UPRIGHT = 0.3  # weight of what turns and shifts a picture in its plane

Gather = Callable[[Tensor], Tensor]
"""The rows that all processes hold of a batch, those of the first process first. The mean over processes of what a loss
says of its own share is then the loss of the whole batch, in value and in gradient."""


def alone(rows: Tensor) -> Tensor:
    """How one process gathers."""
    return rows


def photometric(
    reconstruction: Float[Tensor, "*s b 3 h w"],
    image: Float[Tensor, "b 3 h w"],
    mask: Bool[Tensor, "b h w"],
    sigma: Float[Tensor, "*s b h w"] | None = None,
    gather: Gather = alone,
) -> Float[Tensor, "*s"]:
    """Mean over the mask of √2·|Î - I|/(σ+ε) + ln(σ+ε), a Laplacian's negative log-likelihood; without σ, of |Î - I|.

    The three channels share σ and the constant ln √2 is dropped. An empty mask gives 0. Leading dimensions s, if any,
    are several reconstructions of the same images.
    """
    loss = (reconstruction - image).abs().mean(-3)
    if sigma is not None:
        loss = loss * (math.sqrt(2) / (sigma + EPSILON)) + torch.log(sigma + EPSILON)
    return torch.where(mask, loss, 0).sum((-3, -2, -1)) / _mean(mask.sum(dtype=loss.dtype), gather).clamp(min=1)


def depth_error(
    found: Float[Tensor, "b h w"], truth: Float[Tensor, "b h w"], mask: Bool[Tensor, "b h w"], gather: Gather = alone
) -> Float[Tensor, ""]:
    """Mean absolute difference over the mask; outside it, the truth may be anything. An empty mask gives 0."""
    error = torch.where(mask, found - truth, 0).abs().sum()
    return error / _mean(mask.sum(dtype=error.dtype), gather).clamp(min=1)


def perceptual(
    reconstructed: Float[Tensor, "*s b c h w"],
    target: Float[Tensor, "b c h w"],
    mask: Bool[Tensor, "b H W"],
    sigma: Float[Tensor, "*s b h w"] | None = None,
    gather: Gather = alone,
) -> Float[Tensor, "*s"]:
    """Mean over the average-pooled mask of (f₁ - f₂)²/(2σ²+ε) + ln(σ+ε) (Gaussian); without σ, of (f₁ - f₂)².

    An empty mask gives 0; s as above.
    """
    stride = mask.shape[-1] // target.shape[-1]
    weight = F.avg_pool2d(mask[:, None].to(target.dtype), stride)[:, 0]
    loss = (reconstructed - target).square().mean(-3)
    if sigma is not None:
        loss = loss / (2 * sigma.square() + EPSILON) + torch.log(sigma + EPSILON)
    return (loss * weight).sum((-3, -2, -1)) / _mean(weight.sum(), gather).clamp(min=EPSILON)


def viewpoints(
    view: Float[Tensor, "b 6"],
    reach: Float[Tensor, " 6"],
    spread: float = 0.0,
    weight: float = 0.0,
    gather: Gather = alone,
    elevation: float | None = None,
) -> Float[Tensor, ""]:
    """What is known of viewpoints before any image is seen (not in the paper).

    w mean (|β|_(i) - s q_i)², in radians: a batch's yaws |β| in order against the same quantiles q_i of a normal
    distribution whose standard deviation is the ``spread`` s. At a narrow field of view, shape and yaw can shrink
    together with hardly a change in the picture, and while shapes are blurs they do. Held by their size alone, yaws
    gather at plus and minus s: frontal pictures become half a shape seen from the side.
    Plus 0.3 times the mean of γ² + t_x² + t_y², each as a share of its ``reach``: pictures are upright and centred.
    With an ``elevation`` (radians) things stand on the ground, and the camera looks down at them by as much in the
    canonical pose. Turning one is then a roll too, and in place of γ stands the angle between its own vertical and the
    picture's.
    """
    lean = view[:, 2] if elevation is None else _lean(view, elevation)
    tilts = torch.cat([lean[:, None], view[:, 3:5]], 1)
    upright = UPRIGHT * (tilts / reach[2:5].clamp(min=EPSILON)).square().sum(1).mean()
    yaw = gather(view[:, 1]).abs().sort().values
    middles = torch.linspace(0, 1, 2 * len(yaw) + 1, device=yaw.device, dtype=yaw.dtype)[1::2]
    quantiles = math.sqrt(2) * torch.erfinv(middles)
    return upright + weight * (yaw - spread * quantiles).square().mean()


def _lean(view: Float[Tensor, "b 6"], elevation: float) -> Float[Tensor, " b"]:
    """The angle in the picture, radians, of what points up in a canonical view from this elevation."""
    _, up, toward = rotation(view[:, :3]).mul(-1).unbind(-1)
    vertical = math.cos(elevation) * up + math.sin(elevation) * toward
    return torch.atan2(vertical[:, 0], -vertical[:, 1])


def _mean(total: Float[Tensor, ""], gather: Gather) -> Float[Tensor, ""]:
    """The mean over processes: what their totals are divided by, so that theirs together are divided by the sum."""
    return gather(total[None]).mean()
