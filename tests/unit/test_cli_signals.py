"""The first signal stops a turn, the second ends the process; at other times it interrupts."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from rolecall.cli import signals


class Turn:
    """An assistant with, or without, a turn that can be stopped."""

    def __init__(self, running: bool) -> None:
        self.running = running
        self.stopping: list[str] = []
        self.stops = 0

    def stop(self) -> bool:
        self.stops += 1
        if self.running:
            self.stopping = ["t-1"]
        return self.running


@pytest.fixture(autouse=True)
def no_exit(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(signals, "_ends", False)
    return codes


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_a_signal_stops_the_turn_that_runs(no_exit: list[int]) -> None:
    turn: Any = Turn(running=True)
    before = signal.getsignal(signal.SIGINT)
    with signals.stopping(turn):
        send(signal.SIGINT)
    assert (turn.stops, no_exit, signals.terminated()) == (1, [], False)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_one_ends_the_process_and_says_how_to_go_on(
    no_exit: list[int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signals, "_ONE_KEY_S", 0.0)
    monkeypatch.setattr("sys.argv", ["rolecall", "ask", "--json"])
    turn: Any = Turn(running=True)
    with signals.stopping(turn):
        send(signal.SIGINT)
        send(signal.SIGINT)
    assert no_exit == [130]
    said = capfd.readouterr()
    assert "rolecall resume t-1" in said.err
    told = json.loads(said.out)
    assert (told["thread_id"], told["exit_code"]) == ("t-1", 130)
    assert "rolecall resume t-1" in told["error"]


def test_one_key_that_arrives_twice_counts_once(no_exit: list[int]) -> None:
    turn: Any = Turn(running=True)
    with signals.stopping(turn):
        send(signal.SIGINT)
        send(signal.SIGINT)
    assert (turn.stops, no_exit) == (1, [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_is_remembered_while_the_turn_is_stopped(number: int) -> None:
    turn: Any = Turn(running=True)
    with signals.stopping(turn):
        send(number)
    assert turn.stops == 1
    assert signals.terminated()


def test_what_the_process_was_started_to_ignore_stays_ignored() -> None:
    turn: Any = Turn(running=True)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with signals.stopping(turn):
            send(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert turn.stops == 0


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, signals.Terminated)]
)
def test_where_no_turn_runs_the_command_is_interrupted(
    number: int, kind: type[KeyboardInterrupt]
) -> None:
    with pytest.raises(kind), signals.stopping(Turn(running=False)):  # type: ignore[arg-type]
        send(number)
    assert signals.terminated() is (number == signal.SIGTERM)
