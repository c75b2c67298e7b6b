"""The depth of a depth map at key points, and how well it follows the truth."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

__all__ = ["keypoint_depth"]

WHOLE = 1 - 1e-4  # of a key point's four pixels


def keypoint_depth(
    depth: Float[Tensor, "b h w"], valid: Bool[Tensor, "b h w"], points: Float[Tensor, "b k 2"]
) -> Float[Tensor, "b k"]:
    """Depth in metres at (u, v) in pixels: bilinear where all of the pixels around a point are valid.

    Elsewhere, and outside the image, it is the depth of the nearest valid pixel, for the depth behind a surface's rim
    means nothing. NaN in an image without a valid pixel.
    """
    height, width = depth.shape[-2:]
    extent = torch.tensor([width - 1, height - 1], dtype=points.dtype, device=points.device)
    maps = torch.stack([torch.where(valid, depth, 0), valid.to(depth)], 1)
    inside, share = F.grid_sample(maps, (points * 2 / extent - 1)[:, None], align_corners=True)[:, :, 0].unbind(1)
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([u, v], -1).to(points).reshape(1, -1, 2)
    distance = torch.cdist(points, pixels.expand(len(points), -1, -1))
    nearest = distance.masked_fill(~valid.flatten(1)[:, None], torch.inf).argmin(2)
    beside = depth.flatten(1).gather(1, nearest)
    beside = torch.where(valid.flatten(1).any(1, keepdim=True), beside, torch.nan)
    return torch.where(share > WHOLE, inside, beside)
