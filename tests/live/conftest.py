"""A home with the real weights: ``ROLECALL_LIVE_HOME``, else ``.live`` in the checkout.

Never the user's own: these tests write threads and stop servers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def weights_home() -> Iterator[Path]:
    """One home for the whole run; its servers are stopped at the end."""
    chosen = os.environ.get("ROLECALL_LIVE_HOME")
    home = Path(chosen) if chosen else Path(__file__).parents[2] / ".live"
    before = os.environ.get("ROLECALL_HOME")
    os.environ["ROLECALL_HOME"] = str(home)
    from rolecall.models.embedded.runner import EmbeddedRunner

    yield home
    os.environ["ROLECALL_HOME"] = str(home)
    EmbeddedRunner().stop()
    if before is None:
        del os.environ["ROLECALL_HOME"]
    else:
        os.environ["ROLECALL_HOME"] = before


@pytest.fixture
def live_home(weights_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home with the real weights, in force for one test."""
    monkeypatch.setenv("ROLECALL_HOME", str(weights_home))
    return weights_home
