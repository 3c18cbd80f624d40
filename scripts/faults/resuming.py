"""Faults of resumed runs: R13 to R19."""

import os
import shutil
from pathlib import Path

import stock
import torch
from lightning.pytorch import Callback
from workload import (
    BATCH,
    EPOCHS,
    STEPS,
    FaultResult,
    checkpoint_digest,
    make_images,
    run,
    start_function,
    train_arguments,
    wait,
)


def stop_at_step(step: int) -> str:
    """Return the override that stops a run with SIGTERM at a given step."""
    return f"+callbacks.stop={{_target_:callbacks.SignalSender,at:step,step:{step}}}"


def stop_at_every_step(images: Path, workdir: Path, expected_digest: str) -> FaultResult:
    """Stop a run at every step, including the last of each epoch (R13), with and without cache, and resume it."""
    steps = range(EPOCHS * STEPS)
    num_good = 0
    for cache in ("auto", "none"):
        for step in steps:
            run_dir = workdir / f"step{step}{cache}"
            overrides = [f"dataset.cache={cache}"]
            run(train_arguments(images, run_dir, *overrides, stop_at_step(step)), workdir / "log")
            exit_code = run(train_arguments(images, run_dir, *overrides, "resume=auto"), workdir / "log")
            num_good += exit_code == 0 and checkpoint_digest(run_dir) == expected_digest
            shutil.rmtree(run_dir, ignore_errors=True)
    repeated, missed = count_repeated_stock_images(images, workdir)
    return FaultResult(
        "R13, R14 stopped at every step, cache on and off",
        f"{num_good} of {2 * len(steps)} runs are identical",
        num_good == 2 * len(steps),
        stock=f"resumed at step 4 of an epoch of 56 images: {repeated} seen twice, {missed} never",
    )


class ExitAtStep(Callback):
    """A `Callback` that ends the process after the checkpoint of step 4 and records the images used until then."""

    def __init__(self, index_path: Path) -> None:
        self.index_path = index_path

    def on_train_batch_start(self, trainer: object, pl_module: object, batch: object, batch_idx: int) -> None:
        if batch_idx == 4:
            self.index_path.write_text(" ".join(map(str, stock.RecordingImageFolder.used_indices[: 4 * BATCH])))
            os._exit(0)


def count_repeated_stock_images(images: Path, workdir: Path) -> tuple[int, int]:
    """Return the numbers of images that a stock script uses twice and never when it resumes within an epoch."""
    folder, before_path, after_path = workdir / "stock", workdir / "before", workdir / "after"
    wait(
        start_function(
            lambda: stock.train(images, folder, ExitAtStep(before_path), every_n_steps=4), workdir / "stock.log"
        )
    )
    last = max(folder.glob("epoch*.ckpt"))
    wait(
        start_function(
            lambda: stock.train(images, folder, EpochRecorder(after_path), resume=last), workdir / "stock.log"
        )
    )
    used = before_path.read_text().split() + after_path.read_text().split()
    return len(used) - len(set(used)), STEPS * BATCH - len(set(used))


class EpochRecorder(Callback):
    """A `Callback` that records the images used until the end of the first epoch."""

    def __init__(self, index_path: Path) -> None:
        self.index_path = index_path

    def on_train_epoch_end(self, *args: object) -> None:
        if not self.index_path.exists():
            self.index_path.write_text(" ".join(map(str, stock.RecordingImageFolder.used_indices)))


def interrupt_ten_times(images: Path, workdir: Path, expected_digest: str) -> FaultResult:
    """Stop one run ten times."""
    run_dir = workdir / "ten"
    for step in range(1, 21, 2):
        run(train_arguments(images, run_dir, "resume=auto", stop_at_step(step)), workdir / "log")
    exit_code = run(train_arguments(images, run_dir, "resume=auto"), workdir / "log")
    is_same = exit_code == 0 and checkpoint_digest(run_dir) == expected_digest
    return FaultResult("R15 ten interruptions of one run", "identical" if is_same else "different", is_same)


def repeat_command(images: Path, workdir: Path, expected_digest: str) -> FaultResult:
    """Repeat the command with one thread, and with two, which change the order of floating-point additions."""
    run(train_arguments(images, workdir / "again"), workdir / "log")
    is_same_again = checkpoint_digest(workdir / "again") == expected_digest
    run(train_arguments(images, workdir / "threads"), workdir / "log", lambda: torch.set_num_threads(2))
    is_same_threaded = checkpoint_digest(workdir / "threads") == expected_digest
    figure = (
        f"again: {'identical' if is_same_again else 'different'}; "
        f"with two threads: {'identical' if is_same_threaded else 'different'}; "
        "on other processors: losses within a thousandth (tests/training/test_resume.py)"
    )
    return FaultResult("R16 same command again", figure, is_same_again)


def change_classes(images: Path, workdir: Path) -> FaultResult:
    """Resume with an added, a removed and a renamed class, and with a class name in different case."""
    codes = []
    for change in ("added", "removed", "renamed", "case"):
        run_dir, changed = workdir / f"run_{change}", workdir / f"images_{change}"
        shutil.copytree(images, changed)
        run(train_arguments(changed, run_dir, stop_at_step(9)), workdir / "log")
        for split in ("train", "val", "test"):
            folder = changed / split
            if change == "added":
                shutil.copytree(folder / "class0", folder / "class2")
            elif change == "removed":
                shutil.rmtree(folder / "class1")
            else:
                (folder / "class0").rename(folder / ("zebra" if change == "renamed" else "Class0"))
        codes.append(run(train_arguments(changed, run_dir, "resume=auto"), workdir / "log"))
    num_rejected = codes.count(3)
    return FaultResult(
        "R17 classes added, removed, renamed",
        f"{num_rejected} of {len(codes)} rejected, exit codes {codes}",
        num_rejected == len(codes),
    )


def remove_image(images: Path, workdir: Path) -> FaultResult:
    """Resume after one image was removed."""
    changed = workdir / "images_changed"
    shutil.copytree(images, changed)
    run(train_arguments(changed, workdir / "r18", stop_at_step(9)), workdir / "log")
    (changed / "train" / "class0" / "0.png").unlink()
    code = run(train_arguments(changed, workdir / "r18", "resume=auto"), workdir / "r18.log")
    figure = f"rejected with the differing lines of split.csv, exit code {code}"
    return FaultResult("R18 image removed", figure, code == 3)


def change_config(images: Path, workdir: Path) -> FaultResult:
    """Resume with changed config values, of which only the number of epochs is allowed to change."""
    run(train_arguments(images, workdir / "r19", stop_at_step(9)), workdir / "log")
    resume = f"resume={workdir / 'r19'}"
    rejected = [
        run(train_arguments(images, workdir / "r19", resume, override), workdir / "r19.log")
        for override in ("optimizer.lr=0.5", "dataset.batch_size=5", "model.widths=[8,8]", "seed=2")
    ]
    accepted = run(train_arguments(images, workdir / "r19", resume, "trainer.max_epochs=4"), workdir / "r19.log")
    is_logged = "Resuming with trainer.max_epochs=4 instead of 3" in (workdir / "r19.log").read_text()
    figure = (
        f"learning rate, batch size, network, seed: exit codes {rejected}; "
        f"more epochs: exit code {accepted}, {'logged' if is_logged else 'not logged'}"
    )
    return FaultResult("R19 different config", figure, rejected == [2] * 4 and accepted == 0 and is_logged)


def run_all(images: Path, workdir: Path, expected_digest: str) -> list[FaultResult]:
    """Inject all faults of this module."""
    return [
        stop_at_every_step(images, workdir, expected_digest),
        interrupt_ten_times(images, workdir, expected_digest),
        repeat_command(images, workdir, expected_digest),
        change_classes(make_images(workdir / "images"), workdir),
        remove_image(images, workdir),
        change_config(images, workdir),
    ]
