"""The help of `train`, drawn from `conf/` itself: Hydra's own takes seconds to list the groups."""

import re
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

from cnn_classifier.storage import CONF_DIR, user_config_dirs

EXAMPLES = """\
Train an image classifier on a folder of pictures.

  python train.py                                       the embedded handwritten digits
  python train.py dataset=folder dataset.root=PATH      your own folder of images
  python train.py dataset=cats_dogs dataset.root=PATH model=baseline optimizer.lr=3e-4
  python train.py -m model=baseline,cnn seed=1,2,3      a sweep: every combination
  python train.py --cfg job                             the configuration, without running

Choose one of each group, and change any value of the configuration with key=value; --cfg job shows them all.
"""
FLAGS = """\
  -m, --multirun         run every combination of the values that are separated by commas
  -c, --cfg job          print the configuration and stop; --resolve fills in what refers to other values
  -cd, --config-dir DIR  a folder with groups and options of your own
  --debug                show where an error comes from
  --hydra-help           what else Hydra understands

Tab completion: eval "$(python train.py -sc install=bash)"
"""


def format_train_help(argv: Sequence[str] = ()) -> str:
    """What can be chosen, each option with the first line of its file.

    Args:
        words: Of the command; a `--config-dir` among them is listed, too.
    """
    options = [path for folder in (CONF_DIR, *user_config_dirs(argv)) for path in folder.glob("*/*.yaml")]
    groups = sorted({path.parent.name for path in options})
    return "\n".join([EXAMPLES, *(format_group_help(group, options) for group in groups), FLAGS])


def format_group_help(group: str, options: Sequence[Path]) -> str:
    """`model` and its options, one a line."""
    width = shutil.get_terminal_size((120, 24)).columns
    lines = [group]
    for path in sorted(path for path in options if path.parent.name == group):
        comments = [line for line in path.read_text(encoding="utf-8").splitlines() if re.match("# [^@]", line)]
        description = comments[0].removeprefix("# ") if comments else ""
        summary = textwrap.shorten(description, max(width - 24, 24), placeholder=" …")
        lines.append(f"  {f'{group}={path.stem}':<22}{summary}".rstrip())
    return "\n".join([*lines, ""])
