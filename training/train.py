"""Trains the embedded model: a small VGG with batch norm on Fashion-MNIST.

    python3 -m venv .venv && .venv/bin/pip install torch==2.14.1 torchvision==0.29.1
    apt-get install dataset-fashion-mnist
    .venv/bin/python training/train.py --out models/fashion-vgg

Writes fashion-vgg.pth (torch.save of the state dict) into --out and one line an epoch to standard output.
The pictures are prepared once by torchvision's own ImageClassification preset, so what the network saw in
training is what the service shows it: a 28 x 28 grey picture, tripled, resized to 32 by Pillow's bilinear filter.

Recipe: SGD with Nesterov momentum, one cycle, label smoothing, flips, shifts by up to two pixels with edges
repeated, random erasing, and an exponential average of the weights, which is what is saved.
The 10,000 test pictures choose nothing: the length of the run is fixed beforehand and the last average is kept.
"""

import argparse
import copy
import hashlib
import pathlib
import time

import torch
from torch import nn
from torch.nn import functional as F

from fashion_mnist import CLASSES, MEAN, SIZE, STD, prepared
from network import CFG, HIDDEN, POOL, build


def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Flips, shifts and erases a batch [n, 3, SIZE, SIZE] of normalised pictures, each picture on its own."""
    n = x.shape[0]
    flip = torch.rand(n, generator=generator) < 0.5
    x = torch.where(flip[:, None, None, None], x.flip(3), x)

    reach = 2
    padded = F.pad(x, (reach,) * 4, mode="replicate")
    top = torch.randint(0, 2 * reach + 1, (n,), generator=generator)
    left = torch.randint(0, 2 * reach + 1, (n,), generator=generator)
    span = torch.arange(SIZE)
    rows = (top[:, None] + span)[:, :, None]
    columns = (left[:, None] + span)[:, None, :]
    x = padded[torch.arange(n)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)

    # A box of 6 to 14 pixels, in a quarter of the pictures, becomes the mean colour (0 after normalisation).
    erase = torch.rand(n, generator=generator) < 0.25
    height = torch.randint(6, 15, (n,), generator=generator)
    width = torch.randint(6, 15, (n,), generator=generator)
    box_top = torch.randint(0, SIZE, (n,), generator=generator) - height // 2
    box_left = torch.randint(0, SIZE, (n,), generator=generator) - width // 2
    in_rows = (span >= box_top[:, None]) & (span < (box_top + height)[:, None])
    in_columns = (span >= box_left[:, None]) & (span < (box_left + width)[:, None])
    box = erase[:, None, None] & in_rows[:, :, None] & in_columns[:, None, :]
    return x.masked_fill(box[:, None], 0.0)


@torch.inference_mode()
def accuracy(network: nn.Module, pixels: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of pictures whose first answer is right, in per cent."""
    network.eval()
    right = 0
    for part, truth in zip(pixels.split(500), labels.split(500)):
        right += (network(normalised(part)).argmax(1) == truth).sum().item()
    return 100 * right / len(labels)


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 [n, 3, SIZE, SIZE] to float32, as torchvision's normalize does it."""
    return ((pixels.float() / 255) - MEAN) / STD


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist", type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--epochs", default=40, type=int)
    parser.add_argument("--batch", default=128, type=int)
    parser.add_argument("--lr", default=0.1, type=float)
    parser.add_argument("--weight-decay", default=5e-4, type=float)
    parser.add_argument("--seed", default=0, type=int)
    parser.add_argument("--bf16", action="store_true", help="autocast the forward pass to bfloat16 (fast with AMX)")
    parser.add_argument("--steps", type=int, help="stop after so many steps (to try the script out)")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    pixels, labels = prepared(args.data, "train")
    test_pixels, test_labels = prepared(args.data, "t10k")

    network = build(len(CLASSES)).to(memory_format=torch.channels_last)
    print(f"cfg {CFG} pool {POOL} hidden {HIDDEN} parameters {sum(p.numel() for p in network.parameters())}", flush=True)
    average = copy.deepcopy(network)
    decay, no_decay = [], []
    for name, parameter in network.named_parameters():
        (decay if parameter.ndim > 1 else no_decay).append(parameter)
    optimizer = torch.optim.SGD(
        [{"params": decay, "weight_decay": args.weight_decay}, {"params": no_decay, "weight_decay": 0.0}],
        lr=args.lr, momentum=0.9, nesterov=True,
    )
    steps_per_epoch = len(pixels) // args.batch
    total = args.epochs * steps_per_epoch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=total, pct_start=0.2)

    step = 0
    for epoch in range(args.epochs):
        started = time.time()
        network.train()
        running = 0.0
        order = torch.randperm(len(pixels), generator=generator)
        for chosen in order[: steps_per_epoch * args.batch].split(args.batch):
            x = augment(normalised(pixels[chosen]), generator).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                logits = network(x)
            loss = F.cross_entropy(logits.float(), labels[chosen], label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            running += loss.item()
            keep = min(0.998, (1 + step) / (10 + step))
            with torch.no_grad():
                for target, source in zip(average.state_dict().values(), network.state_dict().values()):
                    if target.is_floating_point():
                        target.lerp_(source, 1 - keep)
                    else:
                        target.copy_(source)
            if args.steps and step >= args.steps:
                break
        line = f"epoch {epoch + 1:2d}  loss {running / steps_per_epoch:.4f}  {time.time() - started:.0f} s"
        if (epoch + 1) % 5 == 0:
            line += f"  acc@1 on the test pictures {accuracy(average, test_pixels, test_labels):.2f} %"
        print(line, flush=True)
        if args.steps and step >= args.steps:
            break

    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "fashion-vgg.pth"
    state = {name: value.contiguous() for name, value in average.eval().state_dict().items()}
    torch.save(state, path)
    print(f"{path} {path.stat().st_size} bytes sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
