"""What is left to do of a sweep."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnn_classifier.config import quoted
from cnn_classifier.secrets import masked_words
from cnn_classifier.status import FINISHED, RUNNING
from cnn_classifier.storage import own_folders
from cnn_classifier.sweep.leaderboard import RESUME, Leaderboard, goes_on


@dataclass(frozen=True)
class Planned:
    """A job that has yet to begin.

    Args:
        folder: Of its run.
        words: What it changes.
        resume: Whether it goes on from its last checkpoint.
        config_folders: Where the user's own configurations are.
    """

    folder: Path
    words: Sequence[str]
    resume: bool
    config_folders: Sequence[Path]

    def command(self) -> list[str]:
        """The command of the job alone."""
        return [
            *[sys.executable, "-m", "cnn_classifier", "train"],
            *(f"--config-dir={folder}" for folder in self.config_folders),
            *self.words,
            f"run_dir={quoted(self.folder)}",
            f"sweep.name={quoted(self.folder.parent.name)}",
            *(["resume=auto"] if self.resume else []),
        ]


def plan(board: Leaderboard, jobs: Sequence[Sequence[str]], first: int) -> list[Planned]:
    """The jobs that are not done, and that no other process is at.

    Args:
        board: Of the sweep.
        jobs: The words of each.
        first: The number of the first.
    """
    board.mask()
    planned = []
    for number, words in enumerate(jobs, first):
        before = board.find(words)
        if before is not None and before.state in (*FINISHED, RUNNING):
            print(f"{before.run_dir}: {before.state} already: {' '.join(masked_words(words))}")
            continue
        folder = board.free(board.folder / str(number)) if before is None else before.run_dir
        resume = before is not None and goes_on(before)
        own = [word for word in words if not word.startswith(RESUME)]
        planned.append(Planned(folder, own, resume, own_folders(sys.argv)))
    return planned
