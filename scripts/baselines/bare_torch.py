"""A minimal torch script that trains the seed network on one batch, as a baseline for memory."""

import argparse

import torch
from torch import nn

NUM_STEPS = 20


def conv_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return Conv - BatchNorm - ReLU - MaxPool - Dropout."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.2),
    )


def main() -> None:
    """Train the network on one random batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    network = nn.Sequential(
        *(conv_block(inputs, width) for inputs, width in ((3, 32), (32, 64), (64, 128), (128, 256))),
        nn.Flatten(),
        nn.Linear(256 * (arguments.size // 16) ** 2, 256),
        nn.BatchNorm1d(256),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(256, 2),
    )
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    images, labels = torch.rand(arguments.batch, 3, arguments.size, arguments.size), torch.arange(arguments.batch) % 2
    for _ in range(NUM_STEPS):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main()
