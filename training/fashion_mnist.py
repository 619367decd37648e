"""Fashion-MNIST (Zalando SE, MIT licence) as Debian's package dataset-fashion-mnist installs it, read and prepared."""

import gzip
import pathlib

import numpy
import torch
from PIL import Image
from torchvision.transforms import functional as transforms

CLASSES = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]
SIZE = 32
MEAN = 0.2860
STD = 0.3530


def read(folder: pathlib.Path, part: str) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The raw pictures uint8 [n, 28, 28] and labels uint8 [n] of "train" or "t10k" (IDX: 16 and 8 bytes of header)."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        images = numpy.frombuffer(file.read(), numpy.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = numpy.frombuffer(file.read(), numpy.uint8, offset=8)
    return images, labels


def preset(image: Image.Image) -> torch.Tensor:
    """What torchvision's ImageClassification preset does before it normalises: uint8 [3, SIZE, SIZE]."""
    resized = transforms.resize(image.convert("RGB"), [SIZE], antialias=True)
    return transforms.pil_to_tensor(transforms.center_crop(resized, [SIZE]))


def prepared(folder: pathlib.Path, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels uint8 [n, 3, SIZE, SIZE] and labels int64 [n]."""
    images, labels = read(folder, part)
    return torch.stack([preset(Image.fromarray(image)) for image in images]), torch.from_numpy(labels.astype(numpy.int64))
