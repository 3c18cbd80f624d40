"""Downloads are allowed: the servers of these tests are local."""

import pytest


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow downloads."""
    monkeypatch.delenv("CNN_CLASSIFIER_OFFLINE")
