"""Look for viewpoints instead of descending to them: the start of a training whose shape is not there yet.

While the canonical shape and texture are blurs, an image's loss falls when its viewpoint shrinks towards frontal: what
is blurred is seen alike from everywhere. Descent then stays in that valley for thousands of steps; trying some
viewpoints for each image and keeping the best leaves it at once (the idea of the camera multiplex of Goel, Kanazawa and
Malik, ECCV 2020).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from stages.core.model import Factors, Sym3D

__all__ = ["search_view"]

FRONTAL = 0.04  # what turning as far as the model can costs; without it a template can settle as two side views


@torch.no_grad()
def search_view(
    model: Sym3D, factors: Factors, image: Float[Tensor, "b 3 h w"], trials: Float[Tensor, "k b 6"]
) -> Float[Tensor, "b 6"]:
    """The viewpoint that explains each image best, of the predicted one and of k others; radians and metres.

    Two thirds of the ``trials`` are departures from the predicted viewpoint, the rest from the frontal one. Judged at
    half the resolution by the mean absolute difference from the image, as predicted and (unless the model is symmetric)
    mirrored. A pixel that nothing covers costs what a picture of one colour would: a loss over the visible area alone
    would turn the object out of sight.
    """
    reach = 0.98 * model.view_reach  # tanh never reaches 1
    near = len(trials) * 2 // 3
    views = torch.cat([factors.view[None], factors.view + trials[:near], trials[near:]]).clamp(-reach, reach)
    count, batch = views.shape[:2]

    depth, texture, target = (avg_pool2d(maps, 2) for maps in (factors.depth[:, None], model.shaded(factors)[2], image))
    sides = 1 if model.symmetric else 2
    depth, texture = (torch.cat([maps, maps.flip(-1)][:sides]).repeat(count, 1, 1, 1) for maps in (depth, texture))
    seen, _, valid = model.look(depth[:, 0], texture, views.repeat(1, sides, 1).flatten(0, 1))
    blank = (target - target.mean((2, 3), keepdim=True)).abs().mean((1, 2, 3))
    error = (seen - target.repeat(sides * count, 1, 1, 1)).abs().mean(1)
    error = torch.where(valid, error, blank.repeat(sides * count)[:, None, None]).mean((1, 2))
    turned = (views / model.view_reach.clamp(min=1e-9)).square().sum(-1)
    best = (error.view(count, sides, batch).mean(1) + FRONTAL * turned).argmin(0)
    return views[best, torch.arange(batch, device=best.device)]
