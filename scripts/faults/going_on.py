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
    Row,
    digest,
    make_images,
    run,
    start_call,
    wait,
    words,
)


def stopped_at(step: int) -> str:
    return f"+callbacks.stop={{_target_:callbacks.Signal,at:step,step:{step}}}"


def r14_stopped_at_every_step(images: Path, place: Path, whole: str) -> Row:
    """Each step of the run, the last ones of its epochs (R13) among them; images in the cache, and decoded anew."""
    steps = range(EPOCHS * STEPS)
    good = 0
    for cache in ("auto", "none"):
        for step in steps:
            run_dir = place / f"step{step}{cache}"
            more = [f"dataset.cache={cache}"]
            run(words(images, run_dir, *more, stopped_at(step)), place / "log")
            ended = run(words(images, run_dir, *more, "resume=auto"), place / "log")
            good += ended == 0 and digest(run_dir) == whole
            shutil.rmtree(run_dir, ignore_errors=True)
    repeated, missed = stock_repeats(images, place)
    figure = f"{good} of {2 * len(steps)} end with the bytes of a whole run"
    return Row(
        "R13, R14 stopped at every step, cache on and off", figure,
        good == 2 * len(steps),
        stock=f"going on at step 4 of an epoch of 56 images: {repeated} seen twice, {missed} never",
    )  # fmt: skip


class Leave(Callback):
    """Ends the process once a checkpoint of the fourth step is there."""

    def __init__(self, note: Path) -> None:
        self.note = note

    def on_train_batch_start(self, trainer: object, pl_module: object, batch: object, batch_idx: int) -> None:
        if batch_idx == 4:
            self.note.write_text(" ".join(map(str, stock.Numbered.taken[: 4 * BATCH])))
            os._exit(0)


def stock_repeats(images: Path, place: Path) -> tuple[int, int]:
    """How many images of an epoch a stock script sees twice, and never, where it goes on in the epoch's middle."""
    folder, seen, rest = place / "stock", place / "seen", place / "rest"
    wait(start_call(lambda: stock.train(images, folder, Leave(seen), every=4), place / "stock.log"))
    last = max(folder.glob("epoch*.ckpt"))
    wait(start_call(lambda: stock.train(images, folder, NoteRest(rest), resume=last), place / "stock.log"))
    first = seen.read_text().split()
    taken = first + rest.read_text().split()
    return len(taken) - len(set(taken)), STEPS * BATCH - len(set(taken))


class NoteRest(Callback):
    def __init__(self, note: Path) -> None:
        self.note = note

    def on_train_epoch_end(self, *args: object) -> None:
        if not self.note.exists():
            self.note.write_text(" ".join(map(str, stock.Numbered.taken)))


def r15_ten_interruptions(images: Path, place: Path, whole: str) -> Row:
    run_dir = place / "ten"
    for step in range(1, 21, 2):
        run(words(images, run_dir, "resume=auto", stopped_at(step)), place / "log")
    ended = run(words(images, run_dir, "resume=auto"), place / "log")
    same = ended == 0 and digest(run_dir) == whole
    return Row("R15 ten interruptions of one run", "the bytes of a whole run" if same else "other bytes", same)


def r16_the_same_again(images: Path, place: Path, whole: str) -> Row:
    """Once more; and with two threads, which add numbers in another order."""
    run(words(images, place / "again"), place / "log")
    again = digest(place / "again") == whole
    run(words(images, place / "threads"), place / "log", lambda: torch.set_num_threads(2))
    threads = digest(place / "threads") == whole
    figure = (
        f"again: {'the same' if again else 'other'} bytes; with two threads: {'the same' if threads else 'other'}; "
        "on other processors: losses within a thousandth (tests/test_going_on.py)"
    )
    return Row("R16 the same command again", figure, again)


def r17_other_classes(images: Path, place: Path) -> Row:
    """A class more, one less, one renamed, and the same names in other letters."""
    codes = []
    for change in ("more", "less", "renamed", "letters"):
        run_dir, changed = place / f"run_{change}", place / f"images_{change}"
        shutil.copytree(images, changed)
        run(words(changed, run_dir, stopped_at(9)), place / "log")
        for split in ("train", "val", "test"):
            folder = changed / split
            if change == "more":
                shutil.copytree(folder / "class0", folder / "class2")
            elif change == "less":
                shutil.rmtree(folder / "class1")
            else:
                (folder / "class0").rename(folder / ("zebra" if change == "renamed" else "Class0"))
        codes.append(run(words(changed, run_dir, "resume=auto"), place / "log"))
    good = codes.count(3)
    return Row(
        "R17 classes added, removed, renamed", f"{good} of {len(codes)} refused, exit {codes}", good == len(codes)
    )


def r18_other_images(images: Path, place: Path) -> Row:
    changed = place / "images_changed"
    shutil.copytree(images, changed)
    run(words(changed, place / "r18", stopped_at(9)), place / "log")
    (changed / "train" / "class0" / "0.png").unlink()
    code = run(words(changed, place / "r18", "resume=auto"), place / "r18.log")
    return Row("R18 an image less", f"refused with the lines of split.csv, exit {code}", code == 3)


def r19_other_configuration(images: Path, place: Path) -> Row:
    run(words(images, place / "r19", stopped_at(9)), place / "log")
    resume = f"resume={place / 'r19'}"
    refused = [
        run(words(images, place / "r19", resume, word), place / "r19.log")
        for word in ("optimizer.lr=0.5", "dataset.batch_size=5", "model.widths=[8,8]", "seed=2")
    ]
    taken = run(words(images, place / "r19", resume, "trainer.max_epochs=4"), place / "r19.log")
    told = "going on with trainer.max_epochs=4 in place of 3" in (place / "r19.log").read_text()
    figure = f"rate, batch, network, seed: exit {refused}; more epochs: exit {taken}, {'told' if told else 'not told'}"
    return Row("R19 another configuration", figure, refused == [2] * 4 and taken == 0 and told)


def all_rows(images: Path, place: Path, whole: str) -> list[Row]:
    """All of this file."""
    return [
        r14_stopped_at_every_step(images, place, whole),
        r15_ten_interruptions(images, place, whole),
        r16_the_same_again(images, place, whole),
        r17_other_classes(make_images(place / "images"), place),
        r18_other_images(images, place),
        r19_other_configuration(images, place),
    ]
