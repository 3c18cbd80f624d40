"""Whether the mirror image of a picture may be of another class, as far as the names of the classes tell."""

import re
from collections.abc import Sequence
from string import digits

DIRECTIONS = ("left", "right")


def flip_probability(class_names: Sequence[str]) -> tuple[float, str]:
    """The share of training images to mirror, and why: none of letters, digits, and what has a left and a right."""
    if all(len(name) == 1 and name.isalpha() for name in class_names) or set(digits) <= set(class_names):
        return 0.0, "classes named as letters or digits, which have no mirror images"
    words = {word for name in class_names for word in re.split(r"[\W_\d]+", name.lower())}
    if words.issuperset(DIRECTIONS):
        return 0.0, "left and right are classes"
    return 0.5, "mirror images count as of the same class; 0 where they do not"
