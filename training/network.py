"""The embedded network in PyTorch: torchvision's VGG class with its own cfg, pool, hidden width and classes."""

import torch
from torch import nn
from torchvision.models.vgg import make_layers

CFG = [32, 32, "M", 64, 64, "M", 128, 128, "M"]
POOL = (2, 2)
HIDDEN = 256


class VGG(nn.Module):
    """features, avgpool, classifier: torchvision.models.VGG with a free pool size and hidden width."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = make_layers(CFG, batch_norm=True)
        self.avgpool = nn.AdaptiveAvgPool2d(POOL)
        channels = [width for width in CFG if width != "M"][-1]
        self.classifier = nn.Sequential(
            nn.Linear(channels * POOL[0] * POOL[1], HIDDEN),
            nn.ReLU(True),
            nn.Dropout(p=0.5),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(True),
            nn.Dropout(p=0.5),
            nn.Linear(HIDDEN, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def build(classes: int) -> VGG:
    """A network with torchvision's own initialisation (Kaiming, fan out; linear layers N(0, 0.01))."""
    network = VGG(classes)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.zeros_(module.bias)
    return network
