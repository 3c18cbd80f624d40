"""Tables of aligned text."""

import pytest

from cnn_classifier.report.text_table import format_table


def test_columns_are_as_wide_as_their_longest_cell_without_trailing_whitespace() -> None:
    assert format_table([("", "images"), ("dogs", "7"), ("ants and bees", "")]) == (
        "               images\ndogs           7\nants and bees"
    )


def test_right_aligned_columns_end_together() -> None:
    assert format_table([("class", "f1"), ("cats", "0.5")], right_align=(1,)) == "class   f1\ncats   0.5"


def test_table_without_rows_is_empty() -> None:
    assert format_table([]) == ""


def test_rows_of_different_lengths_raise_value_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        format_table([("a", "b"), ("c",)])
