"""Writing of `report.html`, `report.json`, CSV tables and `figures/` to a run directory."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_classifier.data.images.preprocess import Pixels, Preprocess
from cnn_classifier.data.sources.index import Sample
from cnn_classifier.data.splits.coverage import EMPTY_SPLITS
from cnn_classifier.files import CONFIG_FILE, REPORT_HTML, REPORT_JSON, ensure_writable_dir, write_json
from cnn_classifier.report.charts import figures
from cnn_classifier.report.formatting import evenly_spaced
from cnn_classifier.report.metrics.calibration import few_images_warnings
from cnn_classifier.report.metrics.evaluation import Evaluation
from cnn_classifier.report.pages.gallery import ExplainFn, build_gallery
from cnn_classifier.report.pages.run import write_report_page

MAX_GRID_IMAGES = 18  # images in a grid

OUT_OF_FOLD_NOTE = (
    "Each image is predicted by the network of {count} that was not trained on it. The model, which averages the "
    "probabilities of all {count}, was not measured, since no image is left; it is usually at least as accurate."
)

LoadImageFn = Callable[[str], Pixels]


def write_report(
    folder: Path,
    evaluation: Evaluation,
    preprocess: Preprocess,
    explain: ExplainFn,
    start_time: float | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """Write the report of an evaluation and return the content of `report.json`.

    Args:
        folder: The output folder, created if necessary. The page includes its `config.yaml` if there is one.
        evaluation: The predictions on the images to show; without any, the report says that nothing was measured.
        preprocess: The preprocessing of the model, which loads an image as network input.
        explain: A function that computes Grad-CAM heat maps.
        start_time: The start of the command in seconds since the epoch; `timing.total_seconds` includes the figures.
        **extra: Further entries of `report.json`. `epochs` are plotted as learning curves, `splits` as the class
            distribution.
    """
    figures_dir = ensure_writable_dir(ensure_writable_dir(folder) / "figures")
    content = evaluation.to_dict() | extra
    if content["evaluated"]:
        if "val" in extra.get("splits", {}):
            content["calibration"]["warnings"] = few_images_warnings(sum(extra["splits"]["val"]))
        evaluation.write_tables(folder)
        write_evaluation_figures(figures_dir, evaluation, preprocess)
    if extra.get("epochs"):
        figures.save_png(figures.plot_learning_curves(extra["epochs"]), figures_dir / "learning_curves.png")
    if "splits" in extra:
        distribution_figure = figures.plot_class_distribution(extra["splits"], evaluation.class_names)
        figures.save_png(distribution_figure, figures_dir / "class_distribution.png")
    gallery = build_gallery(evaluation, preprocess, explain)
    if start_time is not None:
        content["timing"] = content.get("timing", {}) | {"total_seconds": time.time() - start_time}
    content["not_measured"] = describe_not_measured(content)
    config_path = folder / CONFIG_FILE
    write_report_page(
        folder / REPORT_HTML,
        content,
        evaluation,
        gallery=gallery,
        config=config_path.read_text(encoding="utf-8") if config_path.is_file() else "",
    )
    write_json(folder / REPORT_JSON, content)
    return content


def pick_shown(evaluations: Mapping[str, Evaluation]) -> Evaluation:
    """Return the evaluation that a report shows: that of the test images, or else of the validation images."""
    return evaluations["test" if len(evaluations["test"].labels) else "val"]


def describe_not_measured(content: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each figure that a run lacks because it has no images for it.

    Args:
        content: The content of `report.json`, with the class counts of each split of a run.
    """
    counts = content.get("splits", {})
    sentences = [EMPTY_SPLITS[split] for split in ("test", "val") if split in counts and not sum(counts[split])]
    if "folds" in content and content["evaluated"] == "out_of_fold":
        sentences.append(OUT_OF_FOLD_NOTE.format(count=content["folds"]["count"]))
    if "folds" in content and content["evaluated"] == "test":
        sentences.append("The out-of-fold images are the validation images of each fold, which chose its weights.")
    if content["evaluated"] == "val":
        sentences.append("The figures below are those of the validation images, which chose the weights.")
    return sentences


def write_evaluation_figures(folder: Path, evaluation: Evaluation, preprocess: Preprocess) -> None:
    """Write `confusion_matrix.png` and, if there are mistakes, `mistakes.png`."""
    confusion_figure = figures.plot_confusion_matrix(evaluation.confusion_matrix, evaluation.class_names)
    figures.save_png(confusion_figure, folder / "confusion_matrix.png")
    mistakes = evaluation.mistakes()[:MAX_GRID_IMAGES]
    if len(mistakes):
        titles = [format_mistake_title(evaluation, index) for index in mistakes]
        images = [preprocess.load(evaluation.paths[index]) for index in mistakes]
        figures.save_png(figures.plot_image_grid(images, titles), folder / "mistakes.png")


def name_in_run(path: Path, run_dir: Path) -> str:
    """Return a path relative to the run directory, which may be moved; the path itself if it is elsewhere."""
    path, run_dir = path.resolve(), run_dir.resolve()
    return path.relative_to(run_dir).as_posix() if path.is_relative_to(run_dir) else str(path)


def write_samples(folder: Path, samples: Sequence[Sample], class_names: Sequence[str], load_image: LoadImageFn) -> None:
    """Write `figures/samples.png` with a few images of each class.

    Args:
        folder: The run directory.
        samples: The images and their labels.
        class_names: The name of each label.
        load_image: A function that loads the pixels of an image.
    """
    paths_by_class: dict[str, list[str]] = {name: [] for name in class_names}
    for sample in samples:
        paths_by_class[class_names[sample.label]].append(str(sample.path))
    count = max(1, MAX_GRID_IMAGES // len(class_names))
    selected = [(name, path) for name, paths in paths_by_class.items() for path in evenly_spaced(paths, count)]
    selected = selected[: 2 * MAX_GRID_IMAGES]
    grid = figures.plot_image_grid([load_image(path) for _, path in selected], [name for name, _ in selected])
    figures.save_png(grid, ensure_writable_dir(folder / "figures") / "samples.png")


def format_mistake_title(evaluation: Evaluation, index: int) -> str:
    """Return the predicted class, the true class and the confidence, such as `cats, not dogs 0.98`."""
    predicted = evaluation.class_names[evaluation.predicted[index]]
    label = evaluation.class_names[evaluation.labels[index]]
    return f"{predicted}, not {label} {evaluation.confidence[index]:.2f}"
