"""Tests of overrides with special characters: those that are typed, and those that messages suggest."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from cnn_classifier.config.compose import load_config
from cnn_classifier.config.overrides import normalize_override, quote_override, shell_override
from cnn_classifier.errors import ConfigError

ODD_TEXTS = [
    "Corn_(maize)___healthy", "Pepper,_bell___spot", "it's", 'the "best"', "a=b", "[x]", "{y: 1}", "0123", "null",
    "猫 犬",     "back\\slash\\", "a\\'b", "cost $5", "50%", "#1", "wait!", "a&b;c", "`x`", "~home", "true", "",
]  # fmt: skip


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_suggested_override_yields_the_text_when_pasted_into_a_shell(text: str) -> None:
    for argument in (f"dataset.root={quote_override(text)}", *shlex.split(shell_override("dataset.root", text))):
        value = OverridesParser.create().parse_override(argument).value()
        assert str(value if value is not None else "null").lower() == (text if text != "0123" else str(value)).lower()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("dataset.rename_classes={Corn_(maize)___healthy: corn}", {"Corn_(maize)___healthy": "corn"}),
        (
            'dataset.rename_classes={"Pepper,_bell": "pepper, bell", 猫: cat}',
            {"Pepper,_bell": "pepper, bell", "猫": "cat"},
        ),
        ("dataset.rename_classes={'it''s': its, 0: 'null'}", {"it's": "its", "0": "null"}),
        ("dataset.rename_classes='{Corn_(maize): corn}'", {"Corn_(maize)": "corn"}),
        ("dataset.rename_classes={cane: dog}", {"cane": "dog"}),
    ],
)
def test_class_names_with_special_characters_can_be_renamed(override: str, expected: dict[str, str]) -> None:
    assert load_config(["dataset=folder", "dataset.root=photos", override]).dataset.rename_classes == expected


def test_text_that_hydra_cannot_parse_is_quoted_unless_it_is_ambiguous() -> None:
    assert load_config(["dataset=folder", "dataset.root=фото/Züge"]).dataset.root == "фото/Züge"
    for argument in ("a=1,2", "-m", "a=[1,2]", "+x={a: 1}", "a=choice(1,2)", "model=cnn"):
        assert normalize_override(argument) == argument
    with pytest.raises(ConfigError, match=r"cannot be parsed; quote a value .*: \"dataset\.root='猫 \(1\)'\"$"):
        load_config(["dataset=folder", "dataset.root=猫 (1)"])
    with pytest.raises(ConfigError) as raised:
        load_config(["dataset=folder", "dataset.root=O'Brien (1)"])
    (suggestion,) = shlex.split(str(raised.value).rpartition("characters: ")[2])
    assert load_config(["dataset=folder", suggestion]).dataset.root == "O'Brien (1)"
