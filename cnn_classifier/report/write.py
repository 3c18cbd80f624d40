"""Put a report into a folder: `report.html`, `report.json`, tables and `figures/`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_classifier.data.preprocess import Pixels, Preprocess
from cnn_classifier.report import figures
from cnn_classifier.report.evaluation import Evaluation
from cnn_classifier.report.pictures import Explain, gallery, spaced
from cnn_classifier.report.report_page import write_report_page
from cnn_classifier.storage import make_folder, write_json

GRID = 18  # pictures in a grid

LoadPicture = Callable[[str], Pixels]


def write_report(
    folder: Path, evaluation: Evaluation, preprocess: Preprocess, explain: Explain, **more: Any
) -> dict[str, Any]:
    """Write everything that an evaluation tells, and return the content of `report.json`.

    Args:
        folder: Where to; created if need be. Its `config.yaml`, if there is one, is shown on the page.
        evaluation: The answers on the test images.
        preprocess: Gives the pixels of a file as the network saw them.
        explain: Tells where the network looked.
        more: Further entries of `report.json`; `epochs` are drawn as learning curves, `splits` as bars.
    """
    pictures = make_folder(make_folder(folder) / "figures")
    content = evaluation.as_dict() | more
    evaluation.write_tables(folder)
    heat_map = figures.confusion_heat_map(evaluation.confusion_matrix, evaluation.class_names)
    heat_map.savefig(pictures / "confusion_matrix.png", dpi=120)
    mistakes = evaluation.mistakes()[:GRID]
    if len(mistakes):
        titles = [mistake_title(evaluation, index) for index in mistakes]
        shown = [preprocess.load(evaluation.paths[index]) for index in mistakes]
        figures.image_grid(shown, titles).savefig(pictures / "mistakes.png", dpi=120)
    if "epochs" in more:
        figures.learning_curves(more["epochs"]).savefig(pictures / "learning_curves.png", dpi=120)
    if "splits" in more:
        bars = figures.class_distribution(more["splits"], evaluation.class_names)
        bars.savefig(pictures / "class_distribution.png", dpi=120)
    config = folder / "config.yaml"
    write_report_page(
        folder / "report.html",
        content,
        evaluation,
        pictures=gallery(evaluation, preprocess, explain),
        config=config.read_text(encoding="utf-8") if config.is_file() else "",
    )
    write_json(folder / "report.json", content)
    return content


def write_samples(folder: Path, samples: Mapping[str, Sequence[str]], load_picture: LoadPicture) -> None:
    """Draw `figures/samples.png`: a few images of each class, given as files by class name."""
    each = max(1, GRID // len(samples))
    chosen = [(name, path) for name, paths in samples.items() for path in spaced(paths, each)][: 2 * GRID]
    grid = figures.image_grid([load_picture(path) for _, path in chosen], [name for name, _ in chosen])
    grid.savefig(make_folder(folder / "figures") / "samples.png", dpi=120)


def mistake_title(evaluation: Evaluation, index: int) -> str:
    """`cats, not dogs 0.98`: what the network said, what is true, how sure it was."""
    said = evaluation.predicted[index]
    names = evaluation.class_names
    return f"{names[said]}, not {names[evaluation.labels[index]]} {evaluation.probabilities[index, said]:.2f}"
