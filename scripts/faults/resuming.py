"""Runs that go on: R13 to R20."""

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
    return f"+callbacks.stop={{_target_:callbacks.SignalSender,at:step,step:{step}}}"


def r14_stopped_at_every_step(images: Path, workdir: Path, expected_digest: str) -> FaultResult:
    """Each step of the run, the last ones of its epochs (R13) among them; images in the cache, and decoded anew."""
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
    repeated, missed = count_stock_repeats(images, workdir)
    figure = f"{num_good} of {2 * len(steps)} end with the bytes of a whole run"
    return FaultResult(
        "R13, R14 stopped at every step, cache on and off", figure,
        num_good == 2 * len(steps),
        stock=f"going on at step 4 of an epoch of 56 images: {repeated} seen twice, {missed} never",
    )  # fmt: skip


class ExitAtStep(Callback):
    """Ends the process once a checkpoint of the fourth step is there."""

    def __init__(self, note_path: Path) -> None:
        self.note_path = note_path

    def on_train_batch_start(self, trainer: object, pl_module: object, batch: object, batch_idx: int) -> None:
        if batch_idx == 4:
            self.note_path.write_text(" ".join(map(str, stock.RecordingImageFolder.used_indices[: 4 * BATCH])))
            os._exit(0)


def count_stock_repeats(images: Path, workdir: Path) -> tuple[int, int]:
    """How many images of an epoch a stock script sees twice, and never, where it goes on in the epoch's middle."""
    folder, seen_path, rest_path = workdir / "stock", workdir / "seen", workdir / "rest"
    wait(
        start_function(
            lambda: stock.train(images, folder, ExitAtStep(seen_path), every_n_steps=4), workdir / "stock.log"
        )
    )
    last = max(folder.glob("epoch*.ckpt"))
    wait(
        start_function(lambda: stock.train(images, folder, RestRecorder(rest_path), resume=last), workdir / "stock.log")
    )
    before_stop = seen_path.read_text().split()
    used = before_stop + rest_path.read_text().split()
    return len(used) - len(set(used)), STEPS * BATCH - len(set(used))


class RestRecorder(Callback):
    def __init__(self, note_path: Path) -> None:
        self.note_path = note_path

    def on_train_epoch_end(self, *args: object) -> None:
        if not self.note_path.exists():
            self.note_path.write_text(" ".join(map(str, stock.RecordingImageFolder.used_indices)))


def r15_ten_interruptions(images: Path, workdir: Path, expected_digest: str) -> FaultResult:
    run_dir = workdir / "ten"
    for step in range(1, 21, 2):
        run(train_arguments(images, run_dir, "resume=auto", stop_at_step(step)), workdir / "log")
    exit_code = run(train_arguments(images, run_dir, "resume=auto"), workdir / "log")
    is_same = exit_code == 0 and checkpoint_digest(run_dir) == expected_digest
    return FaultResult(
        "R15 ten interruptions of one run", "the bytes of a whole run" if is_same else "other bytes", is_same
    )


def r16_the_same_again(images: Path, workdir: Path, expected_digest: str) -> FaultResult:
    """Once more; and with two threads, which add numbers in another order."""
    run(train_arguments(images, workdir / "again"), workdir / "log")
    is_same_again = checkpoint_digest(workdir / "again") == expected_digest
    run(train_arguments(images, workdir / "threads"), workdir / "log", lambda: torch.set_num_threads(2))
    is_same_threaded = checkpoint_digest(workdir / "threads") == expected_digest
    figure = (
        f"again: {'the same' if is_same_again else 'other'} bytes; with two threads: {'the same' if is_same_threaded else 'other'}; "
        "on other processors: losses within a thousandth (tests/training/test_resume.py)"
    )
    return FaultResult("R16 the same command again", figure, is_same_again)


def r17_other_classes(images: Path, workdir: Path) -> FaultResult:
    """A class more, one less, one renamed, and the same names in other letters."""
    codes = []
    for change in ("more", "less", "renamed", "letters"):
        run_dir, changed = workdir / f"run_{change}", workdir / f"images_{change}"
        shutil.copytree(images, changed)
        run(train_arguments(changed, run_dir, stop_at_step(9)), workdir / "log")
        for split in ("train", "val", "test"):
            folder = changed / split
            if change == "more":
                shutil.copytree(folder / "class0", folder / "class2")
            elif change == "less":
                shutil.rmtree(folder / "class1")
            else:
                (folder / "class0").rename(folder / ("zebra" if change == "renamed" else "Class0"))
        codes.append(run(train_arguments(changed, run_dir, "resume=auto"), workdir / "log"))
    num_refused = codes.count(3)
    return FaultResult(
        "R17 classes added, removed, renamed",
        f"{num_refused} of {len(codes)} refused, exit {codes}",
        num_refused == len(codes),
    )


def r18_other_images(images: Path, workdir: Path) -> FaultResult:
    changed = workdir / "images_changed"
    shutil.copytree(images, changed)
    run(train_arguments(changed, workdir / "r18", stop_at_step(9)), workdir / "log")
    (changed / "train" / "class0" / "0.png").unlink()
    code = run(train_arguments(changed, workdir / "r18", "resume=auto"), workdir / "r18.log")
    return FaultResult("R18 an image less", f"refused with the lines of split.csv, exit {code}", code == 3)


def r19_other_configuration(images: Path, workdir: Path) -> FaultResult:
    run(train_arguments(images, workdir / "r19", stop_at_step(9)), workdir / "log")
    resume = f"resume={workdir / 'r19'}"
    refused = [
        run(train_arguments(images, workdir / "r19", resume, override), workdir / "r19.log")
        for override in ("optimizer.lr=0.5", "dataset.batch_size=5", "model.widths=[8,8]", "seed=2")
    ]
    accepted = run(train_arguments(images, workdir / "r19", resume, "trainer.max_epochs=4"), workdir / "r19.log")
    is_logged = "going on with trainer.max_epochs=4 in place of 3" in (workdir / "r19.log").read_text()
    figure = f"rate, batch, network, seed: exit {refused}; more epochs: exit {accepted}, {'told' if is_logged else 'not told'}"
    return FaultResult("R19 another configuration", figure, refused == [2] * 4 and accepted == 0 and is_logged)


def run_all(images: Path, workdir: Path, expected_digest: str) -> list[FaultResult]:
    """All of this file."""
    return [
        r14_stopped_at_every_step(images, workdir, expected_digest),
        r15_ten_interruptions(images, workdir, expected_digest),
        r16_the_same_again(images, workdir, expected_digest),
        r17_other_classes(make_images(workdir / "images"), workdir),
        r18_other_images(images, workdir),
        r19_other_configuration(images, workdir),
    ]
