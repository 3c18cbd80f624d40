"""Fill in what a user leaves `auto`, from the data and the speed of the machine, and say why.

The values were found on validation images of cats and dogs and of CIFAR-10, see docs/results.md.
"""

import copy
import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cnn_classifier.budget import AUTO, seconds_of, told
from cnn_classifier.data.folder import Scan
from cnn_classifier.data.preprocess import opened
from cnn_classifier.errors import UnreadableImageError

PRETRAINED = "cnn_classifier.models.pretrained.Pretrained"
MUON = "cnn_classifier.muon.Muon"
SIZE_FREE = ("cnn_classifier.models.resnet.ResNet", PRETRAINED)
# Sides in pixels of the last training images: what a small network can make use of, and less where that leaves no
# time for FEWEST_EPOCHS.
SIDES = (128, 96, 64)
FEWEST_EPOCHS = 12
# From this side on, training begins with smaller images and ends at the full one (progressive resizing, fast.ai), and
# the images to test are larger by an eighth, since crops enlarge what they show (arXiv:1906.06423).
PROGRESSIVE = 48
GROWTH = (0.5, 0.75, 1.0)
TEST_SIZE = 1.125
SAMPLED_IMAGES = 100
# Of a budget; the rest pays for imports, decoding, validation and the report.
TRAINING_SHARE = 0.8
# Epochs from which on stronger changes pay.
LONG_RUN = 24
# More often than so, images are hardly worth seeing again.
MOST_EPOCHS, MOST_VIEWS = 300, 480_000
MOST_EPOCHS_PRETRAINED = 8  # what has seen a million photos needs few looks at ours


@dataclass(frozen=True)
class Settled:
    """A value that was `auto`.

    Args:
        key: Its path in the configuration.
        value: What it is now.
        why: The reason, in a few words.
    """

    key: str
    value: Any
    why: str

    def __str__(self) -> str:
        return f"{self.key}={str(self.value).replace(' ', '')} ({self.why})"


class Recipe:
    """The values of a run while they are being settled.

    Args:
        values: The plain configuration; it is left as it is.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = copy.deepcopy(dict(values))
        self.settled: list[Settled] = []

    def get(self, key: str) -> Any:
        """The value at a path; None if there is none."""
        node: Any = self.values
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        return node

    def settle(self, key: str, value: Any, why: str) -> None:
        """Set what is `auto`; a value that the user gave stays."""
        if self.get(key) == AUTO:
            path, _, name = key.rpartition(".")
            self.get(path)[name] = value
            self.settled.append(Settled(key, value, why))


def resolve(values: Mapping[str, Any], scan: Scan, step_seconds: Callable[[Mapping[str, Any]], float]) -> Recipe:
    """Settle every `auto`.

    Args:
        values: The plain configuration.
        scan: What the folder holds.
        step_seconds: Measures how long a training step with these values takes on this machine.

    Raises:
        ConfigError: If the budget cannot be read.
    """
    recipe = Recipe(values)
    images = train_images(values, scan)
    small = f"{images} training images"
    recipe.settle("dataset.batch_size", 64 if images >= 1000 else 32 if images >= 300 else 16, small)
    recipe.settle("optimizer.lr", *learning_rate(recipe))
    if recipe.get("trainer.max_epochs") != AUTO:
        settle_size(recipe, scan, SIDES[0])
    else:
        settle_epochs(recipe, scan, images, step_seconds)
    settle_crop(recipe)
    steps = max(recipe.get("trainer.max_epochs") or 1, 1) * max(images // recipe.get("dataset.batch_size"), 1)
    recipe.settle("callbacks.average.decay", round(1 - 1 / max(0.08 * steps, 10), 4), f"{steps} steps")
    return recipe


def settle_epochs(recipe: Recipe, scan: Scan, images: int, step_seconds: Callable[[Mapping[str, Any]], float]) -> None:
    """As many epochs as the budget buys, of images as large as leaves time for enough of them."""
    budget = seconds_of(recipe.get("budget"), images)
    most = min(MOST_EPOCHS, max(MOST_VIEWS // images, FEWEST_EPOCHS))
    if recipe.get("model._target_") == PRETRAINED:
        most = MOST_EPOCHS_PRETRAINED
    for side in SIDES:
        trying = Recipe(recipe.values)
        settle_size(trying, scan, side)
        steps = max(images // trying.get("dataset.batch_size"), 1)
        seconds = step_seconds(trying.values) * steps * work(trying.get("trainer.sizes"))
        epochs = int(budget * TRAINING_SHARE / seconds)
        if epochs >= FEWEST_EPOCHS or side == SIDES[-1]:
            break
    settle_size(recipe, scan, side)
    bought = f"{epochs} fit into {told(budget)}"
    recipe.settle(
        "trainer.max_epochs", max(1, min(epochs, most)), bought if epochs <= most else f"more gain little; {bought}"
    )


def settle_size(recipe: Recipe, scan: Scan, largest: int) -> None:
    """The sides of the images that are tested and trained on, and what goes with them."""
    if recipe.get("model._target_") == PRETRAINED:
        recipe.settle("dataset.image_size", min(160, max(typical_side(scan), 32)) // 32 * 32, "what the backbone knows")
        recipe.settle("trainer.sizes", None, "few epochs are enough")
    elif recipe.get("model._target_") not in SIZE_FREE:
        recipe.settle("dataset.image_size", *fixed_size(scan))
        recipe.settle("trainer.sizes", None, "the network takes one size")
    if recipe.get("dataset.image_size") == AUTO:
        typical = typical_side(scan)
        side = min(largest, max(typical, 24)) // 8 * 8
        tested = round(side * TEST_SIZE) if side >= PROGRESSIVE else side
        recipe.settle("dataset.image_size", tested, f"images of about {typical} px")
    image_size = recipe.get("dataset.image_size")
    side = round(image_size / TEST_SIZE / 8) * 8
    if side >= PROGRESSIVE:
        sizes = [round(side * share / 8) * 8 for share in GROWTH]
        recipe.settle("trainer.sizes", sizes, "small images first, which are quick")
    recipe.settle("trainer.sizes", None, "the images are small")
    recipe.settle("model.stem_stride", 2 if side >= 64 else 1, f"images of {image_size} px")


def settle_crop(recipe: Recipe) -> None:
    """How much of an image a crop keeps at least: less in a long run, which would learn the images by heart."""
    epochs, image_size = recipe.get("trainer.max_epochs") or 1, recipe.get("dataset.image_size")
    least = 0.75 if image_size < PROGRESSIVE else 0.7 if epochs < LONG_RUN else 0.55
    recipe.settle("augment.affine.crop", [least, 1.0], f"{epochs} epochs of {image_size} px")


def fixed_size(scan: Scan) -> tuple[int, str]:
    typical = typical_side(scan)
    return max(16, min(SIDES[0], typical) // 16 * 16), f"images of about {typical} px"


def learning_rate(recipe: Recipe) -> tuple[float, str]:
    """A rate that grows with the root of the batch (arXiv:2205.10287)."""
    usual = 0.1 if recipe.get("optimizer._target_") == MUON else 1e-3
    batch = recipe.get("dataset.batch_size")
    return round(usual * math.sqrt(batch / 64), 6), f"batches of {batch}"


def train_images(values: Mapping[str, Any], scan: Scan) -> int:
    """About how many images there will be to train on."""
    options = values["dataset"]
    found = Counter(sample.split for sample in scan.samples)
    tested = 1 / options["folds"] if options["folds"] else options["test_fraction"]
    count = found["train"] or len(scan.samples) * (1 - tested)
    if not found["val"]:
        count *= 1 - options["val_fraction"]
    limit = options["limit_per_class"]
    return max(1, int(min(count, limit * len(scan.class_names)) if limit else count))


def typical_side(scan: Scan) -> int:
    """The median of the shorter sides of some images, in pixels."""
    sides = []
    for sample in scan.samples[:: max(1, len(scan.samples) // SAMPLED_IMAGES)]:
        with suppress(UnreadableImageError), opened(sample.path) as image:
            sides.append(min(image.size))
    return int(statistics.median(sides)) if sides else SIDES[0]


def work(sizes: list[int] | None) -> float:
    """The work of a training as a share of that at its last size; small images are less than proportionally quick."""
    return statistics.fmean((size / sizes[-1]) ** 1.8 for size in sizes) if sizes else 1.0
