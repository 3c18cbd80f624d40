"""Find pictures that are in a set of files more than once: encoded anew, resized, a little brighter, or mirrored.

A perceptual hash of real numbers: pictures are alike where their correlation is high and what differs is faint. That is
asked of bounds first, of grey thumbnails next, and at last of the pixels, so that little has to be decoded again.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.data.parallel import map_in_threads
from cnn_classifier.errors import DataError

FloatArray = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Pair = tuple[int, int, bool]  # two indices, and whether one of the pictures is mirrored

THUMBNAIL_SIZE = 16
# Measured: 99.4 % of photos at 0.4 to 1.6 times their size, by the coarsest filter and then as JPEG, are within both.
# Of 60,000 CIFAR-10 images 67 pairs are, all of one picture to the eye; of 1,797 handwritten digits one pair is.
MIN_CORRELATION = 0.98
MAX_DIFFERENCE = 10.0  # standard deviation of the difference, in grey levels
# Fog and plain paper all look alike. Of 5,000 photos the faintest has 11 grey levels, of 60,000 CIFAR-10 images 3.
MIN_CONTRAST = 5.0  # standard deviation of a thumbnail, in grey levels
# The low spatial frequencies (down, across), without the mean: most of what a thumbnail holds.
FREQUENCIES = [(down, across) for down in range(6) for across in range(6) if 0 < down + across <= 5]
# Mirrored left to right, a cosine of odd frequency changes its sign; the last entry is what the cosines leave over.
MIRROR_SIGNS = np.array([(-1) ** across for _, across in FREQUENCIES] + [1], np.float32)
# Compared at a time: bounds the memory, whatever the number of pictures.
ROW_BLOCK_SIZE, COLUMN_BLOCK_SIZE = 1024, 8192
PIXELS_CACHE_SIZE = 512  # pictures kept while their pairs are compared


def make_thumbnail(image: Image.Image) -> Pixels:
    """What `near_duplicates` compares first.

    The triangle filter, not the box: Pillow's box takes whole pixels, so that the thumbnails of a 200 px photo and of
    its resized copy lie four times as far apart (measured).

    Args:
        picture: Upright, RGB or grey.

    Returns:
        uint8 (16, 16), grey, squashed: neither size nor aspect ratio counts.
    """
    gray = image.convert("L").resize((THUMBNAIL_SIZE, THUMBNAIL_SIZE), Image.Resampling.BILINEAR)
    return np.asarray(gray, dtype=np.uint8)


def group_near_duplicates(thumbnails: Pixels, load: Callable[[int], Pixels]) -> list[tuple[int, ...]]:
    """Groups of pictures that are the same to the eye.

    A group holds every picture that is linked to another of it by a chain of likenesses. Pictures without contrast are
    in none. A crop or a rotation is another picture.

    Args:
        thumbnails: uint8 (N, 16, 16), of different contents.
        load: The RGB pixels of a picture, uint8 (64, 64, 3), by its index: called from threads, and only for what the
            thumbnails cannot tell apart. Where it raises DataError the picture is not compared.

    Returns:
        Sorted indices of each group, in the order of their first.
    """
    pairs = sorted(pair for block in find_similar_pairs(thumbnails) for pair in block)
    compare = partial(confirm_pair, load=lru_cache(PIXELS_CACHE_SIZE)(load))
    confirmations = tqdm(map_in_threads(compare, pairs), "comparing copies", len(pairs), disable=None, leave=False)
    return connected_components(
        (first, second) for (first, second, _), is_match in zip(pairs, confirmations, strict=True) if is_match
    )


def find_similar_pairs(thumbnails: Pixels) -> Iterator[list[Pair]]:
    """Pairs whose thumbnails are alike, each as it is or with the second mirrored."""
    contrasts, features = dct_features(thumbnails)
    candidates = np.flatnonzero(contrasts >= MIN_CONTRAST)
    for rows, columns, mirrored in candidate_pairs(features[candidates]):
        first, second = candidates[rows], candidates[columns]
        is_match = is_similar(thumbnails[first], flip(thumbnails[second]) if mirrored else thumbnails[second])
        yield [(int(i), int(j), mirrored) for i, j in np.sort(np.stack([first, second], 1)[is_match], 1)]


def dct_features(thumbnails: Pixels) -> tuple[FloatArray, FloatArray]:
    """The contrast of each thumbnail (N,), and its features (N, F): the product of two bounds their correlation.

    The features are the low frequencies of the thumbnail without its mean, at length 1, and the length of the rest.
    The rests of two can at most agree, so that the product of the features is never below that of the thumbnails.
    """
    grid = np.pi * (np.arange(THUMBNAIL_SIZE) + 0.5) / THUMBNAIL_SIZE
    waves = [np.outer(np.cos(down * grid), np.cos(across * grid)).ravel() for down, across in FREQUENCIES]
    basis = np.array([wave / np.linalg.norm(wave) for wave in waves], np.float32).T
    contrasts = np.zeros(len(thumbnails), np.float32)
    features = np.zeros((len(thumbnails), len(MIRROR_SIGNS)), np.float32)
    for start in range(0, len(thumbnails), COLUMN_BLOCK_SIZE):
        block = slice(start, start + COLUMN_BLOCK_SIZE)
        gray = thumbnails[block].reshape(-1, THUMBNAIL_SIZE**2).astype(np.float32)
        contrasts[block] = gray.std(axis=1)
        features[block, :-1] = gray @ basis / np.maximum(contrasts[block, None] * THUMBNAIL_SIZE, 1)
        features[block, -1] = np.sqrt(np.maximum(1 - np.square(features[block, :-1]).sum(axis=1), 0))
    return contrasts, features


def candidate_pairs(features: FloatArray) -> Iterator[tuple[Indices, Indices, bool]]:
    """For each picture, in each block of those after it, the one whose bound is highest, if that is high enough.

    Features of length 1 with such a product lie within a radius, and so does each of their entries: sorted by one that
    mirroring leaves alone, only a band is to be compared. One a block is enough to chain any number of copies together.
    """
    sort_column = FREQUENCIES.index((1, 0))
    order = np.argsort(features[:, sort_column], kind="stable")
    features = features[order]
    radius = np.sqrt(2 * (1 - MIN_CORRELATION)) + 1e-3
    for start in tqdm(range(0, len(features), ROW_BLOCK_SIZE), "searching copies", disable=None, leave=False):
        rows = features[start : start + ROW_BLOCK_SIZE]
        stop = int(np.searchsorted(features[:, sort_column], rows[-1, sort_column] + radius, side="right"))
        for left in range(start, stop, COLUMN_BLOCK_SIZE):
            columns = features[left : min(left + COLUMN_BLOCK_SIZE, stop)]
            for mirrored in (False, True):
                bounds = (rows * MIRROR_SIGNS if mirrored else rows) @ columns.T
                if left == start:
                    bounds[np.tril_indices(len(rows))] = -1  # itself, and those that it was compared with before
                best = bounds.argmax(axis=1)
                matches = np.flatnonzero(bounds[np.arange(len(rows)), best] >= MIN_CORRELATION - 1e-3)
                if len(matches):
                    yield order[start + matches], order[left + best[matches]], mirrored


def is_similar(first: Pixels, second: Pixels) -> npt.NDArray[np.bool_]:
    """Whether pictures are the same but for their brightness and some noise, (N,); of both (N, ...) of one shape."""
    one, other = (pixels.reshape(len(pixels), -1).astype(np.float32) for pixels in (first, second))
    one, other = (gray - gray.mean(axis=1, keepdims=True) for gray in (one, other))
    dot_products, norms = (one * other).sum(axis=1), np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (dot_products >= MIN_CORRELATION * norms) & ((one - other).std(axis=1) <= MAX_DIFFERENCE)


def flip(images: Pixels) -> Pixels:
    """Each of (N, H, W, ...) mirrored left to right."""
    return images[:, :, ::-1]


def confirm_pair(pair: Pair, *, load: Callable[[int], Pixels]) -> bool:
    """Whether the pixels are alike, too."""
    first, second, mirrored = pair
    try:
        one, other = load(first)[None], load(second)[None]
    except DataError:
        return False
    return bool(is_similar(one, flip(other) if mirrored else other)[0])


def connected_components(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """The connected components of these pairs."""
    group_by_index: dict[int, list[int]] = {}
    for first, second in pairs:
        larger, smaller = sorted((group_by_index.setdefault(i, [i]) for i in (first, second)), key=len, reverse=True)
        if larger is not smaller:
            larger += smaller
            group_by_index |= dict.fromkeys(smaller, larger)
    return sorted({id(group): tuple(sorted(group)) for group in group_by_index.values()}.values())
