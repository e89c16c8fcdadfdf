"""What a command does while the model writes a thread's summary."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from rolecall.cli import turns
from rolecall.cli.signals import Terminated


class Summarising:
    """An assistant that is still at it; ``ends`` is what happens while one waits."""

    class stack:  # noqa: N801 - an attribute
        class settings:  # noqa: N801
            class memory:  # noqa: N801
                summary_deadline_s = 10.0

    def __init__(self, ends: BaseException | None = None) -> None:
        self.waits: list[float] = []
        self._ends = ends

    def settle(self, timeout_s: float) -> bool:
        self.waits.append(timeout_s)
        if len(self.waits) > 1 and self._ends is not None:
            raise self._ends
        return len(self.waits) > 1


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(turns, "err", Console(stderr=True, force_terminal=True))


def test_on_a_terminal_it_waits_and_says_so(terminal: None, capsys: Any) -> None:
    at_work: Any = Summarising()
    turns.take_notes(at_work)
    assert at_work.waits[1:] == [11.0]
    assert "Ctrl-C skips" in capsys.readouterr().err


def test_ctrl_c_skips_the_summary_and_ends_nothing_else(terminal: None) -> None:
    turns.take_notes(Summarising(KeyboardInterrupt()))  # type: ignore[arg-type]
    with pytest.raises(Terminated):
        turns.take_notes(Summarising(Terminated()))  # type: ignore[arg-type]


def test_a_script_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "err", Console(stderr=True, force_terminal=False))
    at_work: Any = Summarising()
    turns.take_notes(at_work)
    assert at_work.waits == []
