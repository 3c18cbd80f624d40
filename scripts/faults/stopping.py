"""Runs that are killed, told to stop, or started twice: R2 and R10 to R12."""

import os
import random
import signal
import statistics
import time
from pathlib import Path

import stock
from lightning.pytorch import Callback
from workload import Row, all_whole, digest, killed_after, run, start, start_call, steps_of, wait, words


def r2_killed_at_any_time(images: Path, place: Path, whole: str) -> Row:
    """Kill -9 at a random time, and go on with `resume=auto`."""
    trials = 50
    begin = time.perf_counter()
    run(words(images, place / "timed"), place / "log")
    length = time.perf_counter() - begin
    chance = random.Random(1)
    good, lost, seconds = 0, [], []
    for number in range(trials):
        run_dir, note = place / f"killed{number}", place / f"steps{number}"
        count = f"+callbacks.steps={{_target_:callbacks.Steps,path:'{note}'}}"
        killed_after(start(words(images, run_dir, count), place / "log"), chance.uniform(0, length))
        done = int(note.read_text() or 0) if note.exists() else 0
        whole_yet = all_whole(run_dir) if run_dir.exists() else True
        lost.append(done - steps_of(run_dir))
        begin = time.perf_counter()
        ended = run(words(images, run_dir, "resume=auto"), place / "log")
        seconds.append(time.perf_counter() - begin)
        good += whole_yet and ended == 0 and digest(run_dir) == whole
    figure = (
        f"{good} of {trials} go on and end with the bytes of a whole run; "
        f"lost steps: median {statistics.median(lost):.0f}, at most {max(lost)} (an epoch has 8); "
        f"{statistics.median(seconds):.1f} s to the end"
    )
    return Row("R2 kill -9 at a random time", figure, good == trials)


def r10_told_to_stop(images: Path, place: Path, whole: str) -> Row:
    """SIGTERM at six moments, and twice; from its arrival to the end of the process."""
    moments = [("start", 1), ("step", 1), ("validation", 1), ("save", 1), ("step", 2)]
    good, seconds, count = 0, [], 0
    for at, times in moments:
        for trial in range(10):
            run_dir, note = place / f"term_{at}{times}{trial}", place / f"at_{at}{times}{trial}"
            told = f"at:{at},step:{3 + trial},times:{times},note:'{note}'"
            stop = f"+callbacks.stop={{_target_:callbacks.Signal,{told}}}"
            code = run(words(images, run_dir, stop), place / "log")
            seconds.append(time.time() - float(note.read_text()))
            ended = run(words(images, run_dir, "resume=auto"), place / "log")
            good += code == 143 and all_whole(run_dir) and ended == 0 and digest(run_dir) == whole
            count += 1
    stocks = wait(start_call(lambda: stock.train(images, place / "stock", TellToStop()), place / "stock.log"))
    saved = any((place / "stock").glob("*.ckpt"))
    figure = (
        f"{good} of {count} save, exit 143, go on to the bytes of a whole run; at most {max(seconds):.1f} s to the end"
    )
    return Row("R10 SIGTERM at the start, in a step, a validation, a save; twice", figure, good == count,
               stock=f"exit {stocks}, {'something' if saved else 'nothing'} saved")  # fmt: skip


class TellToStop(Callback):
    def on_train_batch_start(self, trainer: object, pl_module: object, batch: object, batch_idx: int) -> None:
        if batch_idx == 5:
            os.kill(os.getpid(), signal.SIGTERM)


def r11_ctrl_c_in_a_sweep(images: Path, place: Path) -> Row:
    """The second of four jobs gets Ctrl-C."""
    folder = place / "sweep"
    train, *others = (word for word in words(images, folder) if not word.startswith("run_dir="))
    command = [train, "-m", *others, "seed=1,2,3,4", f"hydra.sweep.dir={folder}"]
    pid = start(command, place / "log")
    deadline = time.monotonic() + 60
    while not (folder / "1" / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(pid, signal.SIGINT)
    code = wait(pid)
    finished = len(list(folder.glob("*/report.json")))
    told = (folder / "leaderboard.csv").exists()
    figure = f"exit {code}, {finished} of 4 jobs finished and kept, leaderboard {'there' if told else 'missing'}"
    return Row("R11 Ctrl-C in the second job of a sweep", figure, code == 130 and 1 <= finished <= 2 and told)


def r12_two_runs_in_one_folder(images: Path, place: Path) -> Row:
    run_dir = place / "shared"
    first = start(words(images, run_dir, "trainer.max_epochs=20"), place / "log")
    while not (run_dir / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.01)
    second = run(words(images, run_dir), place / "second.log")
    os.kill(first, signal.SIGKILL)
    wait(first)
    third = run(words(images, run_dir, "trainer.max_epochs=20", "resume=auto"), place / "log")
    told = "is in use by process" in (place / "second.log").read_text()
    figure = (
        f"the second: exit {second}{', told whose it is' if told else ''}; after a kill -9 of the first: exit {third}"
    )
    return Row("R12 two runs in one folder", figure, second == 2 and told and third == 0)
