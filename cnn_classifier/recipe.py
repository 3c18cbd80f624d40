"""Fill in what a user leaves `auto`, from the data and the speed of the machine, and say why.

The values were found on validation images of cats and dogs, see docs/results.md.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cnn_classifier.budget import AUTO, seconds_of, told, training_seconds
from cnn_classifier.data.census import train_images, typical_side
from cnn_classifier.data.folder import Scan
from cnn_classifier.image_sizes import PROGRESSIVE, settle_size, work
from cnn_classifier.mirrors import mirrored_share
from cnn_classifier.plans import RESNET, is_pretrained, plans_for
from cnn_classifier.settled import Recipe

MUON = "cnn_classifier.muon.Muon"
SHIFT = 1 / 16  # of tiny images: 2 of 32 px
LONG_RUN = 24  # epochs from which on stronger changes pay
# More often than so, images are hardly worth seeing again; many are worth a good number of epochs all the same.
MOST_EPOCHS, MOST_VIEWS, MOST_OF_MANY = 300, 900_000, 60
MOST_EPOCHS_PRETRAINED, STEPS_PRETRAINED = 8, 300  # what has seen a million photos needs few looks, but some steps

StepSeconds = Callable[[Mapping[str, Any], float], float]


@dataclass(frozen=True)
class Seen:
    """What was seen of the data.

    Args:
        images: About how many there are to train on.
        side: The median of their shorter sides, in pixels.
    """

    images: int
    side: int


def resolve(values: Mapping[str, Any], scan: Scan, step_seconds: StepSeconds) -> Recipe:
    """Settle every `auto`.

    Args:
        values: The plain configuration.
        scan: What the folder holds.
        step_seconds: Measures how long a training step with these values takes on this machine; less exactly where
            it is far from the seconds that it may take.

    Raises:
        ConfigError: If the budget cannot be read.
    """
    recipe = Recipe(values)
    seen = Seen(train_images(values, scan), typical_side(scan))
    recipe.settle("augment.flip.p", *mirrored_share(scan.class_names))
    recipe.settle("dataset.batch_size", batch_size(recipe, seen), f"{seen.images} training images")
    steps_per_epoch = max(seen.images // recipe.get("dataset.batch_size"), 1)
    if (most_steps := recipe.get("trainer.max_steps")) != -1:
        recipe.settle("trainer.max_epochs", math.ceil(most_steps / steps_per_epoch), "trainer.max_steps")
    if recipe.get("trainer.max_epochs") == AUTO:
        settle_epochs(recipe, seen, steps_per_epoch, step_seconds)
    settle_size(recipe, seen.side, plans_for(recipe.get("model"))[0])
    recipe.settle("optimizer.lr", *learning_rate(recipe))
    recipe.settle("loss.label_smoothing", 0.0 if is_pretrained(recipe.get("model")) else 0.1, "as suits the network")
    settle_strength(recipe, recipe.get("trainer.max_epochs") or 1)
    steps = max(recipe.get("trainer.max_epochs") or 1, 1) * steps_per_epoch
    recipe.settle("callbacks.average.decay", round(1 - 1 / max(0.03 * steps, 10), 4), f"{steps} steps")
    return recipe


def settle_epochs(recipe: Recipe, seen: Seen, steps_per_epoch: int, step_seconds: StepSeconds) -> None:
    """As many epochs as the budget buys, of images as large as leaves time for enough of them."""
    budget, started = seconds_of(recipe.get("budget"), seen.images), time.perf_counter()

    def left() -> float:
        is_of_sweep = recipe.get("sweep.name")  # its first job's trials are for all; they are to be alike
        return training_seconds(budget, spent=0.0 if is_of_sweep else time.perf_counter() - started)

    for plan in plans_for(recipe.get("model")):
        trying = Recipe(recipe.values)
        settle_size(trying, seen.side, plan)
        settle_strength(trying, LONG_RUN)
        steps = steps_per_epoch * work(trying.get("trainer.sizes")) * plan.beside
        limit = left() / plan.fewest / steps
        seconds = step_seconds(trying.values, limit) * steps
        epochs = int(left() / seconds)
        if epochs >= plan.fewest:
            break
    most = most_epochs(recipe, seen)
    if plan.ample:
        larger, enlarged = replace(plan, side=plan.ample), Recipe(recipe.values)
        settle_size(enlarged, seen.side, larger)
        growth = (enlarged.get("dataset.image_size") / trying.get("dataset.image_size")) ** 2
        if epochs >= most * growth:
            plan, epochs = larger, int(epochs / growth)
    settle_size(recipe, seen.side, plan)
    bought = f"{epochs} fit into {told(budget)}"
    why = bought if epochs <= most else f"more gain little; {bought}"
    recipe.settle("trainer.max_epochs", max(1, min(epochs, most)), why)


def most_epochs(recipe: Recipe, seen: Seen) -> int:
    """Epochs beyond which more gain little."""
    if is_pretrained(recipe.get("model")):
        return max(MOST_EPOCHS_PRETRAINED, STEPS_PRETRAINED * recipe.get("dataset.batch_size") // seen.images)
    return min(MOST_EPOCHS, max(MOST_VIEWS // seen.images, MOST_OF_MANY))


def settle_strength(recipe: Recipe, epochs: int) -> None:
    """Of dropout, and of changes to images: a long run would learn them by heart.

    Tiny images are shifted alone: crops would enlarge what they show, and tests do not; turns would blur it.
    """
    image_size = recipe.get("dataset.image_size")
    why, tiny = f"{epochs} epochs of {image_size} px", image_size < PROGRESSIVE
    least = 1.0 if tiny else 0.7 if epochs < LONG_RUN else 0.55
    recipe.settle("augment.affine.crop", [least, 1.0], why)
    recipe.settle("augment.affine.degrees", 0.0 if tiny else 11.5, why)
    recipe.settle("augment.affine.translate", SHIFT if tiny else 0.0, why)
    recipe.settle("model.dropout", 0.1 if epochs < LONG_RUN else 0.3, why)


def batch_size(recipe: Recipe, seen: Seen) -> int:
    """Larger where there are more images; more so for Muon, whose steps cost as much however few images."""
    if seen.images < 1000:
        return 32 if seen.images >= 300 else 16
    few, many = (128, 512) if recipe.get("optimizer._target_") == MUON else (64, 128)
    return few if seen.images < 30_000 else many


def learning_rate(recipe: Recipe) -> tuple[float, str]:
    """A rate that grows with the root of the batch (arXiv:2205.10287)."""
    if recipe.get("optimizer._target_") == MUON:
        usual = 0.02 if is_pretrained(recipe.get("model")) else 0.1
    elif is_pretrained(recipe.get("model")):
        usual = 3e-3 if recipe.get("model.freeze") == 1 else 5e-4
    else:
        usual = 2e-3 if recipe.get("model._target_") == RESNET else 1e-3
    batch = recipe.get("dataset.batch_size")
    return round(usual * math.sqrt(batch / 64), 6), f"batches of {batch}"
