"""How large images are trained on and tested, by what the folder holds and what there is time for."""

import statistics

from cnn_classifier.plans import NARROW, PRETRAINED, RESNET, Plan, is_pretrained
from cnn_classifier.settled import Recipe

SIZE_FREE = (RESNET, PRETRAINED)
# From this side on, training begins with smaller images and ends at the full one (progressive resizing, fast.ai), and
# the images to test are larger by an eighth, since crops enlarge what they show (arXiv:1906.06423).
PROGRESSIVE = 64
GROWTH = (0.5, 0.75, 1.0)
SMALLEST_PHOTO = 48  # at 32 px almost nothing is learnt of photos (docs/results.md)
TEST_SIZE = 1.125
STRIDED = 64  # the side from which on the first convolution may halve the image
SMALLEST, SMALLEST_KNOWN = 32, 128  # sides below which blocks, and backbones, have too little to go on
ENLARGED = 1.5  # what backbones were shown fills an image: they make more of small photos enlarged (docs/results.md)
# The optimiser, validation and the like take as long as the convolutions of an image of this side: epochs of 3,600
# photos took 8.3, 13.8 and 21.5 s at 64, 96 and 128 px, and of narrower blocks 2.7, 4.4 and 6.6 s at 48, 72 and 96 px
# (batches of 128, 2 cores with bfloat16).
SIDE_OF_THE_REST = 60


def settle_size(recipe: Recipe, typical: int, plan: Plan) -> None:
    """The sides of the images that are tested and trained on, and the network that goes with them.

    Args:
        recipe: What is `auto` in it is settled.
        typical: The median of the images' shorter sides, in pixels.
        plan: What there is time for.
    """
    about = f"images of about {typical} px"
    enough = "too little time for more" if plan.widths == NARROW else "time for them"
    recipe.settle("model.widths", list(plan.widths), enough)
    recipe.settle("model.freeze", plan.freeze, "too little time for more" if plan.freeze == 1 else "time for more")
    if is_pretrained(recipe.get("model")):
        known = int(max(typical * ENLARGED, SMALLEST_KNOWN)) // 32 * 32
        recipe.settle("dataset.image_size", min(plan.side, known), f"what backbones know; {about}")
        recipe.settle("trainer.sizes", None, "few epochs are enough")
    elif recipe.get("model._target_") not in SIZE_FREE:
        side = max(16, min(plan.side, typical) // 16 * 16)
        recipe.settle("dataset.image_size", side, about)
        recipe.settle("trainer.sizes", None, "the network takes one size")
    given = recipe.get("trainer.sizes")
    side = max(given) if isinstance(given, list) else min(plan.side, max(typical, SMALLEST)) // 8 * 8
    recipe.settle("dataset.image_size", round(side * TEST_SIZE) if side >= PROGRESSIVE else side, about)
    image_size = recipe.get("dataset.image_size")
    side = round(image_size / TEST_SIZE / 8) * 8
    growing = [max(round(side * share / 8) * 8, SMALLEST_PHOTO) for share in GROWTH]
    sizes = growing if side >= PROGRESSIVE else None
    recipe.settle("trainer.sizes", sizes, "small images first, which are quick" if sizes else "the images are small")
    recipe.settle("model.stem_stride", 2 if side >= STRIDED else 1, f"images of {image_size} px")


def work(sizes: list[int] | None) -> float:
    """The work of a training as a share of that at its last size."""
    cost = [size**2 + SIDE_OF_THE_REST**2 for size in sizes or [1]]
    return statistics.fmean(cost) / cost[-1]
