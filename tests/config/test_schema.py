"""Invalid overrides and config files: one line that names the error, exit code 2, and no files."""

from pathlib import Path

import pytest

from cnn_classifier.cli.main import main

# Invalid overrides, and the text that the message must contain.
OVERRIDES = [
    ("modle=cnn", "modle"),
    ("model=cnnn", "model=cnnn does not exist; expected one of: auto, baseline, cnn"),
    ("optimizer=adm", "optimizer=adm"),
    ("scheduler=cosin", "scheduler=cosin"),
    ("trainer=gpus", "trainer=gpus"),
    ("dataset=cat_dogs", "dataset=cat_dogs"),
    ("augment=lots", "augment=lots"),
    ("callbacks=none_at_all", "callbacks=none_at_all"),
    ("logger=tensorbord", "logger=tensorbord"),
    ("experiment=my_best", "experiment=my_best"),
    ("hydra/launcher=poll", "hydra/launcher=poll"),
    ("optimizer.learning_rate=0.1", "optimizer.learning_rate"),
    ("optimizer.rl=0.1", "optimizer.rl is not in the configuration"),
    ("trainer.max_epoch=3", "did you mean 'max_epochs'?"),
    ("dataset.image_sizes=64", "did you mean 'image_size'?"),
    ("sed=3", "did you mean 'seed'?"),
    ("seed=one", "seed=one is of the wrong type: expected int"),
    ("seed=1.5", "seed=1.5 is of the wrong type"),
    ("seed=-1", "seed=-1 is out of range"),
    ("seed=99999999999", "seed=99999999999 is out of range"),
    ("seed=true", "seed=True is of the wrong type"),
    ("seed=[1,2]", "seed=[1, 2] is of the wrong type"),
    ("seed={a:1}", "seed={'a': 1} is of the wrong type"),
    ("seed=null", "seed=None is of the wrong type"),
    ("seed=", "seed="),
    ("test_time_flip=yes_please", "test_time_flip=yes_please is of the wrong type: expected bool"),
    ("test_time_flip=1", "test_time_flip=1 is of the wrong type"),
    ("budget=soon", "budget=soon"),
    ("budget=-5m", "budget=-5m"),
    ("budget=0s", "budget=0s"),
    ("resume=7", "resume=7 is of the wrong type"),
    ("trainer.max_epochs=0", "trainer.max_epochs=0 is out of range"),
    ("trainer.max_epochs=ten", "trainer.max_epochs=ten is of the wrong type"),
    ("trainer.max_epochs=2.5", "trainer.max_epochs=2.5 is of the wrong type"),
    ("dataset.train_sizes=[4]", "dataset.train_sizes=[4] is out of range"),
    ("dataset.train_sizes=64", "train_sizes=64 is of the wrong type"),
    ("compute.compile=maybe", "compute.compile=maybe is unknown: expected one of auto, True, False"),
    ("compute.memory_format=rows", "compute.memory_format=rows is unknown"),
    ("optimizer.lr=fast", "optimizer.lr=fast is of the wrong type"),
    ("optimizer.lr=-0.1", "optimizer.lr=-0.1 is out of range"),
    ("optimizer.weight_decay=-1", "optimizer.weight_decay=-1 is out of range"),
    ("optimizer.momentum=1.5", "optimizer.momentum=1.5 is out of range"),
    ("model.dropout=2", "model.dropout=2 is out of range"),
    ("model.widths=[]", "model.widths"),
    ("model.widths=[0,8]", "model.widths=[0, 8] is out of range"),
    ("loss.label_smoothing=1.5", "loss.label_smoothing=1.5 is out of range"),
    ("loss.class_weights=heavy", "loss.class_weights=heavy: expected balanced"),
    ("loss.class_weights=[1,-1]", "loss.class_weights=[1, -1]: expected balanced"),
    ("dataset.image_size=big", "dataset: image_size='big' is of the wrong type"),
    ("dataset.image_size=2", "dataset.image_size=2"),
    ("dataset.batch_size=0", "dataset.batch_size=0"),
    ("dataset.val_fraction=1.5", "dataset.val_fraction=1.5"),
    ("dataset.cache=floppy", "dataset.cache=floppy"),
    ("dataset.sampler=all", "dataset.sampler=all"),
    ("~model", "model is missing"),
    ("model=", "model"),
    ("seed=${seed}", "seed"),
    ("seed=${nothing.here}", "nothing"),
    ("seed=${oc.env:NO_SUCH_VARIABLE}", "NO_SUCH_VARIABLE"),
    ("dataset.root=my photos (1)", "quote a value with special characters"),
    ("dataset.root='unclosed", "cannot be parsed"),
    ("++=3", "++=3"),
    ("sweep.resume=outputs/sweeps/none", "requires -m"),
]
FILES = {
    "a tab": (b"seed:\t\t3\n\tbudget: 1m\n", "mine.yaml"),
    "not UTF-8": (b"seed: 3 # caf\xe9\n", "mine.yaml"),
    "duplicate key": (b"seed: 3\nseed: 4\n", "mine.yaml"),
    "a cycle": (b"defaults:\n  - mine\n", "form a cycle"),
    "not a mapping": (b"- seed\n- 3\n", "mine"),
    "billion laughs": (b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n".encode() for i in range(8)
    ), "mine"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def empty_cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("override", "message"), OVERRIDES, ids=[override for override, _ in OVERRIDES])
def test_invalid_override_is_one_line_with_exit_code_2(
    override: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = [] if override.startswith("model") else ["model=resnet"]
    assert main(["train", "dataset=folder", "dataset.root=photos", *model, override]) == 2
    stderr = capsys.readouterr().err
    assert message in stderr
    assert_one_line(stderr)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=list(FILES))
def test_invalid_config_file_is_one_line_with_exit_code_2(
    content: bytes, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_bytes(b"# @package _global_\n" + content)
    assert main(["train", "--config-dir=.", "experiment=mine", "dataset.root=photos"]) == 2
    stderr = capsys.readouterr().err
    assert message in stderr
    assert_one_line(stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["experiment"]


def test_value_of_one_megabyte_is_truncated_in_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", f"seed={'x' * 1_000_000}"]) == 2
    assert len(capsys.readouterr().err) < 2100


def assert_one_line(stderr: str) -> None:
    assert stderr.startswith("error: ")
    assert len(stderr.splitlines()) == 1
    assert "Traceback" not in stderr
    assert "this is a bug" not in stderr
