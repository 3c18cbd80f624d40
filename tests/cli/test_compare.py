"""The `compare` command: table, JSON and HTML report."""

import html
import json
from pathlib import Path

import pytest

from cnn_classifier.cli.main import main


def make_run(folder: Path, outcomes: str, *, config: str = "", image_prefix: str = "") -> Path:
    """Create the directory of a run; `outcomes` has a `+` for each correct and a `-` for each wrong prediction."""
    folder.mkdir()
    accuracy = outcomes.count("+") / len(outcomes)
    report = {
        "test": {"accuracy": accuracy, "f1_macro": accuracy, "loss": 0.25},
        "timing": {"total_seconds": 63.0},
    }
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    rows = [
        f"{image_prefix}{index}.png,cats,{'cats' if outcome == '+' else 'dogs'},0.9"
        for index, outcome in enumerate(outcomes)
    ]
    (folder / "predictions.csv").write_text("\n".join(["path,label,predicted,probability", *rows]), encoding="utf-8")
    if config:
        (folder / "config.yaml").write_text(config, encoding="utf-8")
    return folder


@pytest.fixture
def finished_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two runs with different learning rates; twenty predictions differ."""
    monkeypatch.chdir(tmp_path)
    make_run(Path("first"), "+" * 60 + "-" * 40, config="seed: 1\noptimizer:\n  lr: 0.1\nrun_dir: first\n")
    make_run(Path("second"), "+" * 80 + "-" * 20, config="seed: 1\noptimizer:\n  lr: 0.2\nrun_dir: second\n")
    return ["first", "second"]


def test_compare_prints_scores_significance_and_differences(
    finished_runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *finished_runs]) == 0

    scores, verdict, differences = capsys.readouterr().out.strip().split("\n\n")
    header, first, second = scores.splitlines()
    assert header.split()[:2] == ["accuracy", "95"]
    assert first.split() == ["first", "0.6000", "0.5020", "to", "0.6906", "0.6000", "0.2500", "100", "63"]
    assert second.startswith("second  0.8000")
    assert verdict.startswith(
        "second has a higher accuracy than first on the 100 test images "
        "(20 correct only with second, 0 only with first)"
    )
    assert verdict.endswith("The difference is significant (p < 0.0001).")
    assert [line.split() for line in differences.splitlines()] == [["first", "second"], ["optimizer.lr", "0.1", "0.2"]]


def test_compare_json_and_html_have_same_content(finished_runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    make_run(Path("elsewhere"), "++-", image_prefix="other/")  # an evaluation, which has no config

    assert main(["compare", *finished_runs, "elsewhere", "--json", "--html", "pages/compare.html"]) == 0

    comparison = json.loads(capsys.readouterr().out)
    assert [row["run"] for row in comparison["runs"]] == ["first", "second", "elsewhere"]
    assert comparison["differences"] == {"optimizer.lr": [0.1, 0.2, None]}
    assert [pair.get("p", 1) < 0.05 for pair in comparison["pairs"]] == [True, False]
    page = html.unescape(Path("pages", "compare.html").read_text(encoding="utf-8"))
    for text in (
        "Comparison of 3 runs",
        *(pair["summary"] for pair in comparison["pairs"]),
        "optimizer.<wbr>lr",
        "80.0 %",
        "1 min 3 s",
    ):
        assert text in page
    assert "<script" not in page


def test_compare_shows_typed_overrides_and_folds_their_consequences(
    finished_runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, size in (("first", 8), ("second", 16)):
        content = {"overrides": [f"dataset.batch_size={size}", "seed=1"], "state": "done"}
        Path(name, "status.json").write_text(json.dumps(content), encoding="utf-8")
        with Path(name, "config.yaml").open("a", encoding="utf-8") as file:
            file.write(f"dataset: {{batch_size: {size}}}\n")

    assert main(["compare", *finished_runs, "--html", "compare.html"]) == 0

    _, _, overrides, others = capsys.readouterr().out.strip().split("\n\n")
    assert [line.split() for line in overrides.splitlines()] == [
        ["overrides", "first", "second"],
        ["dataset.batch_size", "8", "16"],
    ]
    assert others == "Other values that differ as a consequence: 1 (optimizer.lr). --all lists them."
    page = Path("compare.html").read_text(encoding="utf-8")
    typed, folded = page.split("<details>")
    assert "dataset.<wbr>batch_size" in typed
    assert "optimizer.<wbr>lr" in folded
    assert main(["compare", *finished_runs, "--all"]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1].split() == ["optimizer.lr", "0.1", "0.2"]


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (["first"], "compare requires at least two runs, got only first."),
        (
            ["first", "none"],
            "Cannot read none/report.json: No such file or directory. Pass the directory of a finished run.",
        ),
        (["first", "odd"], "Cannot read the report in odd: KeyError: 'test'. Pass the directory of a finished run."),
        (["first", "torn"], "torn/config.yaml"),
    ],
)
@pytest.mark.usefixtures("finished_runs")
def test_compare_unreadable_run_is_named_in_error(
    runs: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (make_run(Path("odd"), "+-") / "report.json").write_text("{}", encoding="utf-8")
    make_run(Path("torn"), "+-", config="a: [")
    assert main(["compare", *runs]) == 2
    assert message in capsys.readouterr().err
