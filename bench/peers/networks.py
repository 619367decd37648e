"""The networks of the bench in PyTorch, and torchvision's preset of each."""

import pathlib
import sys

import torch
import torchvision
from torchvision.transforms._presets import ImageClassification

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "training"))
import network as fashion_vgg  # noqa: E402

SIZES = {"vgg16": 224, "fashion-vgg": 32}


def preset(name: str) -> ImageClassification:
    """From a Pillow picture to the normalised float32 [3, size, size]."""
    if name == "vgg16":
        return ImageClassification(crop_size=224)
    return ImageClassification(crop_size=32, resize_size=32, mean=(0.286,) * 3, std=(0.353,) * 3)


def load(name: str, weights: str) -> torch.nn.Module:
    """Ready for inference. The weights are mapped from the file, not copied."""
    with torch.device("meta"):
        network = torchvision.models.vgg16() if name == "vgg16" else fashion_vgg.build(10)
    network.load_state_dict(torch.load(weights, mmap=True, weights_only=True), assign=True)
    return network.eval().requires_grad_(False)
