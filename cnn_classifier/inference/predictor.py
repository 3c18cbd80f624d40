"""From a trained model to answers; free of torch, so that an ONNX bundle is used without it."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.data.parallel import NUM_DECODE_THREADS
from cnn_classifier.errors import ConfigError, UnreadableImageError
from cnn_classifier.inference.backends import Backend, ModelOutput, OutputRow, Probabilities
from cnn_classifier.inference.loading import load_backend
from cnn_classifier.inference.metadata import ModelMetadata

Source = Path | str | npt.NDArray[np.uint8]
DecodeResult = tuple[Pixels | None, str | None]
UNKNOWN = "unknown"
# Batches that are decoded while the network looks at one: enough to keep it busy, and all that is held in memory.
PREFETCH_BATCHES = 3


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    Args:
        path: The file; None for an array.
        label: Name of the likeliest class; `unknown` below a threshold; None if the image could not be read.
        probability: The probability of the likeliest class.
        familiarity: How near the image is to those of the training's validation, 1 at most; None if that is not told.
        top: The likeliest classes with their probabilities, likeliest first.
        error: Why the image could not be read.
    """

    path: str | None
    label: str | None = None
    probability: float | None = None
    similarity: float | None = None
    top_k: list[tuple[str, float]] = field(default_factory=list)
    error: str | None = None


class Predictor:
    """A trained classifier and all that it needs to look at an image.

    Args:
        engine: What computes.
        card: What the answers mean.
        batch_size: Images a forward pass.
    """

    def __init__(self, backend: Backend, metadata: ModelMetadata, *, batch_size: int = 32) -> None:
        self.backend, self.metadata, self.batch_size = backend, metadata, batch_size
        self.class_names, self.preprocess = metadata.class_names, metadata.preprocess

    @classmethod
    def load(
        cls, path: str | Path, *, device: str | None = None, trusted: Sequence[str] = (), batch_size: int = 32
    ) -> "Predictor":
        """The predictor of a checkpoint, of the best checkpoint of a run folder, or of an exported bundle.

        Args:
            path: The file or folder; it alone is enough.
            device: `cpu`, `cuda`, `mps`; by default the fastest that is there. Bundles run on the CPU.
            trusted: Import paths of networks of your own that it may name.
            batch_size: Images a forward pass.

        Raises:
            CheckpointError: If it cannot be used.
            ConfigError: If there is no such device, or a package is missing.
        """
        return cls(*load_backend(Path(path), device=device, trusted=trusted), batch_size=batch_size)

    def predict(self, sources: Iterable[Source], *, top_k: int = 5, threshold: float | None = None) -> list[Prediction]:
        """An answer for each file or array (uint8, RGB or grey), in order; unreadable ones carry an error."""
        return list(self.predict_iter(sources, top_k=top_k, threshold=threshold))

    def predict_iter(
        self, sources: Iterable[Source], *, top_k: int = 5, threshold: float | None = None, flip: bool = False
    ) -> Iterator[Prediction]:
        """As `predict`, one by one; the images of a list are decoded while the network looks at earlier ones.

        Args:
            sources: Files and arrays.
            top: How many classes each answer names.
            threshold: Below this probability the label is `unknown`; by default the model's own. With 0 every image is
                answered, however unfamiliar.
            flip: Average each answer with that of the mirror image.
        """
        if top_k < 1:
            raise ConfigError(f"top={top_k} is out of range; expected at least 1")
        min_probability = self.metadata.threshold if threshold is None else threshold
        for source, error, row in self._iter_outputs(sources, flip):
            path = None if isinstance(source, np.ndarray) else str(source)
            yield (
                Prediction(path, error=error) if row is None else self.to_prediction(path, row, top_k, min_probability)
            )

    def predict_batch(self, pixels: Pixels, *, flip: bool = False) -> ModelOutput:
        """Final pixels uint8 (B, H, W, C) -> answers; with `flip`, averaged with those of the mirror images."""
        output = self.backend.predict(pixels)
        if not flip:
            return output
        flipped = self.backend.predict(pixels[:, :, ::-1].copy())
        return ModelOutput(*((original + mirrored) / 2 for original, mirrored in zip(output, flipped, strict=True)))

    def predict_proba(self, pixels: Pixels) -> Probabilities:
        """Final pixels uint8 (B, H, W, C) -> probabilities (B, K)."""
        return self.predict_batch(pixels).probabilities

    def _iter_outputs(
        self, sources: Iterable[Source], flip: bool
    ) -> Iterator[tuple[Source, str | None, OutputRow | None]]:
        for chunk, decoded in self._iter_decoded(
            [sources] if isinstance(sources, str | Path | np.ndarray) else sources
        ):
            readable = [pixels for pixels, _ in decoded if pixels is not None]
            rows = iter(self.predict_batch(np.stack(readable), flip=flip).to_rows() if readable else ())
            for source, (pixels, error) in zip(chunk, decoded, strict=True):
                yield source, error, None if pixels is None else next(rows)

    def _iter_decoded(self, sources: Iterable[Source]) -> Iterator[tuple[list[Source], list[DecodeResult]]]:
        """Batches of sources with their pixels; of an iterator, such as a camera, no more is asked for than is due."""
        remaining = iter(sources)
        prefetch = PREFETCH_BATCHES if isinstance(sources, Sequence) else 0
        pending: deque[tuple[list[Source], list[Future[DecodeResult]]]] = deque()
        with ThreadPoolExecutor(NUM_DECODE_THREADS) as pool:
            while True:
                while len(pending) <= prefetch and (chunk := list(islice(remaining, self.batch_size))):
                    pending.append((chunk, [pool.submit(self._decode, source) for source in chunk]))
                if not pending:
                    return
                chunk, futures = pending.popleft()
                yield chunk, [future.result() for future in futures]

    def _decode(self, source: Source) -> DecodeResult:
        try:
            return self.preprocess.load(source), None
        except UnreadableImageError as error:
            return None, str(error)

    def to_prediction(self, path: str | None, row: OutputRow, top_k: int, min_probability: float) -> Prediction:
        """What is said of one image: its `top` classes, and `unknown` where it is too unsure or too unfamiliar."""
        probabilities, similarity = row
        top_indices = np.argsort(-probabilities, kind="stable")[:top_k]
        ranked = [(self.class_names[index], float(probabilities[index])) for index in top_indices]
        label, probability = ranked[0]
        min_similarity = self.metadata.min_similarity
        if min_probability > 0 and (
            probability < min_probability or (min_similarity is not None and similarity < min_similarity)
        ):
            label = UNKNOWN
        return Prediction(path, label, probability, None if min_similarity is None else similarity, ranked)
