"""Progress of long work on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

_LINE_EVERY_S = 10.0


class RichProgress:
    """Implements :class:`rolecall.progress.Progress`. Standard output stays untouched."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._lock = threading.Lock()
        self._bars: Progress | None = None
        self._open = 0

    @contextmanager
    def step(
        self, label: str, total: int | None = None, done: int = 0, unit: str = "bytes"
    ) -> Iterator[Callable[[int], None]]:
        """Open a line for one step; see :meth:`rolecall.progress.Progress.step`."""
        if not self._console.is_terminal:
            with self._lines(label, total, done, unit) as advance:
                yield advance
            return
        bars = self._enter()
        task = bars.add_task(label, total=total, completed=done, unit=unit)
        try:
            yield lambda amount: bars.advance(task, amount)
        finally:
            self._leave(bars, task)

    def _enter(self) -> Progress:
        with self._lock:
            if self._bars is None:
                self._bars = _bars(self._console)
                self._bars.start()
            self._open += 1
            return self._bars

    def _leave(self, bars: Progress, task: TaskID) -> None:
        with self._lock:
            bars.remove_task(task)
            self._open -= 1
            if self._open == 0:
                bars.stop()
                self._bars = None

    @contextmanager
    def _lines(
        self, label: str, total: int | None, done: int, unit: str
    ) -> Iterator[Callable[[int], None]]:
        began = said = time.monotonic()
        self._say(f"{label} ...")
        reached = done

        def advance(amount: int) -> None:
            nonlocal reached, said
            reached += amount
            now = time.monotonic()
            if now - said >= _LINE_EVERY_S:
                said = now
                speed = (reached - done) / max(now - began, 0.001)
                self._say(f"{label}: {_amount(reached, total, unit)}, {_speed(speed, unit)}")

        yield advance
        if total is not None:
            self._say(f"{label}: done in {time.monotonic() - began:.1f} s")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _amount(reached: int, total: int | None, unit: str) -> str:
    if unit == "bytes":
        whole = f" of {total / 1e6:,.0f}" if total else ""
        return f"{reached / 1e6:,.0f}{whole} MB"
    return f"{reached:,}{f' of {total:,}' if total else ''} {unit}"


def _speed(per_second: float, unit: str) -> str:
    return f"{per_second / 1e6:.1f} MB/s" if unit == "bytes" else f"{per_second:.1f} {unit}/s"


class _When(ProgressColumn):
    """Shows a column only for the tasks that it makes sense for."""

    def __init__(self, column: ProgressColumn, test: Callable[[Task], bool]) -> None:
        super().__init__()
        self._column = column
        self._test = test

    def render(self, task: Task) -> Text:
        shown = self._column(task) if self._test(task) else ""
        return shown if isinstance(shown, Text) else Text(str(shown))


def _bars(console: Console) -> Progress:
    def counted(task: Task) -> bool:
        return task.total is not None

    def in_bytes(task: Task) -> bool:
        return counted(task) and task.fields["unit"] == "bytes"

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        _When(DownloadColumn(), in_bytes),
        _When(TransferSpeedColumn(), in_bytes),
        _When(MofNCompleteColumn(), lambda task: counted(task) and not in_bytes(task)),
        _When(TimeRemainingColumn(compact=True), counted),
        _When(TimeElapsedColumn(), lambda task: not counted(task)),
        console=console,
        transient=True,
    )
