"""What every test of faults gets."""

from __future__ import annotations

import pytest

from synchro import retries


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Retries without waiting; the seconds that each would have waited."""
    found: list[float] = []
    monkeypatch.setattr(retries, "pause", found.append)
    return found
