"""`lr-find`: which learning rate suits these images, this network and this optimiser."""

import argparse
from pathlib import Path
from typing import Any

from cnn_classifier.cli.arguments import positive_int
from cnn_classifier.files import ensure_writable_dir

SUFFIXES = (".png", ".svg", ".pdf")


def add_parser(subparsers: Any) -> None:
    """Add `lr-find` to the command line; `commands` are argparse's sub-parsers."""
    parser = subparsers.add_parser("lr-find", help="raise the learning rate step by step, and see where the loss falls")
    parser.add_argument(
        "words", metavar="WORD", nargs="*", help="as for train, such as dataset=folder dataset.root=PATH"
    )
    parser.add_argument("--steps", metavar="N", type=positive_int, default=100, help="default: 100")
    parser.add_argument("--out", metavar="FILE", type=image_path, default=Path("lr_find.png"), help="the picture")
    parser.set_defaults(command=run)


def image_path(text: str) -> Path:
    """A file to draw into."""
    path = Path(text)
    if path.suffix.lower() not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"{text} is no picture; expected a name that ends in {', '.join(SUFFIXES)}")
    return path


def run(arguments: argparse.Namespace) -> int:
    """Find it, draw the picture, and say how to use it."""
    from cnn_classifier.config.compose import load_config, to_container
    from cnn_classifier.data.config import DatasetConfig
    from cnn_classifier.data.sources.resolve import scan_source

    config = load_config(arguments.words)
    scan = scan_source(DatasetConfig(**to_container(config.dataset)))

    from cnn_classifier.report.charts.figures import plot_lr_finder
    from cnn_classifier.training.lr_finder import find_lr

    ensure_writable_dir(arguments.out.parent)
    result = find_lr(config, scan, steps=arguments.steps)
    print(f"the loss falls fastest at {result.suggested_lr:.2g}; a training takes {result.default_lr:.2g} by itself")
    plot_lr_finder(result.lrs, result.losses, result.suggested_lr, result.default_lr).savefig(arguments.out, dpi=120)
    print(f"  see    {arguments.out}")
    print(f"  use it optimizer.lr={result.suggested_lr:.2g}")
    return 0
