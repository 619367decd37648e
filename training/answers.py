"""Writes what PyTorch answers for the 10,000 test pictures, and the sample pictures.

    .venv/bin/python training/answers.py

Run it after train.py. It writes
  test/fixtures/fashion-mnist/pytorch-answers.tsv  one line a picture, `class/number.png <tab> top-1 index <tab> probability`,
                                                   the form of `vgg-serve eval --answers`
  models/fashion-vgg/samples/*.png                 the first two test pictures of each class
"""

import argparse
import pathlib

import torch
from PIL import Image

from fashion_mnist import CLASSES, prepared, read
from network import build
from train import normalised

ROOT = pathlib.Path(__file__).resolve().parent.parent


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist", type=pathlib.Path)
    args = parser.parse_args()

    network = build(len(CLASSES))
    network.load_state_dict(torch.load(ROOT / "models/fashion-vgg/fashion-vgg.pth", weights_only=True))
    network.eval()
    pixels, labels = prepared(args.data, "t10k")
    probabilities = torch.cat([network(normalised(part)).softmax(1) for part in pixels.split(500)])
    best, index = probabilities.max(1)
    top5 = probabilities.topk(5).indices
    print(f"acc@1 {100 * (index == labels).double().mean():.2f}  acc@5 {100 * (top5 == labels[:, None]).any(1).double().mean():.2f}")

    lines = sorted(
        f"{label}/{number:05d}.png\t{answer}\t{probability:.6f}\n"
        for number, (label, answer, probability) in enumerate(zip(labels.tolist(), index.tolist(), best.tolist()))
    )
    (ROOT / "test/fixtures/fashion-mnist/pytorch-answers.tsv").write_text("".join(lines))

    images, _ = read(args.data, "t10k")
    samples = ROOT / "models/fashion-vgg/samples"
    samples.mkdir(exist_ok=True)
    for label, name in enumerate(CLASSES):
        slug = name.lower().replace("/", "-").replace(" ", "-")
        for count, number in enumerate((labels == label).nonzero().flatten()[:2].tolist()):
            path = samples / f"{slug}{'' if count == 0 else '-2'}.png"
            Image.fromarray(images[number]).save(path, optimize=True)
            right = "" if index[number] == label else f"   answered {CLASSES[index[number]]}"
            print(f"{path.name}: test picture {number}, {best[number]:.3f}{right}")


if __name__ == "__main__":
    main()
