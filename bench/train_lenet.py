"""Train LeNet on 8,000 MNIST digits and write the package data of graphcnn.models.

python bench/train_lenet.py --data FILE.npz [--out DIR]

FILE holds `images` u8[10000,28,28] and `labels` u8[10000], shuffled. The network is trained on the
first 8,000 and measured on the other 2,000, of which the first 1,000 are written along with the
weights. Training images are shifted, turned and scaled at random. The seed is fixed; the same
machine and torch version give the same weights.
"""

from __future__ import annotations

import argparse
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

TRAINED_ON = 8_000
SHIPPED = 1_000
EPOCHS = 60
BATCH = 64
LEAST_ACCURACY = 0.985


def lenet() -> nn.Sequential:
    """The layers of graphcnn.models.lenet, under the same names."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 6, 5, padding=2),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc3=nn.Linear(400, 120),
            relu3=nn.ReLU(),
            fc4=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            fc5=nn.Linear(84, 10),
        )
    )


def distorted(images: Tensor) -> Tensor:
    """Each image turned by up to 12 degrees, scaled by up to 12 % and shifted by up to 2 pixels."""
    count = len(images)
    angle = (2 * torch.rand(count) - 1) * np.deg2rad(12)
    scale = 1 + 0.12 * (2 * torch.rand(count) - 1)
    shift = (2 * torch.rand(count, 2) - 1) * (2 * 2 / 28)
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    rows = (torch.stack((cos, -sin, shift[:, 0]), 1), torch.stack((sin, cos, shift[:, 1]), 1))
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def train(images: Tensor, labels: Tensor, epochs: int) -> nn.Sequential:
    """A network trained with AdamW under a one-cycle learning rate."""
    network = lenet()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    steps = epochs * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(images)).split(BATCH):
            loss = functional.cross_entropy(network(distorted(images[chosen])), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(chosen)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1:3d}  training loss {total / len(images):.4f}", flush=True)
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="npz of images and labels")
    default = Path(__file__).resolve().parents[1] / "graphcnn" / "models" / "data"
    parser.add_argument("--out", type=Path, default=default, help="directory to write to")
    options = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(2)
    with np.load(options.data) as npz:
        pixels, digits = npz["images"], npz["labels"]
    images = torch.from_numpy(pixels[:, None].astype(np.float32) / 255)
    labels = torch.from_numpy(digits.astype(np.int64))

    started = time.perf_counter()
    network = train(images[:TRAINED_ON], labels[:TRAINED_ON], EPOCHS)
    seconds = time.perf_counter() - started
    with torch.inference_mode():
        right = network(images[TRAINED_ON:]).argmax(1) == labels[TRAINED_ON:]
    accuracy, shipped = right.float().mean().item(), right[:SHIPPED].float().mean().item()
    print(f"{seconds:.0f} s; {accuracy:.2%} of {len(right)} digits kept out are right")
    print(f"{shipped:.1%} of the first {SHIPPED}, which are shipped")
    if accuracy < LEAST_ACCURACY:
        raise SystemExit(f"nothing written: at least {LEAST_ACCURACY:.1%} is wanted")

    options.out.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, options.out / "lenet.safetensors")
    kept = slice(TRAINED_ON, TRAINED_ON + SHIPPED)
    np.savez_compressed(
        options.out / f"mnist_{SHIPPED}.npz", images=pixels[kept], labels=digits[kept]
    )


if __name__ == "__main__":
    main()
