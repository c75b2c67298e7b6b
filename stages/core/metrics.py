"""How far a predicted depth is from the truth (the seed paper's section 4.1)."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from stages.core.camera import FOV
from stages.core.geometry import depth_normals

__all__ = ["correlation", "depth_correlation", "evaluation_mask", "mad", "relief", "side"]


def _erode(mask: Bool[Tensor, "b h w"]) -> Bool[Tensor, "b h w"]:
    """3×3 erosion; what lies outside the image counts as background, as in the reference."""
    outside = F.pad(~mask, (1, 1, 1, 1), value=True)
    return F.max_pool2d(outside[:, None].float(), 3, stride=1)[:, 0] == 0


def evaluation_mask(gt: Bool[Tensor, "b h w"], predicted: Bool[Tensor, "b h w"]) -> Bool[Tensor, "b h w"]:
    """Where the metrics look: erode3×3(true foreground) ∧ erode3×3(predicted valid)."""
    return _erode(gt) & _erode(predicted)


def _masked_mean(values: Float[Tensor, "b h w"], mask: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    return torch.where(mask, values, 0).sum((1, 2)) / mask.sum((1, 2))  # 0/0 = NaN: an image without a pixel to judge


def side(
    predicted: Float[Tensor, "b h w"], truth: Float[Tensor, "b h w"], mask: Bool[Tensor, "b h w"]
) -> Float[Tensor, " b"]:
    """Scale-invariant depth error per image: sqrt(mean (Δ - mean Δ)²), Δ = ln d_pred - ln d_gt, in the input view.

    NaN where the mask is empty. Tables print it × 10⁻².
    """
    one = torch.ones_like(truth)
    delta = torch.where(mask, predicted, one).double().log() - torch.where(mask, truth, one).double().log()
    mean = _masked_mean(delta, mask)
    return _masked_mean((delta - mean[:, None, None]) ** 2, mask).sqrt().to(truth.dtype)


def mad(
    predicted: Float[Tensor, "b h w"], truth: Float[Tensor, "b h w"], mask: Bool[Tensor, "b h w"], fov: float = FOV
) -> Float[Tensor, " b"]:
    """Mean angle deviation per image, degrees: mean arccos⟨n_pred, n_gt⟩ of the normals of both *depth maps*.

    NaN where the mask is empty. The angle is taken by atan2, which is arccos without its loss of digits near 0°.
    """
    a, b = depth_normals(predicted, fov), depth_normals(truth, fov)
    angle = torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1))
    return _masked_mean(angle, mask) * (180 / math.pi)


def relief(
    predicted: Float[Tensor, "b h w"], truth: Float[Tensor, "b h w"], mask: Bool[Tensor, "b h w"]
) -> Float[Tensor, " b"]:
    """Correlation of predicted with true depth per image, in [-1, 1], in the input view (not in the paper).

    Its sign says whether the surface is the right way round: a hollow face, turned and lit the other way, explains an
    image as well and has depths that are the negative of the truth. NaN where the mask is empty.
    """
    a, b = (
        torch.where(mask, depth - _masked_mean(depth.double(), mask)[:, None, None], 0) for depth in (predicted, truth)
    )
    norms = (a.square().sum((1, 2)) * b.square().sum((1, 2))).sqrt()
    found = ((a * b).sum((1, 2)) / norms.clamp(min=1e-30)).to(truth.dtype)
    return torch.where(mask.any(2).any(1), found, torch.nan)


def correlation(a: Float[Tensor, "n k"], b: Float[Tensor, "n k"]) -> Float[Tensor, " k"]:
    """Pearson's r of each column; 0 where one hardly varies, by less than float32 can tell; NaN for NaN."""
    x, y = ((values - values.mean(0)).double() for values in (a, b))
    still = (x.norm(dim=0) <= 1e-6 * a.norm(dim=0)) | (y.norm(dim=0) <= 1e-6 * b.norm(dim=0))
    return torch.where(still, 0, (x * y).sum(0) / (x.norm(dim=0) * y.norm(dim=0))).to(b.dtype)


def depth_correlation(predicted: Float[Tensor, "n k"], truth: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """Σ over the K key points of |Pearson r over the N images|; K when perfect (3DFAW's measure, K = 66)."""
    return correlation(predicted, truth).abs().sum()
