"""A quick classifier: the features of a frozen backbone, with a last layer that is fitted in closed form."""

import torch

from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.models.feature_bank import find_output_layer
from cnn_classifier.training.distributed import broadcast_from_rank_zero
from cnn_classifier.training.module import ImageClassifier
from cnn_classifier.training.probe.features import get_features
from cnn_classifier.training.probe.head import LinearHead, fit_head


def fit_probe(module: ImageClassifier, datamodule: ImageFolderDataModule) -> LinearHead | None:
    """Fit the last layer of a network to the training images; the other layers are not changed.

    Args:
        module: The module with the weights of a pretrained backbone.
        datamodule: The prepared images.

    Returns:
        The fitted layer; None if the network has no single vector of features per image.
    """
    head = broadcast_from_rank_zero(lambda: compute_head(module, datamodule))
    layer = find_output_layer(module.network)
    if head is None or layer is None:
        return None
    with torch.no_grad():
        weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
        weight.copy_(head.weight.view_as(weight))
        bias.copy_(head.bias)
    return head


def compute_head(module: ImageClassifier, datamodule: ImageFolderDataModule) -> LinearHead | None:
    """Compute the features of the training images, in the order of their paths, and fit a linear head to them."""
    prepared = datamodule.prepared
    samples = sorted(prepared.splits["train"], key=lambda sample: (sample.group or "", str(sample.path)))
    features = get_features(module, prepared.store, prepared.digests, [sample.path for sample in samples])
    if features is None:
        return None
    return fit_head(features, torch.tensor([sample.label for sample in samples]), datamodule.num_classes)
