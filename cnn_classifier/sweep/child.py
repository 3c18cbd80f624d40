"""One job of a sweep as a process of its own, watched from outside."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tqdm import tqdm

from cnn_classifier.errors import INTERNAL_EXIT_CODE, INTERRUPTED_EXIT_CODE, TERMINATED_EXIT_CODE
from cnn_classifier.secrets import masked_words
from cnn_classifier.status import DONE, FAILED, INTERRUPTED, KILLED, STATUS, Status, read_status
from cnn_classifier.storage import make_folder
from cnn_classifier.sweep.leaderboard import what
from cnn_classifier.sweep.planned import Planned

LOG = "train.log"
SECONDS_TO_STOP = 60.0  # to write a checkpoint in; then it is killed


class Child:
    """A job that runs; what it says goes into `train.log`.

    Args:
        job: What to run.
        place: Its `cores`, and its `gpu` or None.
    """

    def __init__(self, job: Planned, place: Mapping[str, Any]) -> None:
        self.folder, self.words, self.lost = job.folder, list(job.words), ""
        environment = dict(os.environ) | {"OMP_NUM_THREADS": str(len(place["cores"]))}
        if place["gpu"] is not None:
            environment["CUDA_VISIBLE_DEVICES"] = place["gpu"]
        make_folder(self.folder)
        self.before = read_status(self.folder)  # it stays until the job has begun, should both die
        with (self.folder / LOG).open("ab") as log:
            # A session of its own: Ctrl-C reaches it once, from us.
            self.process = subprocess.Popen(
                job.command(), stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self.process.pid, place["cores"])
        self.started = time.monotonic()
        tqdm.write(f"{self.folder}: {' '.join(masked_words(self.words))}")

    def has_ended(self, patience: float) -> bool:
        """Whether it is over; one without a sign of life for so many seconds is stopped."""
        if self.process.poll() is None:
            if self.silence() < patience:
                return False
            self.lost = f"no sign of life for {patience / 60:g} minutes, stopped"
            self.stop(signal.SIGTERM)
        self.wait()
        return True

    def status(self) -> Status | None:
        """How far it is."""
        return read_status(self.folder)

    def silence(self) -> float:
        """Seconds since it last wrote anything."""
        written = [path.stat().st_mtime for path in (self.folder / STATUS, self.folder / LOG) if path.exists()]
        return min(time.monotonic() - self.started, time.time() - max(written, default=0.0))

    def stop(self, number: int) -> None:
        """Ask it to end."""
        if os.name == "nt":
            self.process.terminate()  # Windows knows no other way from outside
        else:
            self.process.send_signal(number)

    def wait(self) -> None:
        """Until it is over, and make sure that its status tells how it ended."""
        try:
            code = self.process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        status = read_status(self.folder)
        if self.lost or status is None or status.state == KILLED or status == self.before:
            told = self.lost or self.last_words(code)
            ended = status or Status(run_dir=self.folder, words=what(self.words))
            stopped = code in (INTERRUPTED_EXIT_CODE, TERMINATED_EXIT_CODE)
            state = KILLED if self.lost or code < 0 else INTERRUPTED if stopped else FAILED
            exit_code = 128 - code if code < 0 else code or INTERNAL_EXIT_CODE  # as a shell has it
            replace(ended, state=state, exit_code=exit_code, message=told).write()
            status = read_status(self.folder)
        if status is not None:
            accuracy = f"val accuracy {status.val_accuracy:.4f}" if status.state == DONE else status.message
            tqdm.write(f"{self.folder}: {status.state}  {accuracy}")

    def last_words(self, code: int) -> str:
        """Why it ended, as far as it said so."""
        if code < 0:
            return f"ended by signal {-code} ({signal.Signals(-code).name})"
        lines = (self.folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return errors[-1] if errors else f"ended with exit code {code}, see {LOG}"
