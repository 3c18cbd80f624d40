"""Whatever words the page for those who come from Keras names are words of ours."""

import re
import shlex
from pathlib import Path

import pytest

from cnn_classifier.config.compose import load_config

PAGE = (Path(__file__).parents[2] / "docs" / "from-keras.md").read_text(encoding="utf-8")
ROWS = [line.split(" | ")[1] for line in PAGE.splitlines() if line.startswith("| ")]
WORDS = [words for row in ROWS for words in re.findall(r"`([^`]+)`", row) if re.match(r"(-m )?[a-z_.]+=", words)]


@pytest.mark.parametrize("words", WORDS)
def test_every_word_for_a_keras_habit_is_in_the_configuration(words: str) -> None:
    overrides = [
        word.split(",")[0] if words.startswith("-m") else word for word in shlex.split(words.removeprefix("-m "))
    ]
    load_config(overrides, run_dir="here")


def test_there_are_words_for_most_habits() -> None:
    assert len(WORDS) >= 20
