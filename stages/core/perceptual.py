"""Perceptual features: the shape of VGG16 up to relu3_3, at a quarter of the image's size."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["VGG16_LAYERS", "VGG16Features"]

# torchvision's indices of the seven convolutions, and their channels; a pooling stands before 5 and 10.
VGG16_LAYERS = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256)}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGG16Features(nn.Module):
    """relu3_3 for images in [-1, 1], frozen. Keys are torchvision's: ``features.<i>.weight|bias``.

    ``width`` multiplies the channels; VGG16 itself has 1. ``mean`` and ``std``, of red, green and blue in [0, 1], are
    what the network's own training normalised its images by.
    """

    def __init__(
        self,
        width: float = 1.0,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        for index, channels in VGG16_LAYERS.items():
            cin, cout = (count if count == 3 else max(1, round(count * width)) for count in channels)
            if index in (5, 10):
                layers.append(nn.MaxPool2d(2, 2))
            layers += [nn.Conv2d(cin, cout, 3, 1, 1), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        self.channels = cout
        # The normalisation of an image in [0, 1], as one product and one sum of an image in [-1, 1].
        mean, std = (torch.tensor(values)[:, None, None] for values in (mean, std))
        self.register_buffer("scale", 0.5 / std, persistent=False)
        self.register_buffer("shift", (0.5 - mean) / std, persistent=False)
        self.requires_grad_(False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h4 w4"]:
        return self.features(torch.addcmul(self.shift, image, self.scale))
