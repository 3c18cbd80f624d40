"""Timing of training steps and of inference on random images."""

import statistics
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cached_property
from math import inf

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from cnn_classifier.training.devices import MEMORY_FORMATS, release_memory

PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}
NUM_INFERENCE_BATCHES = 4
MIN_TIMING_SECONDS, MAX_TIMED_STEPS = 2.0, 20  # per execution; at least two steps are timed


class StepTimer:
    """A timer of training steps, on a copy of a network that is created on first use.

    Args:
        network: The network, which is not modified.
        device: The device of the training steps.
        batch_shape: The shape of the batch of images that is timed, (N, C, H, W).
        make_optimizer: A function that creates an optimizer for a network; its step is timed, too.
        augment: A module that augments images (N, C, H, W) and labels (N,) in each step; it is timed, too.
        num_parts: The number of batches in a training step, whose gradients are accumulated.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        batch_shape: Sequence[int],
        make_optimizer: Callable[[nn.Module], Optimizer] | None = None,
        augment: nn.Module | None = None,
        num_parts: int = 1,
    ) -> None:
        self.network, self.device, self.batch_shape = network, device, batch_shape
        self.make_optimizer, self.augment, self.num_parts = make_optimizer, augment, num_parts

    @property
    def images_per_step(self) -> int:
        """The number of images of a training step."""
        return self.batch_shape[0] * self.num_parts

    @cached_property
    def copy(self) -> nn.Module:
        """The copy of the network."""
        return deepcopy(self.network).to(self.device).train()

    @cached_property
    def optimizer(self) -> Optimizer | None:
        """The optimizer of the copy."""
        return self.make_optimizer(self.copy) if self.make_optimizer is not None else None

    @cached_property
    def batch(self) -> tuple[Tensor, Tensor]:
        """Random images (N, C, H, W) and labels (N,)."""
        images = torch.rand(*self.batch_shape, device=self.device)
        with torch.no_grad():
            num_classes = self.copy(images).shape[1]
        return images, torch.arange(len(images), device=self.device) % num_classes

    def measure(
        self, precision: str, memory_format: str, *, max_step_seconds: float = inf, duration: float = MIN_TIMING_SECONDS
    ) -> float:
        """Return the median duration of a training step in seconds.

        Args:
            precision: The `trainer.precision`.
            memory_format: A key of `MEMORY_FORMATS`.
            max_step_seconds: A limit in seconds. Timing stops if the first step exceeds four times the limit, or the
                second step exceeds the limit.
            duration: The duration of the timing in seconds; 2 s are sometimes wrong by 10 %, 12 s by 5 % (measured).
        """
        release_memory()  # other candidates need blocks of other sizes
        self.set_memory_format(memory_format)
        max_step_seconds /= self.num_parts
        warmup_seconds = self.time_step(precision)  # excludes one-time costs such as algorithm selection
        if warmup_seconds > 4 * max_step_seconds:
            return warmup_seconds * self.num_parts
        step_seconds: list[float] = []
        max_steps = MAX_TIMED_STEPS * duration / MIN_TIMING_SECONDS
        while len(step_seconds) < 2 or (sum(step_seconds) < duration and len(step_seconds) < max_steps):
            step_seconds.append(self.time_step(precision))
            if step_seconds[0] > max_step_seconds:
                break
        median = statistics.median(step_seconds[len(step_seconds) // 2 :])  # the first steps are slower by a fifth
        return median * self.num_parts

    @torch.inference_mode()
    def measure_inference(self) -> float:
        """Return the median duration of inference in float32 per image, in seconds."""
        network, (images, _), durations = self.copy.eval(), self.batch, []
        for _ in range(NUM_INFERENCE_BATCHES):
            start_time = time.perf_counter()
            network(images)
            if self.device.type != "cpu":
                torch.accelerator.synchronize()
            durations.append(time.perf_counter() - start_time)
        return statistics.median(durations[1:]) / len(images)  # the first one is slower

    def set_memory_format(self, memory_format: str) -> None:
        """Set the memory format of weights and images."""
        self.memory_format = MEMORY_FORMATS[memory_format]
        self.copy.to(memory_format=self.memory_format)

    def compile(self, precision: str, memory_format: str) -> float:
        """Compile the copy; return the duration of compilation and first step in seconds."""
        self.set_memory_format(memory_format)
        self.copy.compile()
        return self.time_step(precision)

    def time_step(self, precision: str) -> float:
        """Return the duration of one training step in seconds."""
        images, labels = self.batch
        start_time = time.perf_counter()
        dtype = PRECISIONS.get(precision, torch.float32)  # an approximation for other precisions
        if self.augment is not None:
            images, labels = self.augment(images, labels)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32):
            loss = functional.cross_entropy(self.copy(images.to(memory_format=self.memory_format)), labels)
        loss.backward()
        if self.optimizer is not None:
            self.optimizer.step(loss.detach().item)  # some optimizers require a closure
        self.copy.zero_grad()
        if self.device.type != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter() - start_time
