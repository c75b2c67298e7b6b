"""What training minimises: both reconstructions, their features, the depth's roughness, and unlikely viewpoints."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from stages.core import losses
from stages.core.geometry import smoothness, steepness
from stages.core.model import Factors, Reconstruction, Sym3D
from stages.core.search import search_view

__all__ = ["objective", "supervised_objective"]


def objective(
    model: Sym3D,
    image: Float[Tensor, "b 3 h w"],
    *,
    flip: float = 0.5,
    perceptual: float = 1.0,
    smooth: float = 0.0,
    steep: float = 0.0,
    features: nn.Module | None = None,
    yaw_spread: float | None = None,
    yaw_weight: float = 0.0,
    elevation: float | None = None,
    trials: Float[Tensor, "k b 6"] | None = None,
    precision: torch.dtype = torch.float32,
    gather: losses.Gather = losses.alone,
) -> tuple[dict[str, Float[Tensor, ""]], Factors, Reconstruction]:
    """The training loss (key ``total``) and its parts, with what they were computed from.

    total = photo + λ_f·photo_flip + λ_p·(perc + λ_f·perc_flip) + λ_sm·smoothness + λ_st·steepness, with λ_f ``flip``,
    λ_p ``perceptual``, λ_sm ``smooth`` and λ_st ``steep``; the last two are of the depth's departure from the convex
    prior, in shares of its range. ``yaw_spread`` (degrees) adds :func:`losses.viewpoints`, its first term with
    ``yaw_weight``, of things seen from an ``elevation`` (degrees). The reconstruction holds the plain branch first and
    the flipped one second (2B); a symmetric model has the plain one only, because both are the same picture.

    ``trials`` as in :func:`search_view` are for the start of a training: on a template (:meth:`Sym3D.template`) they
    find the viewpoints that everything is rendered from, and the viewpoint network learns them (``search``).

    ``precision`` torch.bfloat16 is for the networks and features; geometry, light and losses are in float32 always.
    With ``gather`` the images are one process's share of the batch.
    """
    quick = torch.autocast(image.device.type, precision, enabled=precision != torch.float32)
    with quick:
        factors = model.predict(image) if trials is None else model.template(image, gather)
    parts: dict[str, Tensor] = {}
    if trials is not None:
        found = search_view(model, factors, image, trials)
        missed = (factors.view - found)[:, :3] / model.view_reach[:3]
        parts["search"] = missed.square().sum(1).mean()
        factors = replace(factors, view=found + factors.view - factors.view.detach())
    sides = ("",) if model.symmetric else ("", "_flip")
    both = model.render(factors if model.symmetric else factors.stack(factors.flipped(model.mirrored)))
    by_side = partial(torch.unflatten, dim=0, sizes=(len(sides), len(image)))
    mask = by_side(both.valid).all(0)
    # Pixels outside the mask must look the same to the perceptual features of either branch.
    reconstructed = torch.where(mask[:, None], by_side(both.image), 0)

    weights = {"photo": 1.0, "photo_flip": flip, "perceptual": perceptual, "perceptual_flip": perceptual * flip}

    def add(part: str, loss: Callable, ours: Tensor, target: Tensor, sigma: Tensor | None) -> None:
        sigma = None if sigma is None else sigma.movedim(1, 0)[: len(sides)]
        for side, value in zip(sides, loss(ours, target, mask, sigma, gather), strict=True):
            parts[part + side] = value

    add("photo", losses.photometric, reconstructed, image.contiguous(), factors.confidence)
    if features is not None and perceptual:
        with quick:
            with torch.no_grad():
                target = features(image)
            seen = by_side(features(reconstructed.flatten(0, 1)))
        add("perceptual", losses.perceptual, seen.float(), target.float(), factors.perceptual_confidence)
    prior = model.metric_depth(torch.zeros_like(factors.free_depth[:1]))
    relief = (factors.free_depth - prior) / (model.depth_max - model.depth_min)
    for part, weight, roughness in (("smoothness", smooth, smoothness), ("steepness", steep, steepness)):
        if weight:
            parts[part], weights[part] = roughness(relief), weight
    if yaw_spread is not None:
        spread = math.radians(yaw_spread)
        above = None if elevation is None else math.radians(elevation)
        parts["viewpoints"] = losses.viewpoints(factors.view, model.view_reach, spread, yaw_weight, gather, above)
    total = sum(weights.get(name, 1.0) * part for name, part in parts.items())
    return {"total": total, **parts}, factors, both


def supervised_objective(
    model: Sym3D,
    image: Float[Tensor, "b 3 h w"],
    depth: Float[Tensor, "b h w"],
    mask: Bool[Tensor, "b h w"],
    *,
    precision: torch.dtype = torch.float32,
    gather: losses.Gather = losses.alone,
) -> dict[str, Float[Tensor, ""]]:
    """The supervised baseline of table 2: the mean absolute error of the depth network's depth in view, over a mask.

    For a model that does not turn anything: what it calls canonical is what is seen. Keys ``depth``, in metres, and
    ``total``, the same as a share of d_max - d_min.
    """
    with torch.autocast(image.device.type, precision, enabled=precision != torch.float32):
        raw = model.netD(image)
    found = model.metric_depth(raw[:, 0].float())
    error = losses.depth_error(found, depth, mask, gather)
    return {"total": error / (model.depth_max - model.depth_min), "depth": error}
