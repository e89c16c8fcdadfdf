"""Several processes on one home: throughput, what is lost, and what a thread's lock costs.

Eight conversations are held at once by one process, by two and by four; then several processes ask
on one thread.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sqlite3
import tempfile
import time
from collections import Counter
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks.measure import p50, p95, temporary_home, verdict
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.threads.lock import thread_lock

_CONVERSATIONS = 8
_PROCESSES = (1, 2, 4)
_PRELOAD = ["rolecall.assistant", "rolecall.models.role_model", "langchain_openai"]

_Times = tuple[float, float]


def main() -> None:
    """Print turns per second, what was lost, and the lock's times."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--turns", type=int, default=40, help="turns of each conversation")
    options.add_argument("--crowd", type=int, default=4, help="processes on one thread")
    chosen = options.parse_args()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    rates = {}
    for processes in _PROCESSES:
        share = _CONVERSATIONS // processes
        names = [[f"p{p}-c{c}" for c in range(share)] for p in range(processes)]
        rates[processes] = _run(context, names, chosen.turns)
    for processes, rate in rates.items():
        print(
            f"{_CONVERSATIONS} conversations, {processes} process{'es' * (processes > 1)}: "
            f"{rate:6.1f} turns/s = {rate / rates[1]:.2f} × one"
        )
    most = max(_PROCESSES)
    print(f"{most} processes / one: {verdict(rates[most] / rates[1], 1.0, at_most=False)}")
    rate = _run(context, [["t"]] * chosen.crowd, 10)
    print(f"{chosen.crowd} processes on one thread: {rate:6.1f} turns/s, none lost or doubled")
    asyncio.run(_lock_times())


def _run(
    context: multiprocessing.context.ForkServerContext, names: list[list[str]], n: int
) -> float:
    """Turns per second of one process for each list of threads; all turns are checked."""
    with temporary_home() as home, ScriptedRunner(models=["tiny"]) as runner:
        runner.default = ScriptedReply("Merge sort is stable.")
        stack = Path(home) / "bench.yaml"
        spec = f"{{id: tiny, endpoint: '{runner.endpoint}', max_concurrency: 64}}"
        stack.write_text(
            f"models: {{router: {spec}, reasoning: {spec}, coding: {spec}}}\n"
            "settings: {turn: {wait_for_thread_s: 600}}\n"
        )
        together = context.Barrier(len(names))
        told: Queue[_Times] = context.Queue()
        running = [
            context.Process(target=_ask, args=(home, str(stack), mine, n, together, told, number))
            for number, mine in enumerate(names)
        ]
        for process in running:
            process.start()
        times = [told.get(timeout=600) for _ in running]
        for process in running:
            process.join()
        assert [process.exitcode for process in running] == [0] * len(running)
        asked = Counter(thread for mine in names for thread in mine)
        _check(Path(home) / "threads.db", {thread: n * k for thread, k in asked.items()})
    seconds = max(end for _, end in times) - min(start for start, _ in times)
    return n * sum(asked.values()) / seconds


def _ask(
    home: str,
    stack: str,
    threads: list[str],
    turns: int,
    together: Barrier,
    told: Queue[_Times],
    number: int,
) -> None:
    import os

    os.environ["ROLECALL_HOME"] = home
    from rolecall.assistant import Assistant

    async def converse(assistant: Assistant, thread: str) -> None:
        for turn in range(turns):
            await assistant.aask(f"{number}-{turn}", thread=thread, role="reasoning")

    async def all_of_them(assistant: Assistant) -> None:
        await asyncio.gather(*(converse(assistant, thread) for thread in threads))

    with Assistant.open(stack) as assistant:
        assistant.ask("warm up", thread=f"warm-{number}", role="reasoning")
        together.wait(300)
        started = time.monotonic()  # the same clock in all processes
        asyncio.run(all_of_them(assistant))
        told.put((started, time.monotonic()))


def _check(database: Path, expected: dict[str, int]) -> None:
    connection = sqlite3.connect(database)
    for thread, count in expected.items():
        rows = connection.execute(
            "SELECT number, status FROM turns WHERE thread_id = ? ORDER BY number", [thread]
        ).fetchall()
        assert rows == [(number, "done") for number in range(1, count + 1)], thread
        asked = connection.execute(
            "SELECT count(DISTINCT question) FROM turns WHERE thread_id = ?", [thread]
        ).fetchone()
        assert asked == (count,), thread
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def _lock_times(rounds: int = 1000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        alone, handed_over = [], []
        for number in range(rounds):
            started = time.perf_counter()
            async with thread_lock(Path(folder), f"t{number % 50}", 10.0):
                pass
            alone.append((time.perf_counter() - started) * 1000.0)
        context = multiprocessing.get_context("forkserver")
        told: Queue[float] = context.Queue()
        for _ in range(20):
            other = context.Process(target=_wait_for_it, args=(folder, told))
            async with thread_lock(Path(folder), "t", 10.0):
                other.start()
                await asyncio.to_thread(told.get)
                await asyncio.sleep(0.3)
                released = time.monotonic()
            handed_over.append((await asyncio.to_thread(told.get) - released) * 1000.0)
            other.join()
    print(
        f"lock, nobody waits: {p50(alone):.3f} ms, p95 {p95(alone):.3f} ms "
        f"{verdict(p50(alone), 0.15)}"
    )
    print(
        f"lock, from one process to the next: {p50(handed_over):.1f} ms, "
        f"p95 {p95(handed_over):.1f} ms {verdict(p50(handed_over), 10.0)}"
    )


def _wait_for_it(folder: str, told: Queue[float]) -> None:
    async def wait() -> None:
        told.put(0.0)
        async with thread_lock(Path(folder), "t", 60.0):
            told.put(time.monotonic())

    asyncio.run(wait())
