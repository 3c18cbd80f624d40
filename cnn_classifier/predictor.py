"""From a trained model to answers; free of torch, so that an ONNX bundle is used without it."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cnn_classifier.card import Card
from cnn_classifier.data.parallel import DECODE_THREADS
from cnn_classifier.data.preprocess import Pixels
from cnn_classifier.engines import Answers, Engine, Probabilities, Row
from cnn_classifier.engines.find import find_engine
from cnn_classifier.errors import ConfigError, UnreadableImageError

Source = Path | str | npt.NDArray[np.uint8]
Loaded = tuple[Pixels | None, str | None]
UNKNOWN = "unknown"
# Batches that are decoded while the network looks at one: enough to keep it busy, and all that is held in memory.
AHEAD = 3


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
    familiarity: float | None = None
    top: list[tuple[str, float]] = field(default_factory=list)
    error: str | None = None


class Predictor:
    """A trained classifier and all that it needs to look at an image.

    Args:
        engine: What computes.
        card: What the answers mean.
        batch_size: Images a forward pass.
    """

    def __init__(self, engine: Engine, card: Card, *, batch_size: int = 32) -> None:
        self.engine, self.card, self.batch_size = engine, card, batch_size
        self.class_names, self.preprocess = card.class_names, card.preprocess

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
        return cls(*find_engine(Path(path), device=device, trusted=trusted), batch_size=batch_size)

    def predict(self, sources: Iterable[Source], *, top: int = 5, threshold: float | None = None) -> list[Prediction]:
        """An answer for each file or array (uint8, RGB or grey), in order; unreadable ones carry an error."""
        return list(self.stream(sources, top=top, threshold=threshold))

    def stream(
        self, sources: Iterable[Source], *, top: int = 5, threshold: float | None = None, flip: bool = False
    ) -> Iterator[Prediction]:
        """As `predict`, one by one; the images of a list are decoded while the network looks at earlier ones.

        Args:
            sources: Files and arrays.
            top: How many classes each answer names.
            threshold: Below this probability the label is `unknown`; by default the model's own. With 0 every image is
                answered, however unfamiliar.
            flip: Average each answer with that of the mirror image.
        """
        if top < 1:
            raise ConfigError(f"top={top} is out of range; expected at least 1")
        least = self.card.threshold if threshold is None else threshold
        for source, error, row in self._looked_at(sources, flip):
            path = None if isinstance(source, np.ndarray) else str(source)
            yield Prediction(path, error=error) if row is None else self.answer(path, row, top, least)

    def look(self, pixels: Pixels, *, flip: bool = False) -> Answers:
        """Final pixels uint8 (B, H, W, C) -> answers; with `flip`, averaged with those of the mirror images."""
        answers = self.engine.look(pixels)
        if not flip:
            return answers
        mirrored = self.engine.look(pixels[:, :, ::-1].copy())
        return Answers(*((one + other) / 2 for one, other in zip(answers, mirrored, strict=True)))

    def probabilities(self, pixels: Pixels) -> Probabilities:
        """Final pixels uint8 (B, H, W, C) -> probabilities (B, K)."""
        return self.look(pixels).probabilities

    def _looked_at(self, sources: Iterable[Source], flip: bool) -> Iterator[tuple[Source, str | None, Row | None]]:
        for chunk, loaded in self._decoded([sources] if isinstance(sources, str | Path | np.ndarray) else sources):
            readable = [pixels for pixels, _ in loaded if pixels is not None]
            rows = iter(self.look(np.stack(readable), flip=flip).rows() if readable else ())
            for source, (pixels, error) in zip(chunk, loaded, strict=True):
                yield source, error, None if pixels is None else next(rows)

    def _decoded(self, sources: Iterable[Source]) -> Iterator[tuple[list[Source], list[Loaded]]]:
        """Batches of sources with their pixels; of an iterator, such as a camera, no more is asked for than is due."""
        remaining = iter(sources)
        ahead = AHEAD if isinstance(sources, Sequence) else 0
        waiting: deque[tuple[list[Source], list[Future[Loaded]]]] = deque()
        with ThreadPoolExecutor(DECODE_THREADS) as pool:
            while True:
                while len(waiting) <= ahead and (chunk := list(islice(remaining, self.batch_size))):
                    waiting.append((chunk, [pool.submit(self._load, source) for source in chunk]))
                if not waiting:
                    return
                chunk, futures = waiting.popleft()
                yield chunk, [future.result() for future in futures]

    def _load(self, source: Source) -> Loaded:
        try:
            return self.preprocess.load(source), None
        except UnreadableImageError as error:
            return None, str(error)

    def answer(self, path: str | None, row: Row, top: int, least: float) -> Prediction:
        """What is said of one image: its `top` classes, and `unknown` where it is too unsure or too unfamiliar."""
        probabilities, familiarity = row
        best = np.argsort(-probabilities, kind="stable")[:top]
        ranked = [(self.class_names[index], float(probabilities[index])) for index in best]
        label, probability = ranked[0]
        wanted = self.card.least_familiarity
        if least > 0 and (probability < least or (wanted is not None and familiarity < wanted)):
            label = UNKNOWN
        return Prediction(path, label, probability, None if wanted is None else familiarity, ranked)
