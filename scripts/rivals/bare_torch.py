"""The least there is: torch alone trains the seed network on one batch, for the memory that anybody pays."""

import argparse

import torch
from torch import nn

STEPS = 20


def block(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    words = parser.parse_args()
    network = nn.Sequential(
        *(block(inputs, width) for inputs, width in ((3, 32), (32, 64), (64, 128), (128, 256))),
        nn.Flatten(),
        nn.Linear(256 * (words.size // 16) ** 2, 256),
        nn.BatchNorm1d(256),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(256, 2),
    )
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    images, labels = torch.rand(words.batch, 3, words.size, words.size), torch.arange(words.batch) % 2
    for _ in range(STEPS):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main()
