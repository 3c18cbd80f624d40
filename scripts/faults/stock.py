"""A stock Lightning training script, as a baseline for the same faults."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from workload import BATCH, EPOCHS


class Net(LightningModule):
    """A small convolutional network for two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 32, 3),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, 2),
        )

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-3)


class RecordingImageFolder(ImageFolder):
    """An `ImageFolder` that records the indices of the images it loads."""

    used_indices: ClassVar[list[int]] = []

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        RecordingImageFolder.used_indices.append(index)
        return super().__getitem__(index)


def train(
    images: Path, folder: Path, *callbacks: Callback, resume: Path | None = None, every_n_steps: int | None = None
) -> int:
    """Fit with `ModelCheckpoint(save_last=True)`.

    Args:
        images: The dataset folder.
        folder: The folder for checkpoints.
        *callbacks: Additional callbacks.
        resume: The checkpoint to resume from; None to start from scratch.
        every_n_steps: The number of steps between checkpoints; None to save once per epoch.

    Returns:
        The exit code of the script, 0.
    """
    seed_everything(1)
    transform = v2.Compose([v2.ToImage(), v2.Resize((16, 16)), v2.ToDtype(torch.float32, scale=True)])
    loader: DataLoader[Any] = DataLoader(RecordingImageFolder(str(images / "train"), transform), BATCH, shuffle=True)
    checkpoint_callback = ModelCheckpoint(
        folder, save_last=True, every_n_train_steps=every_n_steps, save_top_k=-1 if every_n_steps else 1
    )
    trainer = Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[checkpoint_callback, *callbacks],
    )  # fmt: skip
    trainer.fit(Net(), loader, ckpt_path=resume)
    return 0
