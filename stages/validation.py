"""How a model in training does on images it does not learn from: metrics, signs of failure, a sheet to look at."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stages.core.health import symptoms
from stages.core.metrics import evaluation_mask, mad, side
from stages.core.model import Sym3D
from stages.device import pick_device
from stages.io.pictures import contact_sheet, item_pictures, write_png
from stages.predict import predict, to_tensor
from stages.progress import Report, Silent
from stages.ranks import Ranks

__all__ = ["ValidationImages", "validate", "write_sample_sheet"]

SHEET_ROWS = 6
SHOWN = 4  # of these, while a training runs


@dataclass(frozen=True)
class ValidationImages:
    image: np.ndarray  # uint8 (M, S, S, 3)
    depth: Tensor | None  # float32 (M, S, S) metres in view, where there is ground truth
    mask: Tensor | None  # bool (M, S, S)


@torch.inference_mode()
def validate(
    model: Sym3D, data: ValidationImages, ranks: Ranks = Ranks(), report: Report = Silent()
) -> tuple[dict[str, float], list[str]]:
    """SIDE ×10⁻² and MAD° where truth exists, elsewhere the misfit: the mean difference of image and reconstruction
    in percent; and the signs of known failures. Leaves the model in train mode.

    Each of ``ranks`` takes every count-th image, and all get the means over all images.
    """
    model.eval()
    scores: dict[str, list[Tensor]] = {key: [] for key in (("misfit",) if data.depth is None else ("side", "mad"))}
    signs: list[str] = []
    mine = range(ranks.rank, len(data.image), ranks.count)
    with report.task("validating", total=len(mine)) as task:
        for rows in (mine[first : first + 32] for first in range(0, len(mine), 32)):
            image = to_tensor(data.image[rows], pick_device())
            factors = model.predict(image)
            seen = model.render(factors)
            if data.depth is None:
                off = 50 * (seen.image - image).abs().mean(1)  # percent, of images in [-1, 1]
                scores["misfit"].append((off * seen.valid).sum((1, 2)) / seen.valid.sum((1, 2)))
            else:
                truth = data.depth[rows]
                mask = evaluation_mask(data.mask[rows], seen.valid)
                scores["side"].append(100 * side(seen.depth, truth, mask))
                scores["mad"].append(mad(seen.depth, truth, mask, model.fov))
            signs += symptoms(factors, model.depth_max - model.depth_min) if rows[0] == ranks.rank else []
            task.advance(len(rows))
    model.train()
    if not len(data.image):
        return {}, signs
    return {key: _mean(parts, len(data.image), ranks) for key, parts in scores.items()}, signs


def _mean(scores: list[Tensor], images: int, ranks: Ranks) -> float:
    """Over the images of all ranks, leaving out those that have no score."""
    most = -(-images // ranks.count)
    padded = torch.full((most,), torch.nan, device=pick_device())
    mine = torch.cat([*scores, padded])[:most]
    return ranks.gather(mine).nanmean().item()


def write_sample_sheet(path: Path, model: Sym3D, data: ValidationImages, report: Report = Silent()) -> None:
    """A PNG of the first images and what the model makes of them; nothing without images. Raises OutputError.

    ``report`` sees some of the images above their reconstructions.
    """
    images = data.image[:SHEET_ROWS]
    if not len(images):
        return
    model.eval()
    found = predict(model, images)
    model.train()
    some = (images[:SHOWN], found["reconstruction"][:SHOWN])
    report.picture(np.concatenate([np.concatenate(row, axis=1) for row in some]))
    rows = []
    for i in range(len(images)):
        truth = None if data.depth is None else data.depth[i].cpu().numpy()
        item = {key: values[i] for key, values in found.items()}
        depth_range = (model.depth_min, model.depth_max)
        rows.append(item_pictures(item, f"image {i}", depth_range=depth_range, fov=model.fov, truth=truth, size=96))
    write_png(path, contact_sheet(rows, cell=96))
