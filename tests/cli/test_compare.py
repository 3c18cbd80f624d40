"""`compare` puts finished runs and evaluations side by side, on the terminal, as JSON and as a page."""

import html
import json
from pathlib import Path

import pytest

from cnn_classifier.cli.main import main


def finished(folder: Path, right: str, *, config: str = "", images: str = "") -> Path:
    """A folder as a run leaves it, whose images were answered rightly (`+`) or wrongly (`-`)."""
    folder.mkdir()
    accuracy = right.count("+") / len(right)
    report = {
        "test": {"accuracy": accuracy, "f1_macro": accuracy, "loss": 0.25},
        "timing": {"total_seconds": 63.0},
    }
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    rows = [f"{images}{index}.png,cats,{'cats' if mark == '+' else 'dogs'},0.9" for index, mark in enumerate(right)]
    (folder / "predictions.csv").write_text("\n".join(["path,label,predicted,probability", *rows]), encoding="utf-8")
    if config:
        (folder / "config.yaml").write_text(config, encoding="utf-8")
    return folder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two runs that differ in their learning rates and on twenty images."""
    monkeypatch.chdir(tmp_path)
    finished(Path("first"), "+" * 60 + "-" * 40, config="seed: 1\noptimizer:\n  lr: 0.1\nrun_dir: first\n")
    finished(Path("second"), "+" * 80 + "-" * 20, config="seed: 1\noptimizer:\n  lr: 0.2\nrun_dir: second\n")
    return ["first", "second"]


def test_the_terminal_says_who_is_better_and_what_differs(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *runs]) == 0

    scores, said, differing = capsys.readouterr().out.strip().split("\n\n")
    head, first, second = scores.splitlines()
    assert head.split()[:2] == ["accuracy", "95"]
    assert first.split() == ["first", "0.6000", "0.5020", "to", "0.6906", "0.6000", "0.2500", "100", "63"]
    assert second.startswith("second  0.8000")
    assert said.startswith("second is better than first on the 100 test images: right on 20 that the other gets wrong")
    assert said.endswith("the difference is real (p < 0.0001).")
    assert [line.split() for line in differing.splitlines()] == [["first", "second"], ["optimizer.lr", "0.1", "0.2"]]


def test_json_and_page_say_the_same(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    finished(Path("elsewhere"), "++-", images="other/")  # an evaluation: it has no configuration

    assert main(["compare", *runs, "elsewhere", "--json", "--html", "pages/compare.html"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert [row["run"] for row in found["runs"]] == ["first", "second", "elsewhere"]
    assert found["differences"] == {"optimizer.lr": [0.1, 0.2, None]}
    assert [pair.get("p", 1) < 0.05 for pair in found["pairs"]] == [True, False]
    page = html.unescape(Path("pages", "compare.html").read_text(encoding="utf-8"))
    for told in (
        "3 runs side by side",
        *(pair["says"] for pair in found["pairs"]),
        "optimizer.lr",
        "80.0 %",
        "1 min 3 s",
    ):
        assert told in page
    assert "<script" not in page


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["first"], "compare first: there is nothing to compare it with; give another run"),
        (
            ["first", "none"],
            "none/report.json cannot be read (No such file or directory); give the folder of a finished",
        ),
        (["first", "odd"], "odd holds no report of ours (KeyError: 'test'); give the folder of a finished run"),
        (["first", "torn"], "torn/config.yaml cannot be read as YAML in UTF-8"),
    ],
)
def test_what_is_no_run_is_named(
    words: list[str], told: str, runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (finished(Path("odd"), "+-") / "report.json").write_text("{}", encoding="utf-8")
    finished(Path("torn"), "+-", config="a: [")
    assert main(["compare", *words]) == 2
    assert told in capsys.readouterr().err
