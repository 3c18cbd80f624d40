"""What is left to do of a sweep."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnn_classifier.config import quote_override
from cnn_classifier.secrets import redact_overrides
from cnn_classifier.status import FINISHED, RUNNING
from cnn_classifier.storage import user_config_dirs
from cnn_classifier.sweep.leaderboard import RESUME_OVERRIDE, Leaderboard, can_resume


@dataclass(frozen=True)
class PendingJob:
    """A job that has yet to begin.

    Args:
        folder: Of its run.
        words: What it changes.
        resume: Whether it goes on from its last checkpoint.
        config_folders: Where the user's own configurations are.
    """

    run_dir: Path
    overrides: Sequence[str]
    resume: bool
    config_dirs: Sequence[Path]

    def build_command(self) -> list[str]:
        """The command of the job alone."""
        return [
            *[sys.executable, "-m", "cnn_classifier", "train"],
            *(f"--config-dir={config_dir}" for config_dir in self.config_dirs),
            *self.overrides,
            f"run_dir={quote_override(self.run_dir)}",
            f"sweep.name={quote_override(self.run_dir.parent.name)}",
            *(["resume=auto"] if self.resume else []),
        ]


def pending_jobs(leaderboard: Leaderboard, jobs: Sequence[Sequence[str]], first: int) -> list[PendingJob]:
    """The jobs that are not done, and that no other process is at.

    Args:
        board: Of the sweep.
        jobs: The words of each.
        first: The number of the first.
    """
    leaderboard.redact()
    pending = []
    for job_number, overrides in enumerate(jobs, first):
        previous_status = leaderboard.find_status(overrides)
        if previous_status is not None and previous_status.state in (*FINISHED, RUNNING):
            print(
                f"{previous_status.run_dir}: {previous_status.state} already: {' '.join(redact_overrides(overrides))}"
            )
            continue
        run_dir = (
            leaderboard.next_free_dir(leaderboard.sweep_dir / str(job_number))
            if previous_status is None
            else previous_status.run_dir
        )
        resume = previous_status is not None and can_resume(previous_status)
        run_overrides = [override for override in overrides if not override.startswith(RESUME_OVERRIDE)]
        pending.append(PendingJob(run_dir, run_overrides, resume, user_config_dirs(sys.argv)))
    return pending
