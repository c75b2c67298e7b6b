"""A wider network that computes what a narrower one does, to go on learning from there (Net2Net, Chen et al. 2016).

Narrow networks find viewpoints that wide ones paint into the albedo; wide ones then draw finer shapes and colours.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stages.core.layers import FromPoint
from stages.core.norm import GROUP

__all__ = ["widened"]

TINT = "tint.weight"


def widened(narrow: dict[str, Tensor], wide: nn.Module) -> dict[str, Tensor]:
    """The state dict with which ``wide`` gives the answers of the network whose state dict is ``narrow``.

    Every channel becomes k copies, k the ratio of the widths. Of what the next layer read from the one, copies take
    unequal shares, at random (torch's generator): equal ones would learn the same for ever. A tint that ``narrow`` has
    none of stays as it is.

    Raises ValueError when the channel counts are not multiples, or the layers are others.
    """
    state = wide.state_dict()
    fresh = state.keys() - narrow.keys()
    if narrow.keys() - state.keys() or not all(key.endswith(TINT) for key in fresh):
        raise ValueError("the networks have other layers")
    for path, module in wide.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            key = f"{path}.{name}" if path else name
            if key in fresh:
                continue
            turned = isinstance(module, nn.ConvTranspose2d | FromPoint)  # their weights are input first
            state[key] = _copied(narrow[key], parameter.shape, turned)
            if key.endswith(TINT):  # what it mixes are copies as well
                state[key] *= len(narrow[key]) / len(parameter)
    return state


def _copied(weight: Tensor, shape: torch.Size, turned: bool) -> Tensor:
    if weight.ndim == 1:
        return weight[_sources(len(weight), shape[0])]
    oriented, (outs, ins) = (weight.transpose(0, 1), shape[1::-1]) if turned else (weight, shape[:2])
    of_outs, of_ins = _sources(oriented.shape[0], outs), _sources(oriented.shape[1], ins)
    grown = oriented[of_outs][:, of_ins] * _shares(oriented.shape[1], of_ins, outs)[:, :, None, None]
    return grown.transpose(0, 1).contiguous() if turned else grown


def _sources(few: int, many: int) -> Tensor:
    """For each of ``many`` channels, the one of ``few`` that it copies: in whole groups, whose moments stay."""
    if many == few:
        return torch.arange(few)
    if many % few or few % GROUP:
        raise ValueError(f"{many} channels cannot copy {few}")
    channel = torch.arange(many)
    return channel // GROUP // (many // few) * GROUP + channel % GROUP


def _shares(few: int, sources: Tensor, outs: int) -> Float[Tensor, "o i"]:
    """Positive, and for every output the copies of an input have 1 together."""
    weight = 0.5 + torch.rand(outs, len(sources))
    total = torch.zeros(outs, few).index_add_(1, sources, weight)
    return weight / total[:, sources] if len(sources) != few else torch.ones_like(weight)
