"""A stock Lightning script: the seed network with `ImageFolder`, `DataLoader` and default options."""

import argparse
import os
import time

import lightning.pytorch as lightning
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2


def conv_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return Conv - BatchNorm - ReLU - MaxPool - Dropout."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.2),
    )


class Net(lightning.LightningModule):
    """The seed network with cross-entropy loss and Adam."""

    def __init__(self, num_classes: int, image_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(conv_block(inputs, width) for inputs, width in ((3, 32), (32, 64), (64, 128), (128, 256))),
            nn.Flatten(),
            nn.Linear(256 * (image_size // 16) ** 2, 256),
            nn.BatchNorm1d(256),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(256, num_classes),
        )

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        images, labels = batch
        loss = nn.functional.cross_entropy(self.layers(images), labels)
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-3, weight_decay=1e-4)


class ThroughputCallback(lightning.Callback):
    """A `Callback` that prints the images per second of each epoch, or the time to the first step and then exits.

    Args:
        num_images: The number of images per epoch.
        first_step_since: The start time of the process; None to train normally.
    """

    def __init__(self, num_images: int, first_step_since: float | None) -> None:
        self.num_images, self.first_step_since = num_images, first_step_since

    def on_train_epoch_start(self, *_: object) -> None:
        self.start_time = time.perf_counter()

    def on_train_batch_end(self, *_: object) -> None:
        if self.first_step_since is not None:
            print(f"first step {time.time() - self.first_step_since:.3f}", flush=True)
            os._exit(0)

    def on_train_epoch_end(self, *_: object) -> None:
        print(f"images/s {self.num_images / (time.perf_counter() - self.start_time):.2f}", flush=True)


def main() -> None:
    """Train the network and print its speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--first-step-since", type=float)
    arguments = parser.parse_args()
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((arguments.size, arguments.size), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(18, scale=(0.9, 1.1)),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    images = ImageFolder(f"{arguments.root}/train", transform)
    loader = DataLoader(
        images,
        arguments.batch,
        shuffle=True,
        num_workers=arguments.workers,
        persistent_workers=arguments.workers > 0,
        drop_last=True,
    )
    trainer = lightning.Trainer(
        max_epochs=arguments.epochs,
        callbacks=[ThroughputCallback(len(images), arguments.first_step_since)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Net(len(images.classes), arguments.size), loader)


if __name__ == "__main__":
    main()
