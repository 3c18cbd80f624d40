"""The `data check` command: unreadable images, duplicates, leaks and suggestions for a dataset."""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cnn_classifier.config.yaml_files import CONF_DIR
from cnn_classifier.data.checks.check import find_duplicates, inspect_files
from cnn_classifier.data.checks.summary import summarize
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.sources.resolve import scan_source, source_name
from cnn_classifier.data.splits.split_csv import relative_name
from cnn_classifier.errors import DataError
from cnn_classifier.report.text_table import format_table

SAMPLES_PER_CLASS = 12


def add_parser(subparsers: Any) -> None:
    """Add `data check` to the sub-parsers of argparse."""
    data_parsers = subparsers.add_parser("data", help="check a dataset").add_subparsers(required=True, metavar="check")
    check_parser = data_parsers.add_parser("check", help="find unreadable files, duplicates, leaks and unusual images")
    check_parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder, zip, tar, CSV, URL, or name of a dataset",
    )
    check_parser.add_argument("--json", action="store_true", help="print the result as JSON")
    check_parser.add_argument(
        "--out", metavar="HTML", type=Path, help="the HTML report (default: outputs/data/NAME/data.html)"
    )
    check_parser.set_defaults(command=run_check)


def run_check(arguments: argparse.Namespace) -> int:
    """Check every image of a source, print a table or JSON, and write the HTML report."""
    from cnn_classifier.report.pages.data_check import write_data_page

    dataset_config = make_dataset_config(arguments.source)
    index = scan_source(dataset_config)
    start_time = time.perf_counter()
    check_result = inspect_files([sample.path for sample in index.samples])
    summary = summarize(index, check_result, find_duplicates(check_result, check_result.digests))
    seconds = time.perf_counter() - start_time
    summary |= {
        "source": arguments.source,
        "seconds": round(seconds, 2),
        "images_per_second": round(check_result.num_decoded / seconds, 1),
    }
    stream = sys.stderr if arguments.json else sys.stdout
    print(format_summary(summary), file=stream)
    if arguments.json:
        print(json.dumps(summary, ensure_ascii=False))
    page_path = arguments.out or default_report_path(arguments.source)
    paths_by_class: dict[str, list[str]] = {name: [] for name in index.class_names}
    for sample in index.samples:
        paths_by_class[index.class_names[sample.label]].append(relative_name(sample.path, index))
    write_data_page(
        page_path,
        summary,
        root=index.root,
        samples={
            name: paths[:: max(1, len(paths) // SAMPLES_PER_CLASS)][:SAMPLES_PER_CLASS]
            for name, paths in paths_by_class.items()
        },
    )
    print(f"\nsee {page_path}", file=stream)
    if len(check_result.unreadable) == len(check_result.digests):
        raise DataError(f"None of the {len(check_result.digests)} images in {arguments.source} can be read.")
    return 0


def make_dataset_config(source: str) -> DatasetConfig:
    """Return the config of a named dataset, or of a folder, archive, CSV or URL. An existing path takes precedence."""
    names = [path.stem for path in (CONF_DIR / "dataset").glob("*.yaml")]
    if source in names and not Path(source).exists():
        from cnn_classifier.config.compose import load_config, to_container

        return DatasetConfig(**to_container(load_config([f"dataset={source}"]).dataset))
    return DatasetConfig(source=source)


def default_report_path(source: str) -> Path:
    """Return the default path of the HTML report."""
    return Path("outputs", "data", source_name(source), "data.html")


def format_summary(summary: Mapping[str, Any]) -> str:
    """Format the summary as a table: counts first, then problems, then suggestions."""
    counts = ", ".join(f"{name} {count}" for name, count in list(summary["classes"].items())[:20])
    rows = [
        ("images", f"{summary['images']} in {len(summary['classes'])} classes: {counts}"),
        ("splits", " · ".join(f"{name} {sum(classes.values())}" for name, classes in summary["splits"].items())),
        ("imbalance", f"{summary['imbalance']:g} to 1"),
        *((side, f"{v['min']} to {v['max']} pixels, median {v['median']:g}") for side, v in summary["sizes"].items()),
        ("unreadable", str(len(summary["unreadable"]))),
        *(("", f"{file['path']}: {file['reason']}") for file in summary["unreadable"][:10]),
        *(("warning", f"{entry['count']} {name}: {entry['treatment']}") for name, entry in summary["warnings"].items()),
        *(("duplicates", line) for line in duplicate_lines(summary)),
        ("ignored", ", ".join(f"{count} {extension}" for extension, count in summary["ignored"].items())),
        *(("note", line) for line in summary["notes"]),
        *(("suggestion", line) for line in summary["suggestions"]),
        ("checked", f"in {summary['seconds']:.1f} s, {format_speed(summary)}"),
    ]
    return format_table([(label, text) for label, text in rows if text])


def format_speed(summary: Mapping[str, Any]) -> str:
    """Return the number of images checked per second, or that none had to be read."""
    rate = summary["images_per_second"]
    return f"{rate:.0f} images/s" if rate else "all images were cached by an earlier check"


def duplicate_lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield the number of duplicate groups of each kind, then up to five that span classes or splits."""
    groups = summary["duplicates"]
    for kind in ("exact", "near"):
        matching = [group for group in groups if group["kind"] == kind]
        yield f"{len(matching)} {kind} groups, {sum(len(group['paths']) for group in matching)} files"
    serious = [group for group in groups if len(group["classes"]) > 1 or len(group["splits"]) > 1]
    for group in serious[:5]:
        location = "in several classes" if len(group["classes"]) > 1 else "in several splits"
        yield f"{location}: {', '.join(group['paths'][:4])}"
