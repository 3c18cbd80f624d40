"""The `Predictor`: from images to predictions, without importing torch for ONNX bundles."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image

from cnn_classifier.data.images.preprocess import ImageSource, Pixels
from cnn_classifier.data.sources.listing import expand_image_paths
from cnn_classifier.errors import ConfigError
from cnn_classifier.inference.backends import Backend, ModelOutput, OutputRow, Probabilities
from cnn_classifier.inference.decoding import iter_decoded
from cnn_classifier.inference.loading import load_backend
from cnn_classifier.inference.metadata import ModelMetadata
from cnn_classifier.inference.prediction import Prediction, RejectionReason


class Predictor:
    """A trained classifier with its preprocessing and calibration.

    Args:
        backend: The inference backend, see `cnn_classifier.inference.backends`.
        metadata: The class names, preprocessing, temperature and rejection thresholds.
        batch_size: The number of images per forward pass.

    Example:
        >>> predictor = Predictor.load("outputs/first")  # doctest: +SKIP
        >>> predictor.predict("photo.jpg").label  # doctest: +SKIP
        'cats'
    """

    def __init__(self, backend: Backend, metadata: ModelMetadata, *, batch_size: int = 32) -> None:
        self.backend, self.metadata, self.batch_size = backend, metadata, batch_size
        self.class_names, self.preprocess = metadata.class_names, metadata.preprocess

    @classmethod
    def load(
        cls, path: str | Path, *, device: str | None = None, trusted: Sequence[str] = (), batch_size: int = 32
    ) -> "Predictor":
        """Load a checkpoint, the best checkpoint of a run directory, or an exported bundle.

        Args:
            path: The file or directory.
            device: `cpu`, `cuda` or `mps`; the fastest available device if not given. Bundles run on the CPU.
            trusted: Import prefixes of network classes of your own that the checkpoint may name.
            batch_size: The number of images per forward pass.

        Raises:
            CheckpointError: If the file is missing, damaged or not a model of this package.
            ConfigError: If the device does not exist, or a package is missing.
        """
        return cls(*load_backend(Path(path), device=device, trusted=trusted), batch_size=batch_size)

    @overload
    def predict(  # type: ignore[overload-overlap]
        self, source: ImageSource, *, top_k: int = 5, threshold: float | None = None
    ) -> Prediction: ...

    @overload
    def predict(
        self, source: Iterable[ImageSource], *, top_k: int = 5, threshold: float | None = None
    ) -> list[Prediction]: ...

    def predict(
        self, source: ImageSource | Iterable[ImageSource], *, top_k: int = 5, threshold: float | None = None
    ) -> Prediction | list[Prediction]:
        """Classify one image, or several.

        Args:
            source: A file, the bytes of a file, a PIL image, or a uint8 array (H, W) or (H, W, C); or an iterable of
                these; or a folder, whose images are classified in the order of their paths.
            top_k: The number of classes in `Prediction.top_k`.
            threshold: The minimum probability of the most probable class; the calibrated one if not given. 0 rejects
                nothing.

        Returns:
            A `Prediction` for one image, and otherwise a list. Images that cannot be read have an `error`.

        Raises:
            DataError: If a folder has no images.
        """
        if isinstance(source, str | Path) and Path(source).is_dir():
            source = expand_image_paths([str(source)])
        predictions = list(self.predict_iter(source, top_k=top_k, threshold=threshold))
        return predictions[0] if is_single(source) else predictions

    def predict_iter(
        self,
        sources: ImageSource | Iterable[ImageSource],
        *,
        top_k: int = 5,
        threshold: float | None = None,
        flip: bool = False,
    ) -> Iterator[Prediction]:
        """Classify images one after the other.

        Iterators, such as a camera, are consumed one batch at a time; the images of sequences are decoded in advance.

        Args:
            sources: The images, as for `predict`.
            top_k: The number of classes in `Prediction.top_k`.
            threshold: As for `predict`.
            flip: Whether to average each prediction with that of the mirrored image.

        Raises:
            ConfigError: If `top_k` is below 1, or `threshold` is not from 0 to 1.
        """
        if top_k < 1:
            raise ConfigError(f"top_k={top_k} is out of range: expected at least 1")
        if threshold is not None and not 0 <= threshold <= 1:
            raise ConfigError(f"threshold={threshold} is out of range: expected 0 to 1")
        for source, error, row in self._iter_outputs(sources, flip):
            path = str(source) if isinstance(source, str | Path) else None
            if row is None:
                yield Prediction(path, error=error)
            else:
                yield self.to_prediction(path, row, top_k, threshold)

    def predict_batch(self, pixels: Pixels, *, flip: bool = False) -> ModelOutput:
        """Compute the output for preprocessed images.

        Args:
            pixels: Preprocessed images, uint8 (B, H, W, C).
            flip: Whether to average the output with that of the mirrored images.
        """
        output = self.backend.predict(pixels)
        if not flip:
            return output
        flipped = self.backend.predict(pixels[:, :, ::-1].copy())
        return ModelOutput(*((original + mirrored) / 2 for original, mirrored in zip(output, flipped, strict=True)))

    def predict_proba(self, pixels: Pixels) -> Probabilities:
        """Return the class probabilities (B, K) of preprocessed images, uint8 (B, H, W, C)."""
        return self.predict_batch(pixels).probabilities

    def _iter_outputs(
        self, sources: ImageSource | Iterable[ImageSource], flip: bool
    ) -> Iterator[tuple[ImageSource, str | None, OutputRow | None]]:
        images: Iterable[ImageSource] = [sources] if is_single(sources) else sources  # type: ignore[assignment, list-item]
        for chunk, decoded in iter_decoded(images, self.preprocess, self.batch_size):
            readable = [pixels for pixels, _ in decoded if pixels is not None]
            rows = iter(self.predict_batch(np.stack(readable), flip=flip).to_rows() if readable else ())
            for source, (pixels, error) in zip(chunk, decoded, strict=True):
                yield source, error, None if pixels is None else next(rows)

    def to_prediction(self, path: str | None, row: OutputRow, top_k: int, threshold: float | None) -> Prediction:
        """Convert the output for one image to a `Prediction`, rejected below the minimum probability or similarity."""
        probabilities, similarity = row
        top_indices = np.argsort(-probabilities, kind="stable")[:top_k]
        ranked = [(self.class_names[index], float(probabilities[index])) for index in top_indices]
        label, probability = ranked[0]
        reason = self.rejection_reason(probability, similarity, threshold)
        return Prediction(
            path,
            label,
            probability,
            rejected=reason is not None,
            rejection_reason=reason,
            similarity=None if self.metadata.min_similarity is None else similarity,
            top_k=ranked,
        )

    def rejection_reason(
        self, probability: float, similarity: float, threshold: float | None
    ) -> RejectionReason | None:
        """Return why a prediction is rejected, or None. The arguments are those of `Prediction` and `predict`."""
        min_similarity = self.metadata.min_similarity
        if threshold == 0:
            return None
        if min_similarity is not None and similarity < min_similarity:
            return "out_of_distribution"
        return "low_confidence" if probability < (threshold or self.metadata.threshold) else None


def is_single(source: object) -> bool:
    """Return whether a source is one image, and not an iterable of images."""
    is_image = isinstance(source, str | Path | bytes | Image.Image)
    return is_image or (isinstance(source, np.ndarray) and source.ndim <= 3)
