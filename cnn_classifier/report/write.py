"""Put a report into a folder: `report.html`, `report.json`, tables and `figures/`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_classifier.data.images.preprocess import Pixels, Preprocess
from cnn_classifier.files import ensure_writable_dir, write_json
from cnn_classifier.report.charts import figures
from cnn_classifier.report.metrics.evaluation import Evaluation
from cnn_classifier.report.pages.gallery import ExplainFn, build_gallery, evenly_spaced
from cnn_classifier.report.pages.run import write_report_page

MAX_GRID_IMAGES = 18  # pictures in a grid

LoadImageFn = Callable[[str], Pixels]


def write_report(
    folder: Path, evaluation: Evaluation, preprocess: Preprocess, explain: ExplainFn, **extra: Any
) -> dict[str, Any]:
    """Write everything that an evaluation tells, and return the content of `report.json`.

    Args:
        folder: Where to; created if need be. Its `config.yaml`, if there is one, is shown on the page.
        evaluation: The answers on the test images.
        preprocess: Gives the pixels of a file as the network saw them.
        explain: Tells where the network looked.
        more: Further entries of `report.json`; `epochs` are drawn as learning curves, `splits` as bars.
    """
    figures_dir = ensure_writable_dir(ensure_writable_dir(folder) / "figures")
    content = evaluation.to_dict() | extra
    evaluation.write_tables(folder)
    confusion_figure = figures.plot_confusion_matrix(evaluation.confusion_matrix, evaluation.class_names)
    confusion_figure.savefig(figures_dir / "confusion_matrix.png", dpi=120)
    mistakes = evaluation.mistakes()[:MAX_GRID_IMAGES]
    if len(mistakes):
        titles = [format_mistake_title(evaluation, index) for index in mistakes]
        images = [preprocess.load(evaluation.paths[index]) for index in mistakes]
        figures.plot_image_grid(images, titles).savefig(figures_dir / "mistakes.png", dpi=120)
    if "epochs" in extra:
        figures.plot_learning_curves(extra["epochs"]).savefig(figures_dir / "learning_curves.png", dpi=120)
    if "splits" in extra:
        distribution_figure = figures.plot_class_distribution(extra["splits"], evaluation.class_names)
        distribution_figure.savefig(figures_dir / "class_distribution.png", dpi=120)
    config_path = folder / "config.yaml"
    write_report_page(
        folder / "report.html",
        content,
        evaluation,
        gallery=build_gallery(evaluation, preprocess, explain),
        config=config_path.read_text(encoding="utf-8") if config_path.is_file() else "",
    )
    write_json(folder / "report.json", content)
    return content


def write_samples(folder: Path, samples: Mapping[str, Sequence[str]], load_image: LoadImageFn) -> None:
    """Draw `figures/samples.png`: a few images of each class, given as files by class name."""
    images_per_class = max(1, MAX_GRID_IMAGES // len(samples))
    selected = [(name, path) for name, paths in samples.items() for path in evenly_spaced(paths, images_per_class)][
        : 2 * MAX_GRID_IMAGES
    ]
    grid = figures.plot_image_grid([load_image(path) for _, path in selected], [name for name, _ in selected])
    grid.savefig(ensure_writable_dir(folder / "figures") / "samples.png", dpi=120)


def format_mistake_title(evaluation: Evaluation, index: int) -> str:
    """`cats, not dogs 0.98`: what the network said, what is true, how sure it was."""
    predicted = evaluation.predicted[index]
    class_names = evaluation.class_names
    return f"{class_names[predicted]}, not {class_names[evaluation.labels[index]]} {evaluation.probabilities[index, predicted]:.2f}"
