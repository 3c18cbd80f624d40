"""Compare scores for the detection of out-of-distribution images: `python scripts/ood.py RUN --out birds=FOLDER`.

The test images of a run are compared with the images of other folders, with generated images (noise, blank images and
textures) and with the digits of scikit-learn. For each run, the script prints a Markdown table with a row per score.
The first column is the percentage of test images that is rejected at the threshold from the validation images. The
other columns are sets of images and contain three numbers: the area under the ROC curve (1: perfect, 0.5: chance), the
fraction that is accepted if 95 % of the test images are (FPR95), and the percentage that is rejected at the threshold.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from omegaconf import OmegaConf
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import Tensor

from cnn_classifier import Predictor
from cnn_classifier.config.compose import to_container
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.images.preprocess import ImageSource
from cnn_classifier.data.sources.listing import expand_image_paths
from cnn_classifier.data.sources.resolve import scan_source
from cnn_classifier.data.splits.split_csv import read_split
from cnn_classifier.inference.backends.pytorch import PyTorchBackend
from cnn_classifier.inference.calibrate import build_feature_bank
from cnn_classifier.inference.decoding import iter_decoded
from cnn_classifier.models.feature_bank import NUM_NEIGHBORS, FeatureBank, image_statistics
from cnn_classifier.report.metrics.calibration import rejection_threshold

FRACTION = 0.025  # of images like the validation images to reject
SHRINKAGE = 0.1  # of covariance matrices towards a multiple of the identity
GENERATED_SIZE, NUM_GENERATED = 64, 100


class Outputs(NamedTuple):
    """The outputs of a network for N images: features (N, D), image statistics (N, S) and logits (N, K)."""

    features: Tensor
    statistics: Tensor
    logits: Tensor


Score = Callable[[Outputs], Tensor]  # higher for known images


def generate_images(seed: int = 0) -> dict[str, list[npt.NDArray[np.uint8]]]:
    """Return sets of uint8 images (H, W, C) that show no object, and handwritten digits."""
    rng = np.random.default_rng(seed)
    shape = (GENERATED_SIZE, GENERATED_SIZE, 3)
    y, x = np.mgrid[:GENERATED_SIZE, :GENERATED_SIZE]
    textures = []
    for _ in range(NUM_GENERATED):
        angle, frequency = rng.uniform(0, np.pi), rng.uniform(0.1, 1.2)
        wave = (np.sin(frequency * (np.cos(angle) * x + np.sin(angle) * y)) + 1)[..., None] / 2
        first, second = rng.integers(0, 256, (2, 3))
        textures.append((first * wave + second * (1 - wave)).astype(np.uint8))
    digits = [Image.fromarray((digit * 15.9).astype(np.uint8)) for digit in load_digits().images[:NUM_GENERATED]]
    return {
        "noise": [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(NUM_GENERATED)],
        "blank": [np.full(shape, rng.integers(0, 256, 3), np.uint8) for _ in range(NUM_GENERATED)],
        "textures": textures,
        "digits": [np.asarray(digit.resize(shape[:2]).convert("RGB")) for digit in digits],
    }


def compute_outputs(predictor: Predictor, sources: Sequence[ImageSource]) -> Outputs:
    """Compute the outputs for images; unreadable files are omitted."""
    backend = predictor.backend
    assert isinstance(backend, PyTorchBackend)
    batches = []
    for _, decoded in iter_decoded(sources, predictor.preprocess, predictor.batch_size):
        images = backend.to_images(np.stack([pixels for pixels, _ in decoded if pixels is not None]))
        logits, features = backend.forward_with_features(images)
        assert features is not None, "the network has no linear layer"
        batches.append((features, image_statistics(images), logits))
    return Outputs(*(torch.cat(parts).cpu() for parts in zip(*batches, strict=True)))


def fit_mahalanobis(features: Tensor, groups: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the negative squared Mahalanobis distance to the nearest group mean (arXiv:1807.03888)."""
    means = torch.stack([features[groups == group].mean(dim=0) for group in groups.unique()])
    centered = features - means[groups]
    covariance = centered.T @ centered / len(features)
    identity = torch.eye(len(covariance)) * covariance.diagonal().mean()
    precision = torch.linalg.inv((1 - SHRINKAGE) * covariance + SHRINKAGE * identity)
    return lambda other: torch.stack(
        [-(((other - mean) @ precision) * (other - mean)).sum(dim=1) for mean in means]
    ).amax(dim=0)


def fit_vim(known: Outputs, head: torch.nn.Linear) -> Score:
    """Return the energy minus the weighted norm of features outside of the principal subspace (arXiv:2203.10807)."""
    origin = -torch.linalg.pinv(head.weight.detach()) @ head.bias.detach()
    num_dims = known.features.shape[1]
    num_principal = min(512 if num_dims >= 768 else num_dims // 2, len(known.features) // 2)
    residual_space = torch.linalg.eigh(torch.cov((known.features - origin).T)).eigenvectors[:, :-num_principal]

    def residual(outputs: Outputs) -> Tensor:
        return ((outputs.features - origin) @ residual_space).norm(dim=1)

    weight = known.logits.amax(dim=1).mean() / residual(known).mean()
    return lambda outputs: outputs.logits.logsumexp(dim=1) - weight * residual(outputs)


def find_head(predictor: Predictor) -> torch.nn.Linear:
    """Return the last linear layer of the network."""
    assert isinstance(predictor.backend, PyTorchBackend)
    return [layer for layer in predictor.backend.classifier.modules() if isinstance(layer, torch.nn.Linear)][-1]


def build_scores(known: Outputs, labels: Tensor, head: torch.nn.Linear, bank: FeatureBank) -> dict[str, Score]:
    """Return the scores that are compared, fitted on training images."""
    nearest = fit_mahalanobis(known.features, labels)
    background = fit_mahalanobis(known.features, torch.zeros_like(labels))
    return {
        "maximum softmax probability": lambda outputs: outputs.logits.softmax(dim=1).amax(dim=1),
        "maximum logit": lambda outputs: outputs.logits.amax(dim=1),
        "energy": lambda outputs: outputs.logits.logsumexp(dim=1),
        "Mahalanobis": lambda outputs: nearest(outputs.features),
        "relative Mahalanobis": lambda outputs: nearest(outputs.features) - background(outputs.features),
        "ViM": fit_vim(known, head),
        "features, 5th neighbor": lambda outputs: bank.feature_similarities(outputs.features),
        "image statistics, 5th neighbor": lambda outputs: -bank.distances(outputs.statistics),
    }


def format_row(name: str, threshold: float | None, test: Tensor, others: Sequence[Tensor]) -> str:
    """Return a row of the table: the rejected test images, and AUROC, FPR95 and rejected images of each other set."""
    accepted_at_95 = torch.quantile(test, 0.05)
    threshold = -np.inf if threshold is None else threshold
    cells = [f"{100 * (test < threshold).float().mean():.1f}"]
    for other in others:
        is_known = np.repeat([1, 0], [len(test), len(other)])
        auroc = roc_auc_score(is_known, torch.cat([test, other]).numpy())
        false_positive_rate = (other >= accepted_at_95).float().mean()
        cells.append(f"{auroc:.2f} / {false_positive_rate:.2f} / {100 * (other < threshold).float().mean():.0f}")
    return f"| {' | '.join([name, *cells])} |"


def compare_scores(run: Path, folders: dict[str, Path], num_images: int) -> None:
    """Print the table of a run."""
    predictor = Predictor.load(run, device="cpu")
    index = scan_source(DatasetConfig(**to_container(OmegaConf.load(run / "config.yaml").dataset)))
    splits = read_split(run / "split.csv", index)
    rng = np.random.default_rng(0)
    subsets = {
        name: [samples[row] for row in sorted(rng.permutation(len(samples))[: 2 * num_images])]
        for name, samples in splits.items()
    }
    outputs = {name: compute_outputs(predictor, [sample.path for sample in group]) for name, group in subsets.items()}
    known, held_out, test = outputs["train"], outputs["val"], outputs["test"]
    sets: dict[str, Sequence[ImageSource]] = {**generate_images()}
    for name, folder in folders.items():
        sets[name] = rng.permutation([str(path) for path in expand_image_paths([str(folder)])])[:num_images].tolist()
    others = {name: compute_outputs(predictor, images) for name, images in sets.items()}
    bank, min_similarity = build_feature_bank(known[:2], held_out[:2])
    assert bank is not None, "the run has too few images"

    accuracy = np.mean(test.logits.argmax(dim=1).numpy() == [sample.label for sample in subsets["test"]])
    sizes = ", ".join(f"{len(group)} {name}" for name, group in subsets.items())
    print(f"\n{run.name}: {sizes} images, test accuracy {100 * accuracy:.1f} %\n")
    titles = [f"{name} ({len(group.logits)})" for name, group in others.items()]
    print(f"| score | test | {' | '.join(titles)} |\n|{' --- |' * (len(titles) + 2)}")
    labels = torch.tensor([sample.label for sample in subsets["train"]])
    scores = build_scores(known, labels, find_head(predictor), bank)
    old_bank = FeatureBank(held_out.features)
    scores["features of validation images (formerly)"] = lambda group: old_bank.feature_similarities(group.features)
    scores["features and image statistics (shipped)"] = lambda group: bank.similarities(*group[:2])
    thresholds = {name: rejection_threshold(score(held_out).numpy(), FRACTION) for name, score in scores.items()}
    cosines = (old_bank.features @ old_bank.features.T).fill_diagonal_(-1).topk(NUM_NEIGHBORS).values[:, -1]
    thresholds["features of validation images (formerly)"] = rejection_threshold(cosines.numpy(), FRACTION)
    thresholds["features and image statistics (shipped)"] = min_similarity
    for name, score in scores.items():
        print(format_row(name, thresholds[name], score(test), [score(group) for group in others.values()]))


def main() -> None:
    """Parse the arguments and print a table for each run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run directories with checkpoint, config.yaml and split.csv")
    parser.add_argument("--out", action="append", default=[], metavar="NAME=FOLDER", help="images to detect")
    parser.add_argument("--images", type=int, default=500, help="images per set; twice as many per split")
    arguments = parser.parse_args()
    folders = {name: Path(folder) for name, _, folder in (text.partition("=") for text in arguments.out)}
    torch.set_num_threads(1)
    with torch.inference_mode():
        for run in arguments.runs:
            compare_scores(run, folders, arguments.images)


if __name__ == "__main__":
    main()
