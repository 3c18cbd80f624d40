"""Faults that kill, stop or start runs: R2 and R10 to R12."""

import os
import random
import signal
import statistics
import time
from pathlib import Path

import stock
from lightning.pytorch import Callback
from workload import (
    FaultResult,
    checkpoint_digest,
    count_completed_steps,
    has_intact_checkpoints,
    kill_after,
    run,
    start,
    start_function,
    train_arguments,
    wait,
)


def kill_at_random_times(images: Path, workdir: Path, expected_digest: str) -> FaultResult:
    """Kill runs with SIGKILL at random times, and resume them with `resume=auto`."""
    trials = 50
    start_time = time.perf_counter()
    run(train_arguments(images, workdir / "timed"), workdir / "log")
    duration = time.perf_counter() - start_time
    rng = random.Random(1)
    num_good, lost_steps, seconds = 0, [], []
    for number in range(trials):
        run_dir, step_path = workdir / f"killed{number}", workdir / f"steps{number}"
        override = f"+callbacks.steps={{_target_:callbacks.StepRecorder,path:'{step_path}'}}"
        kill_after(start(train_arguments(images, run_dir, override), workdir / "log"), rng.uniform(0, duration))
        steps_done = int(step_path.read_text() or 0) if step_path.exists() else 0
        is_intact = has_intact_checkpoints(run_dir) if run_dir.exists() else True
        lost_steps.append(steps_done - count_completed_steps(run_dir))
        start_time = time.perf_counter()
        exit_code = run(train_arguments(images, run_dir, "resume=auto"), workdir / "log")
        seconds.append(time.perf_counter() - start_time)
        num_good += is_intact and exit_code == 0 and checkpoint_digest(run_dir) == expected_digest
    figure = (
        f"{num_good} of {trials} runs resume and are identical; "
        f"lost steps: median {statistics.median(lost_steps):.0f}, maximum {max(lost_steps)} (an epoch has 8); "
        f"{statistics.median(seconds):.1f} s to finish"
    )
    return FaultResult("R2 SIGKILL at a random time", figure, num_good == trials)


def send_sigterm(images: Path, workdir: Path, expected_digest: str) -> FaultResult:
    """Send SIGTERM in different phases, once or twice; measure the time to exit, and resume."""
    cases = [("start", 1), ("step", 1), ("validation", 1), ("save", 1), ("step", 2)]
    num_good, seconds, count = 0, [], 0
    for at, times in cases:
        for trial in range(10):
            run_dir, time_path = workdir / f"term_{at}{times}{trial}", workdir / f"at_{at}{times}{trial}"
            parameters = f"at:{at},step:{3 + trial},times:{times},time_path:'{time_path}'"
            override = f"+callbacks.stop={{_target_:callbacks.SignalSender,{parameters}}}"
            code = run(train_arguments(images, run_dir, override), workdir / "log")
            seconds.append(time.time() - float(time_path.read_text()))
            resumed_exit_code = run(train_arguments(images, run_dir, "resume=auto"), workdir / "log")
            num_good += (
                code == 143
                and has_intact_checkpoints(run_dir)
                and resumed_exit_code == 0
                and checkpoint_digest(run_dir) == expected_digest
            )
            count += 1
    stock_exit_code = wait(
        start_function(lambda: stock.train(images, workdir / "stock", SigtermSender()), workdir / "stock.log")
    )
    is_saved = any((workdir / "stock").glob("*.ckpt"))
    figure = (
        f"{num_good} of {count} runs save, exit with 143, resume and are identical; "
        f"at most {max(seconds):.1f} s to exit"
    )
    return FaultResult(
        "R10 SIGTERM at the start, in a step, a validation, a save; twice",
        figure,
        num_good == count,
        stock=f"exit code {stock_exit_code}, {'a' if is_saved else 'no'} checkpoint saved",
    )


class SigtermSender(Callback):
    """A `Callback` that sends SIGTERM to this process at step 5."""

    def on_train_batch_start(self, trainer: object, pl_module: object, batch: object, batch_idx: int) -> None:
        if batch_idx == 5:
            os.kill(os.getpid(), signal.SIGTERM)


def interrupt_sweep(images: Path, workdir: Path) -> FaultResult:
    """Press Ctrl-C during the second of four jobs."""
    folder = workdir / "sweep"
    train, *others = (override for override in train_arguments(images, folder) if not override.startswith("run_dir="))
    command = [train, "-m", *others, "seed=1,2,3,4", f"hydra.sweep.dir={folder}"]
    pid = start(command, workdir / "log")
    deadline = time.monotonic() + 60
    while not (folder / "1" / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(pid, signal.SIGINT)
    code = wait(pid)
    num_finished = len(list(folder.glob("*/report.json")))
    has_leaderboard = (folder / "leaderboard.csv").exists()
    figure = (
        f"exit code {code}, {num_finished} of 4 jobs finished and kept, "
        f"leaderboard {'written' if has_leaderboard else 'missing'}"
    )
    return FaultResult(
        "R11 Ctrl-C in the second job of a sweep", figure, code == 130 and 1 <= num_finished <= 2 and has_leaderboard
    )


def start_two_runs_in_one_directory(images: Path, workdir: Path) -> FaultResult:
    """Start a second run in the directory of a running one; kill the first and resume it."""
    run_dir = workdir / "shared"
    first = start(train_arguments(images, run_dir, "trainer.max_epochs=20"), workdir / "log")
    while not (run_dir / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.01)
    second = run(train_arguments(images, run_dir), workdir / "second.log")
    os.kill(first, signal.SIGKILL)
    wait(first)
    third = run(train_arguments(images, run_dir, "trainer.max_epochs=20", "resume=auto"), workdir / "log")
    is_explained = "is in use by process" in (workdir / "second.log").read_text()
    figure = (
        f"second run: exit code {second}{', owner reported' if is_explained else ''}; "
        f"after SIGKILL of the first: exit code {third}"
    )
    return FaultResult("R12 two runs in one directory", figure, second == 2 and is_explained and third == 0)
