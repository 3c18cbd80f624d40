"""Silence libraries' remarks on choices that we made knowingly, so that what is printed is worth reading."""

import logging
import warnings

IGNORED = (
    ".*does not have many workers.*",  # batches are slices of decoded images
    ".*Checkpoint directory .* exists and is not empty.*",  # a resumed run goes on in its own folder
    ".*The dirpath has changed from .*",  # a loose checkpoint goes on in the folder of the new run
    ".*You're resuming from a checkpoint that ended before the epoch ended.*",  # its order and position are derived
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ".*Trying to infer the `batch_size`.*",
    ".*could be decompression bomb DOS attack.*",  # our own limit is twice Pillow's first warning
    ".*Glyph .* missing from font.*",  # class names in scripts that matplotlib's font lacks
)


def ignore_known_warnings() -> None:
    """Keep warnings that a user can act on, drop the others."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)  # devices, tips
    for pattern in IGNORED:
        warnings.filterwarnings("ignore", message=pattern)
