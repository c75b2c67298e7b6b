"""How far to trust a prediction without knowing the truth, and how to tell whether that trust was justified."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["COVERAGES", "Trust", "judge", "reliability", "spearman"]

COVERAGES = 20  # points of a risk-coverage curve


def reliability(
    image: Float[Tensor, "b 3 h w"], reconstruction: Float[Tensor, "b 3 h w"], valid: Bool[Tensor, "b h w"]
) -> Float[Tensor, " b"]:
    """How much of the image's edges the reconstruction has, in [0, 1] per image, over what is ``valid``.

    The correlation of both pictures' differences between neighbouring pixels, 0 where it is negative or where there is
    no edge; the mean of both directions. Of the square root of brightness, so that edges in the dark count. Edges say
    more than colours, which also fit a shape that is wrong: an edge is in its place only where depth, viewpoint and
    light together are right.
    """
    pictures = [((picture + 1) / 2).clamp(min=0).sqrt() for picture in (image, reconstruction)]
    shares = []
    for axis in (-2, -1):
        inside = valid.narrow(axis, 1, valid.shape[axis] - 1) & valid.narrow(axis, 0, valid.shape[axis] - 1)
        a, b = (torch.where(inside[:, None], picture.diff(dim=axis), 0).flatten(1) for picture in pictures)
        shares.append(((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-12)).clamp(0, 1))
    return (shares[0] + shares[1]) / 2


@dataclass(frozen=True)
class Trust:
    """How well reliabilities predict errors. spearman: their rank correlation, negative where a reliable image has a
    small error; risk: mean error of the most reliable 5 %, 10 %, … 100 % of the images (the risk-coverage curve);
    aurc: the area under it, from one image to all, which is the mean error where reliability says nothing.
    """

    spearman: float
    risk: tuple[float, ...]
    aurc: float


def judge(reliability: Float[Tensor, " n"], error: Float[Tensor, " n"]) -> Trust:
    """Compare the two over the images that have an error; NaN is none. Raises ValueError when no image has one."""
    known = ~error.isnan()
    if not known.any():
        raise ValueError("no image has an error")
    reliability, error = reliability[known], error[known].double()
    ranked = error[reliability.argsort(descending=True, stable=True)]
    curve = ranked.cumsum(0) / torch.arange(1, len(error) + 1)  # mean error of the 1, 2, … n most reliable
    covered = [math.ceil(len(error) * share / COVERAGES) for share in range(1, COVERAGES + 1)]
    points = tuple(curve[count - 1].item() for count in covered)
    return Trust(spearman(reliability, error), points, curve.mean().item())


def spearman(a: Float[Tensor, " n"], b: Float[Tensor, " n"]) -> float:
    """Rank correlation in [-1, 1]; equal values share their mean rank. 0 where either is constant."""
    a, b = (ranks - ranks.mean() for ranks in (_ranks(a), _ranks(b)))
    return ((a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-12)).item()


def _ranks(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    _, place, count = values.unique(return_inverse=True, return_counts=True)
    return (count.cumsum(0) - (count - 1) / 2)[place].double()
