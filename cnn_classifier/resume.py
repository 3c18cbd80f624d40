"""Where a training begins: at a checkpoint of an earlier one, or with weights learnt elsewhere, or from nothing."""

from pathlib import Path

from cnn_classifier.checkpoint import find_resume, require_same, run_dir_of
from cnn_classifier.config import Config, adopt
from cnn_classifier.models.staged import Staged
from cnn_classifier.module import ImageClassifier


def take_up(config: Config) -> Path | None:
    """The checkpoint to go on from, if any; its run goes on in its own folder, with what was settled when it began."""
    resumed = find_resume(config)
    run_before = run_dir_of(resumed) if resumed is not None else None
    if run_before is not None:
        config.run_dir = str(run_before)
        adopt(config, run_before / "config.yaml")
    return resumed


def begin_weights(module: ImageClassifier, resumed: Path | None) -> None:
    """Make sure that a checkpoint's weights fit, or fetch those that a pretrained network begins with."""
    if resumed is not None:
        require_same(resumed, module.hparams)
    elif isinstance(module.network, Staged):
        module.network.load_weights()
