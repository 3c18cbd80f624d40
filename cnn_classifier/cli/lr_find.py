"""The `lr-find` command: suggest a learning rate for a dataset, a model and an optimizer."""

import argparse
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_classifier.cli.arguments import positive_int
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.files import ensure_writable_dir

if TYPE_CHECKING:
    from cnn_classifier.config.compose import Config
    from cnn_classifier.training.lr_finder import LRFinderResult

IMAGE_SUFFIXES = (".png", ".svg", ".pdf")
# The options of `trainer` that affect the loss of a step; the test runs in one process.
TRAINER_KEYS = ("accelerator", "precision", "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm")


def add_parser(subparsers: Any) -> None:
    """Add the `lr-find` command.

    Args:
        subparsers: The sub-parsers of the main `argparse` parser.
    """
    parser = subparsers.add_parser("lr-find", help="run a learning-rate range test and suggest a learning rate")
    parser.add_argument(
        "overrides",
        metavar="OVERRIDE",
        nargs="*",
        help="the overrides of the training run, for example dataset=folder dataset.root=PATH",
    )
    parser.add_argument("--config-dir", metavar="DIR", type=Path, help="a directory with your own config groups")
    parser.add_argument(
        "--steps", metavar="N", type=positive_int, default=100, help="maximum number of optimizer steps (default: 100)"
    )
    parser.add_argument(
        "--out", metavar="FILE", type=image_path, help="plot file (default: outputs/lr_find/<time>.png)"
    )
    parser.set_defaults(command=run)


def image_path(text: str) -> Path:
    """Return the path of a plot, whose suffix selects the file format."""
    path = Path(text)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise argparse.ArgumentTypeError(
            f"{text} does not have the suffix of a plot file: expected {', '.join(IMAGE_SUFFIXES)}"
        )
    return path


def run(arguments: argparse.Namespace) -> int:
    """Run the range test, save the plot and print the suggested override."""
    from cnn_classifier.config.compose import load_config, to_container
    from cnn_classifier.data.config import DatasetConfig
    from cnn_classifier.data.sources.resolve import scan_source

    config = load_config(arguments.overrides, config_dir=arguments.config_dir)
    index = scan_source(DatasetConfig(**to_container(config.dataset)))
    plot_path = arguments.out or Path("outputs", "lr_find", f"{datetime.now():%Y-%m-%d_%H-%M-%S}.png")
    ensure_writable_dir(plot_path.parent)
    result = run_range_test(config, index, steps=arguments.steps)

    from cnn_classifier.report.charts.figures import plot_lr_finder

    print(format_result(result))
    plot_lr_finder(result.lrs, result.losses, result.suggested_lr, result.default_lr).savefig(plot_path, dpi=120)
    print(f"  plot:     {plot_path}")
    return 0


def format_result(result: "LRFinderResult") -> str:
    """Return the suggestion, and the reason for it."""
    suggested = f"{result.suggested_lr:.2g}"
    lines = [
        f"The loss falls fastest at a learning rate of {suggested} and is lowest at {result.best_lr:.2g}.",
        f"The configured learning rate {result.default_lr:.2g} is",
    ]
    if result.is_default_suitable:
        return "\n".join(lines) + " between the two and suitable; no change is needed."
    side = "below" if result.default_lr < result.suggested_lr else "above"
    return "\n".join(lines) + f" {side} this range.\n  override: optimizer.lr={suggested}"


def run_range_test(config: "Config", index: DatasetIndex, *, steps: int) -> "LRFinderResult":
    """Build the data module and the module of a training run, and find a learning rate for them.

    Args:
        config: The config of the run; with `resume`, the test starts from the weights of that checkpoint.
        index: The index of the images.
        steps: The maximum number of optimizer steps.

    Raises:
        ClassifierError: If the config, the data or the checkpoint cannot be used.
    """
    from lightning.pytorch import seed_everything

    from cnn_classifier.auto.initial_weights import init_weights
    from cnn_classifier.auto.resolve import resolve_auto, resolve_flips
    from cnn_classifier.config.compose import to_container
    from cnn_classifier.training.build import build_datamodule, build_module
    from cnn_classifier.training.checkpoints import read_checkpoint
    from cnn_classifier.training.devices import tune_malloc
    from cnn_classifier.training.environment import ignore_known_warnings
    from cnn_classifier.training.lr_finder import find_lr
    from cnn_classifier.training.resume import apply_resume

    ignore_known_warnings()
    tune_malloc()
    ckpt_path = apply_resume(config)
    config.compute.compile = False  # compilation takes longer than the test
    resolve_auto(config, index, is_resumed=ckpt_path is not None)
    seed_everything(config.seed, verbose=False)
    datamodule = build_datamodule(config, index)
    datamodule.prepare_data()
    resolve_flips(config, datamodule)
    datamodule.setup("fit")
    module = build_module(config, datamodule)
    init_weights(module, ckpt_path)
    if ckpt_path is not None:
        module.load_state_dict(read_checkpoint(ckpt_path)["state_dict"])
    trainer_kwargs = {key: value for key, value in to_container(config.trainer).items() if key in TRAINER_KEYS}
    return find_lr(module, datamodule, steps=steps, devices=1, **trainer_kwargs)
