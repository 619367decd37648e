"""For fashion-vgg: TorchServe's own handler of pictures with the preset of that network."""

from torchvision import transforms
from ts.torch_handler.image_classifier import ImageClassifier


class FashionClassifier(ImageClassifier):
    image_processing = transforms.Compose(
        [
            transforms.Lambda(lambda picture: picture.convert("RGB")),
            transforms.Resize(32),
            transforms.CenterCrop(32),
            transforms.ToTensor(),
            transforms.Normalize((0.286,) * 3, (0.353,) * 3),
        ]
    )
