"""From a checkpoint to answers."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from glob import glob
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cnn_classifier.checkpoint import load_classifier
from cnn_classifier.data.augment import normalise, to_float
from cnn_classifier.data.parallel import DECODE_THREADS
from cnn_classifier.data.preprocess import Pixels
from cnn_classifier.data.walk import image_files
from cnn_classifier.errors import ConfigError, DataError, UnreadableImageError
from cnn_classifier.hardware import device_of
from cnn_classifier.module import ImageClassifier

Source = Path | str | npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    Args:
        path: The file; None for an array.
        label: Name of the likeliest class; None if the image could not be read.
        probability: The network's probability of that class.
        top: The likeliest classes with their probabilities, likeliest first.
        error: Why the image could not be read.
    """

    path: str | None
    label: str | None = None
    probability: float | None = None
    top: list[tuple[str, float]] = field(default_factory=list)
    error: str | None = None


class Predictor:
    """A trained classifier and all that it needs to look at an image.

    Args:
        classifier: The trained module.
        device: `cpu`, `cuda`, `mps`; by default the fastest that is there.
        batch_size: Images a forward pass.

    Raises:
        ConfigError: If there is no such device.
    """

    def __init__(
        self, classifier: ImageClassifier, *, device: str | torch.device | None = None, batch_size: int = 32
    ) -> None:
        try:
            self.device = torch.device(device) if device else device_of("auto")
            self.classifier = classifier.eval().to(self.device)
        except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
            told = str(error).splitlines()[0]
            raise ConfigError(f"device {device} cannot be used ({told}); expected cpu, cuda or mps") from error
        self.class_names, self.aliases = classifier.class_names, classifier.aliases
        self.preprocess = classifier.preprocess
        self.batch_size = batch_size

    @classmethod
    def from_checkpoint(
        cls, path: str | Path, *, device: str | torch.device | None = None, trusted: Sequence[str] = ()
    ) -> "Predictor":
        """The predictor of a checkpoint; the file alone is enough.

        Args:
            path: A checkpoint, such as `best.ckpt`.
            device: As for the class.
            trusted: Import paths of networks of your own that the checkpoint may name.

        Raises:
            CheckpointError: If it cannot be used.
        """
        return cls(load_classifier(path, trusted=trusted), device=device)

    def predict(self, sources: Iterable[Source], *, top: int = 5) -> list[Prediction]:
        """An answer for each file or array (uint8, RGB or grey), in order; unreadable ones carry an error."""
        return list(self.stream(sources, top=top))

    def stream(self, sources: Iterable[Source], *, top: int = 5) -> Iterator[Prediction]:
        """As `predict`, one by one; images are decoded in threads, one batch at a time."""
        if top < 1:
            raise ConfigError(f"top={top} is out of range; expected at least 1")
        remaining = iter([sources] if isinstance(sources, str | Path | np.ndarray) else sources)
        with ThreadPoolExecutor(DECODE_THREADS) as pool:
            while chunk := list(islice(remaining, self.batch_size)):
                loaded = list(pool.map(self._load, chunk))
                readable = [pixels for pixels, _ in loaded if pixels is not None]
                rows = iter(self.probabilities(np.stack(readable)) if readable else ())
                for source, (_, error) in zip(chunk, loaded, strict=True):
                    path = None if isinstance(source, np.ndarray) else str(source)
                    yield Prediction(path, error=error) if error else self._answer(path, next(rows), top)

    def probabilities(self, pixels: Pixels) -> Probabilities:
        """Final pixels uint8 (B, H, W, C) -> probabilities (B, K)."""
        return self.batch_probabilities(torch.from_numpy(pixels).permute(0, 3, 1, 2))

    @torch.inference_mode()
    def batch_probabilities(self, images: Tensor, *, flip: bool = False) -> Probabilities:
        """Images uint8 (B, C, H, W) -> probabilities (B, K); with `flip`, averaged with those of the mirror images."""
        pixels = normalise(to_float(images.to(self.device)), self.preprocess)
        seen = [pixels, pixels.flip(-1)] if flip else [pixels]
        answers = [self.classifier(pixels).cpu().double().softmax(dim=1) for pixels in seen]
        return torch.stack(answers).mean(0).numpy()

    def _load(self, source: Source) -> tuple[Pixels | None, str | None]:
        try:
            return self.preprocess.load(source), None
        except UnreadableImageError as error:
            return None, str(error)

    def _answer(self, path: str | None, row: npt.NDArray[np.float64], top: int) -> Prediction:
        best = np.argsort(-row, kind="stable")[:top]
        ranked = [(self.class_names[index], float(row[index])) for index in best]
        return Prediction(path, *ranked[0], top=ranked)


def find_images(words: Iterable[str]) -> list[Path]:
    """The files meant by paths, folders (searched through) and patterns such as `photos/*.jpg`.

    Raises:
        DataError: If a word leads to no file.
    """
    found: list[Path] = []
    for word in words:
        path = Path(word).expanduser()
        if path.is_dir():
            here = sorted(image_files(path))
        else:  # a file whose name looks like a pattern is still that file
            matches = [str(path)] if path.is_file() else glob(str(path), recursive=True)  # noqa: PTH207 pathlib refuses **.jpg
            here = sorted(Path(match) for match in matches if Path(match).is_file())
        if not here:
            what = "holds no images" if path.is_dir() else "does not exist and matches nothing"
            raise DataError(f"{word} {what}; give an image, a folder of images or a pattern")
        found += here
    return found
