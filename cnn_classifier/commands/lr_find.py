"""`lr-find`: which learning rate suits these images, this network and this optimiser."""

import argparse
from pathlib import Path
from typing import Any

from cnn_classifier.commands.words import positive
from cnn_classifier.storage import make_folder

SUFFIXES = (".png", ".svg", ".pdf")


def add_words(commands: Any) -> None:
    """Add `lr-find` to the command line; `commands` are argparse's sub-parsers."""
    command = commands.add_parser("lr-find", help="raise the learning rate step by step, and see where the loss falls")
    command.add_argument(
        "words", metavar="WORD", nargs="*", help="as for train, such as dataset=folder dataset.root=PATH"
    )
    command.add_argument("--steps", metavar="N", type=positive, default=100, help="default: 100")
    command.add_argument("--out", metavar="FILE", type=picture, default=Path("lr_find.png"), help="the picture")
    command.set_defaults(command=run)


def picture(text: str) -> Path:
    """A file to draw into."""
    path = Path(text)
    if path.suffix.lower() not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"{text} is no picture; expected a name that ends in {', '.join(SUFFIXES)}")
    return path


def run(arguments: argparse.Namespace) -> int:
    """Find it, draw the picture, and say how to use it."""
    from cnn_classifier.config import load, plain
    from cnn_classifier.data.options import DatasetOptions
    from cnn_classifier.data.source import scan_source

    config = load(arguments.words)
    scan = scan_source(DatasetOptions(**plain(config.dataset)))

    from cnn_classifier.rate_test import find_rate
    from cnn_classifier.report.figures import rate_curve

    make_folder(arguments.out.parent)
    found = find_rate(config, scan, steps=arguments.steps)
    print(f"the loss falls fastest at {found.found:.2g}; a training takes {found.usual:.2g} by itself")
    rate_curve(found.rates, found.losses, found.found, found.usual).savefig(arguments.out, dpi=120)
    print(f"  see    {arguments.out}")
    print(f"  use it optimizer.lr={found.found:.2g}")
    return 0
