"""Near-duplicate search: images that were re-encoded, resized, slightly brightened or mirrored.

Two images are near-duplicates if their correlation is high and the standard deviation of their difference is low. This
is tested first on upper bounds from low frequencies, then on grayscale thumbnails and finally on the pixels, so that
few images are decoded a second time.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.data.parallel import batch_slices, map_in_threads
from cnn_classifier.errors import DataError
from cnn_classifier.progress import progress_bar

FloatArray = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Pair = tuple[int, int, bool]  # two image indices, and whether one image is mirrored

THUMBNAIL_SIZE = 16
# Measured: both limits accept 99.4 % of photos that were resized by 0.4 to 1.6 with the coarsest filter and saved as
# JPEG. They accept 67 pairs of 60,000 CIFAR-10 images, all of which are visually identical, and one pair of 1,797
# handwritten digits.
MIN_CORRELATION = 0.98
MAX_DIFFERENCE = 10.0  # standard deviation of the difference, in gray levels
# Low-contrast images, such as fog or blank paper, all correlate. The lowest contrast among 5,000 photos is 11 gray
# levels, among 60,000 CIFAR-10 images 3.
MIN_CONTRAST = 5.0  # standard deviation of a thumbnail, in gray levels
# The low spatial frequencies (vertical, horizontal) without the mean, which hold most of a thumbnail's energy.
FREQUENCIES = [
    (vertical, horizontal) for vertical in range(6) for horizontal in range(6) if 0 < vertical + horizontal <= 5
]
# A horizontal flip negates cosines of odd horizontal frequency. The last feature is the residual norm.
MIRROR_SIGNS = np.array([(-1) ** horizontal for _, horizontal in FREQUENCIES] + [1], np.float32)
# The block sizes of the pairwise comparison, which bound its memory.
ROW_BLOCK_SIZE, COLUMN_BLOCK_SIZE = 1024, 8192
PIXELS_CACHE_SIZE = 512  # decoded images


def make_thumbnail(image: Image.Image) -> Pixels:
    """Return the grayscale thumbnail of an image, which `group_near_duplicates` compares first.

    The bilinear filter is used because Pillow's box filter rounds to whole pixels: with it, the thumbnails of a 200 px
    photo and of its resized copy are four times as far apart (measured).

    Args:
        image: An upright RGB or grayscale image.

    Returns:
        The uint8 thumbnail of shape (16, 16). The aspect ratio is not preserved.
    """
    gray = image.convert("L").resize((THUMBNAIL_SIZE, THUMBNAIL_SIZE), Image.Resampling.BILINEAR)
    return np.asarray(gray, dtype=np.uint8)


def group_near_duplicates(thumbnails: Pixels, load: Callable[[int], Pixels]) -> list[tuple[int, ...]]:
    """Group images that look the same.

    The groups are the connected components of the graph of similar pairs. Images of low contrast are in no group. Crops
    and rotations are not detected.

    Args:
        thumbnails: The uint8 thumbnails of shape (N, 16, 16), of distinct contents.
        load: A function that returns the RGB pixels of an image, uint8 of shape (64, 64, 3), by index. It is called
            from threads, and only for pairs with similar thumbnails. A pair is skipped if it raises `DataError`.

    Returns:
        The sorted indices of each group, ordered by the first index.
    """
    pairs = sorted(pair for block in find_similar_pairs(thumbnails) for pair in block)
    compare = partial(confirm_pair, load=lru_cache(PIXELS_CACHE_SIZE)(load))
    confirmations = progress_bar(map_in_threads(compare, pairs), "confirming duplicates", len(pairs))
    return connected_components(
        (first, second) for (first, second, _), is_match in zip(pairs, confirmations, strict=True) if is_match
    )


def find_similar_pairs(thumbnails: Pixels) -> Iterator[list[Pair]]:
    """Yield pairs of images with similar thumbnails, where the second may be mirrored."""
    contrasts, features = dct_features(thumbnails)
    candidates = np.flatnonzero(contrasts >= MIN_CONTRAST)
    for rows, columns, mirrored in candidate_pairs(features[candidates]):
        first, second = candidates[rows], candidates[columns]
        is_match = is_similar(thumbnails[first], flip(thumbnails[second]) if mirrored else thumbnails[second])
        yield [(int(i), int(j), mirrored) for i, j in np.sort(np.stack([first, second], 1)[is_match], 1)]


def dct_features(thumbnails: Pixels) -> tuple[FloatArray, FloatArray]:
    """Compute the contrast and the low-frequency features of thumbnails.

    The features of a thumbnail are the low-frequency coefficients of its discrete cosine transform and the norm of the
    residual, normalized to unit length. By the Cauchy-Schwarz inequality, the dot product of two feature vectors is an
    upper bound of the correlation of the thumbnails.

    Args:
        thumbnails: The uint8 thumbnails of shape (N, 16, 16).

    Returns:
        The contrasts, shape (N,), and the features, shape (N, F).
    """
    grid = np.pi * (np.arange(THUMBNAIL_SIZE) + 0.5) / THUMBNAIL_SIZE
    cosines = [
        np.outer(np.cos(vertical * grid), np.cos(horizontal * grid)).ravel() for vertical, horizontal in FREQUENCIES
    ]
    basis = np.array([cosine / np.linalg.norm(cosine) for cosine in cosines], np.float32).T
    contrasts = np.zeros(len(thumbnails), np.float32)
    features = np.zeros((len(thumbnails), len(MIRROR_SIGNS)), np.float32)
    for block in batch_slices(len(thumbnails), COLUMN_BLOCK_SIZE):
        gray = thumbnails[block].reshape(-1, THUMBNAIL_SIZE**2).astype(np.float32)
        contrasts[block] = gray.std(axis=1)
        features[block, :-1] = gray @ basis / np.maximum(contrasts[block, None] * THUMBNAIL_SIZE, 1)
        features[block, -1] = np.sqrt(np.maximum(1 - np.square(features[block, :-1]).sum(axis=1), 0))
    return contrasts, features


def candidate_pairs(features: FloatArray) -> Iterator[tuple[Indices, Indices, bool]]:
    """Yield, for each image and each block of later images, the pair with the highest bound if it reaches the minimum.

    Unit vectors with a dot product of at least `MIN_CORRELATION` are within a fixed distance, and so is each of their
    entries. Sorted by an entry that is invariant to mirroring, only a band needs to be compared. One pair per block is
    enough to connect any number of duplicates.

    Args:
        features: The unit vectors of `dct_features`, shape (N, F).

    Yields:
        The indices of the first images, those of the second images, and whether the second images are mirrored.
    """
    sort_column = FREQUENCIES.index((1, 0))
    order = np.argsort(features[:, sort_column], kind="stable")
    features = features[order]
    radius = np.sqrt(2 * (1 - MIN_CORRELATION)) + 1e-3
    for start in progress_bar(range(0, len(features), ROW_BLOCK_SIZE), "finding duplicates"):
        rows = features[start : start + ROW_BLOCK_SIZE]
        stop = int(np.searchsorted(features[:, sort_column], rows[-1, sort_column] + radius, side="right"))
        for left in range(start, stop, COLUMN_BLOCK_SIZE):
            columns = features[left : min(left + COLUMN_BLOCK_SIZE, stop)]
            for mirrored in (False, True):
                bounds = (rows * MIRROR_SIGNS if mirrored else rows) @ columns.T
                if left == start:
                    bounds[np.tril_indices(len(rows))] = -1  # the image itself, and pairs compared before
                best = bounds.argmax(axis=1)
                matches = np.flatnonzero(bounds[np.arange(len(rows)), best] >= MIN_CORRELATION - 1e-3)
                if len(matches):
                    yield order[start + matches], order[left + best[matches]], mirrored


def is_similar(first: Pixels, second: Pixels) -> npt.NDArray[np.bool_]:
    """Return whether images are equal up to brightness and noise, elementwise.

    Args:
        first: The first images, uint8 of shape (N, ...).
        second: The second images, of the same shape.

    Returns:
        A boolean array of shape (N,).
    """
    a, b = (pixels.reshape(len(pixels), -1).astype(np.float32) for pixels in (first, second))
    a, b = (values - values.mean(axis=1, keepdims=True) for values in (a, b))
    dot_products, norms = (a * b).sum(axis=1), np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return (dot_products >= MIN_CORRELATION * norms) & ((a - b).std(axis=1) <= MAX_DIFFERENCE)


def flip(images: Pixels) -> Pixels:
    """Flip images of shape (N, H, W, ...) horizontally."""
    return images[:, :, ::-1]


def confirm_pair(pair: Pair, *, load: Callable[[int], Pixels]) -> bool:
    """Return whether the pixels of a pair are similar; False if an image cannot be loaded."""
    first, second, mirrored = pair
    try:
        first_pixels, second_pixels = load(first)[None], load(second)[None]
    except DataError:
        return False
    return bool(is_similar(first_pixels, flip(second_pixels) if mirrored else second_pixels)[0])


def connected_components(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Return the connected components of a graph given by its edges, each sorted, ordered by the first node."""
    group_by_index: dict[int, list[int]] = {}
    for first, second in pairs:
        larger, smaller = sorted((group_by_index.setdefault(i, [i]) for i in (first, second)), key=len, reverse=True)
        if larger is not smaller:
            larger += smaller
            group_by_index |= dict.fromkeys(smaller, larger)
    return sorted({id(group): tuple(sorted(group)) for group in group_by_index.values()}.values())
