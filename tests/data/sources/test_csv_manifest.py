"""Tests of CSV files that list images."""

from pathlib import Path

import pytest

from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.sources.csv_manifest import scan_csv
from cnn_classifier.data.sources.index import Sample
from cnn_classifier.data.sources.resolve import scan_source
from cnn_classifier.errors import DataError


def write_file(folder: Path, text: str, *, encoding: str = "utf-8", name: str = "photos.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def test_csv_with_path_and_label_is_sufficient(tmp_path: Path) -> None:
    index = scan_csv(write_file(tmp_path, "path,label\nb.png,dog\nsub/a.JPG,cat\n"))
    assert index.class_names == ["cat", "dog"]
    assert index.samples == [Sample(tmp_path / "b.png", 1), Sample(tmp_path / "sub" / "a.JPG", 0)]
    assert (index.root, index.ignored) == (tmp_path, {})


def test_split_and_group_columns_are_read_and_other_columns_ignored(tmp_path: Path) -> None:
    lines = [
        "Group, note,LABEL ,split,path",
        "p1,x,cat,Training_set,a.png",
        ",,dog,valid,b.png",
        " p2 ,,dog,,c.png",
        ",,cat,TEST,d.png",
    ]
    assert scan_csv(write_file(tmp_path, "\n".join(lines))).samples == [
        Sample(tmp_path / "a.png", 0, "train", "p1"),
        Sample(tmp_path / "b.png", 1, "val"),
        Sample(tmp_path / "c.png", 1, None, "p2"),
        Sample(tmp_path / "d.png", 0, "test"),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiter_bom_and_line_ends_are_detected(tmp_path: Path, delimiter: str, encoding: str, end: str) -> None:
    rows = [["path", "label"], ["chat à.png", "été"], ["b.png", "hiver"], [""]]
    path = write_file(tmp_path, end.join(delimiter.join(row) for row in rows), encoding=encoding)
    index = scan_csv(path)
    assert index.class_names == ["hiver", "été"]
    assert [sample.path.name for sample in index.samples] == ["b.png", "chat à.png"]


def test_quoted_cells_may_contain_delimiters_and_line_breaks(tmp_path: Path) -> None:
    index = scan_csv(write_file(tmp_path, 'path,label\n"a,\nb.png",cat\nb.png,"dog, big"\n'))
    assert index.class_names == ["cat", "dog, big"]
    assert [sample.path.name for sample in index.samples] == ["a,\nb.png", "b.png"]


def test_file_names_that_are_not_utf8_keep_their_bytes(tmp_path: Path) -> None:
    index = scan_csv(write_file(tmp_path, "path,label\ncafé.png,cat\nb.png,dog\n", encoding="latin-1"))
    assert [sample.path.name for sample in index.samples] == ["b.png", "caf\udce9.png"]


def test_paths_are_relative_to_the_folder_of_the_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    inside = tmp_path / "a.png"
    write_file(tmp_path, f"path,label\n{inside},cat\nsub/../b.png,dog\nsub\\c.png,dog\n")
    monkeypatch.chdir(tmp_path / "here")
    index = scan_csv(Path("..") / "photos.csv")
    assert [sample.path for sample in index.samples] == [
        Path("..") / "a.png",
        Path("..") / "b.png",
        Path("..") / "sub" / "c.png",
    ]


@pytest.mark.parametrize(
    "escape",
    [
        "../out.png",
        "sub/../../out.png",
        "..\\out.png",
        "\\\\server\\out.png",
        "~/../../out.png",
        "a\0.png",
    ],
    ids=ascii,
)
def test_path_outside_the_folder_of_the_csv_raises_data_error(tmp_path: Path, escape: str) -> None:
    path = write_file(tmp_path, f"path,label\na.png,cat\n{escape},dog\n")
    with pytest.raises(DataError, match=r"photos\.csv, line 3: .* is not below .*\. Move the CSV"):
        scan_csv(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "photos.csv, line 1: missing column path and label. Expected a header such as path,label,split"),
        ("a.png,cat\nb.png,dog\n", "line 1: missing column path and label"),
        ("path,class\na.png,cat\n", "line 1: missing column label"),
        ("path,label\n", "photos.csv lists no images. Expected at least two classes."),
        ("path,label\na.png,cat\nb.png,cat\n", "photos.csv lists only one class (cat). Expected at least two classes."),
        ("path,label\na.png,cat\n\nb.png, \n", "line 4: the label is empty. Expected a class name."),
        ("path,label,split\na.png,cat,holdout\n", "line 2: unknown split 'holdout'. Expected train, training, val,"),
        (
            "path,label\na.png,cat\nb.png,dog\n./a.png,dog\n",
            "line 4: './a.png' is already listed in line 2. List every image",
        ),
        ("path,label\na.txt,cat\n", "line 2: 'a.txt' is not an image. Expected the path of an image with"),
        ("path,label\n,cat\n", "line 2: '' is not an image"),
        ("path,label\na,b.png,cat\n", "line 2: 3 cells. Expected 2 as in the header, with quotes around cells"),
        ("path,label\na.png,Cat\nb.png,cat\n", "photos.csv has classes 'Cat' and 'cat', which differ only in case"),
        (
            "path,label\na.png,\u00e9t\u00e9\nb.png,e\u0301te\u0301\n",
            "lists only one class (\u00e9t\u00e9)",
        ),
        ('path,label\n"a.png,cat\nb.png,dog\n', "line 3: 1 cells. Expected 2"),
        (f"path,label\n{'a' * 200_000}.png,cat\n", "photos.csv as CSV: field larger than field limit"),
    ],
)
def test_invalid_csv_raises_data_error_with_line_number(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as raised:
        scan_csv(write_file(tmp_path, text))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_binary_or_missing_csv_raises_data_error(tmp_path: Path) -> None:
    for text, encoding in (("path,label\na.png,cat\n", "utf-16"), ("\x89PNG\r\n\x1a\n\0\0", "latin-1")):
        with pytest.raises(DataError, match=r"line 1: missing column path and label"):
            scan_csv(write_file(tmp_path, text, encoding=encoding))
    with pytest.raises(DataError, match=r"^Cannot read .*none\.csv as CSV: .*No such file"):
        scan_csv(tmp_path / "none.csv")


def test_root_is_the_folder_of_the_images_of_a_table(tmp_path: Path) -> None:
    images = tmp_path / "images" / "x"
    images.mkdir(parents=True)
    for name in ("0.png", "1.png"):
        (images / name).touch()
    source = write_file(tmp_path, "path,label\nx/0.png,cat\nx/1.png,dog\n")
    index = scan_source(DatasetConfig(root=str(tmp_path / "images"), source=str(source)))
    assert [(sample.path, sample.label) for sample in index.samples] == [(images / "0.png", 0), (images / "1.png", 1)]


@pytest.mark.parametrize("with_root", [True, False])
def test_absolute_path_is_used_as_it_is(tmp_path: Path, with_root: bool) -> None:
    images, tables = tmp_path / "images", tmp_path / "tables"
    images.mkdir(), tables.mkdir()
    for name in ("a.png", "b.png"):
        (images / name).touch()
    source = write_file(tables, f"path,label\n{images / 'a.png'},cat\n{images / 'b.png'},dog\n")
    index = scan_source(DatasetConfig(root=str(tables) if with_root else None, source=str(source)))
    assert [sample.path for sample in index.samples] == [images / "a.png", images / "b.png"]


def test_missing_images_are_an_error_that_names_one(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    source = write_file(tmp_path, "path,label\na.png,cat\nsub/b.png,dog\n")
    with pytest.raises(DataError, match=r"lists 1 of 2 images that do not exist, such as .*b\.png\. Correct"):
        scan_source(DatasetConfig(source=str(source)))
    assert len(scan_source(DatasetConfig(source=str(source), max_unreadable=0.5)).samples) == 2  # `prepare` skips it
    with pytest.raises(DataError, match="do not exist"):
        scan_source(DatasetConfig(source=str(source), max_unreadable=0.5, on_unreadable="error"))
