"""Perceptual features: VGG16 up to relu3_3, at a quarter of the image's size."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["VGG16_LAYERS", "VGG16Features"]

# torchvision's indices of the seven convolutions, and their channels; a pooling stands before 5 and 10.
VGG16_LAYERS = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256)}


class VGG16Features(nn.Module):
    """relu3_3 of VGG16 for images in [-1, 1], frozen. Keys are torchvision's: ``features.<i>.weight|bias``."""

    def __init__(self):
        super().__init__()
        layers: list[nn.Module] = []
        for index, (cin, cout) in VGG16_LAYERS.items():
            if index in (5, 10):
                layers.append(nn.MaxPool2d(2, 2))
            layers += [nn.Conv2d(cin, cout, 3, 1, 1), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        # ImageNet's normalisation of an image in [0, 1], as one product and one sum of an image in [-1, 1].
        mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        self.register_buffer("scale", 0.5 / std, persistent=False)
        self.register_buffer("shift", (0.5 - mean) / std, persistent=False)
        self.requires_grad_(False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 256 h4 w4"]:
        return self.features(torch.addcmul(self.shift, image, self.scale))
