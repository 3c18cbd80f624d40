"""The exported module: normalization, network, temperature and softmax."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.loading.augment import normalize_constants
from cnn_classifier.errors import ConfigError
from cnn_classifier.inference.metadata import ModelMetadata
from cnn_classifier.models.feature_bank import forward_with_features
from cnn_classifier.training.module import ImageClassifier


class InferenceGraph(nn.Module):
    """A network with normalization, temperature, softmax and, if available, the similarity to known images.

    Args:
        classifier: The trained module.
        metadata: The preprocessing and temperature of the module.
        resize: Whether inputs may have any size and are resized as `metadata.preprocess` specifies.

    Raises:
        ConfigError: If `resize` is set and the preprocessing pads images.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, classifier: ImageClassifier, metadata: ModelMetadata, *, resize: bool = False) -> None:
        super().__init__()
        # Exported programs store the contiguous layout; the copy leaves the classifier unchanged.
        self.network = copy.deepcopy(classifier.network).to(memory_format=torch.contiguous_format)
        self.feature_bank = classifier.feature_bank
        if resize and metadata.preprocess.resize == "pad":
            raise ConfigError(
                "--any-size requires a model trained with dataset.resize=stretch or crop, got dataset.resize=pad."
            )
        self.temperature, self.preprocess, self.resize = metadata.temperature, metadata.preprocess, resize
        shift, scale = normalize_constants(metadata.preprocess.mean, metadata.preprocess.std, torch.device("cpu"))
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale / 255)

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Compute probabilities and, if the classifier has a feature bank, similarities.

        Args:
            pixels: Images, uint8 (B, H, W, C).

        Returns:
            The probabilities, float32 (B, K), or a tuple of them and the similarities, float32 (B,).
        """
        images = pixels.permute(0, 3, 1, 2).float()
        if self.resize:
            images = resize_images(images, self.preprocess)
        logits, features = forward_with_features(self.network, images * self.scale + self.shift)
        probabilities = (logits / self.temperature).softmax(dim=1)
        if self.feature_bank is None or features is None:
            return probabilities
        return probabilities, self.feature_bank(features, images / 255)


def resize_images(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Resize images like `Preprocess.resize_image`, which rounds to integers after each of the two passes.

    Args:
        images: Float images, (B, C, H, W).
        preprocess: The image size and the resize mode, `stretch` or `crop`.

    Returns:
        Float images with integer values, (B, C, image_size, image_size).
    """
    size = preprocess.image_size
    height, width = images.shape[-2:]
    if preprocess.resize == "crop":
        crop_size = torch.sym_min(height, width)
        top, left = (height - crop_size) // 2, (width - crop_size) // 2
        images = images.narrow(-2, top, crop_size).narrow(-1, left, crop_size)
    horizontal = functional.interpolate(images, (images.shape[-2], size), mode="bilinear", antialias=True).round()
    return functional.interpolate(horizontal, (size, size), mode="bilinear", antialias=True).round()
