"""What a thread of 1,000 turns costs: its home's size, a turn's time, memory, resume, search.

``python -m benchmarks thread_cost [--turns 1000] [--stock-turns 500] [--search-turns 100000]``
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import statistics
import time
import uuid
import warnings
from pathlib import Path
from typing import Annotated, Any, TypedDict

import psutil
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

from benchmarks.measure import temporary_home
from rolecall import Assistant, bridge, load_stack
from rolecall.database import DatabaseFile
from rolecall.errors import RolecallError
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.threads.checkpoints import make_saver, thread_config
from rolecall.threads.schema import migrations
from rolecall.threads.transcript import Transcript

_QUESTION_CHARS, _ANSWER_CHARS = 600, 1200
_SYLLABLES = [consonant + vowel for consonant in "bdklmnprst" for vowel in "aeiou"]


def main() -> None:
    """Print every figure beside its target."""
    parser = argparse.ArgumentParser(prog="benchmarks thread_cost")
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--stock-turns", type=int, default=500)
    parser.add_argument("--search-turns", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    words = Words(asked.seed)
    with temporary_home() as home, ScriptedRunner(models=["tiny"]) as runner:
        _own(Path(home), runner, words, asked.turns)
    if asked.stock_turns:
        with temporary_home() as home:
            asyncio.run(_stock(Path(home), words, asked.stock_turns))
    if asked.search_turns:
        with temporary_home() as home:
            asyncio.run(_search(Path(home), words, asked.search_turns))


class Words:
    """Random words as languages have them: few are frequent, most are rare."""

    def __init__(self, seed: int, size: int = 8000) -> None:
        self._random = random.Random(seed)
        made: dict[str, None] = {}
        while len(made) < size:
            count = self._random.choice((1, 2, 2, 3, 3, 4))
            made["".join(self._random.choices(_SYLLABLES, k=count))] = None
        self.known = list(made)
        self._weights = [1.0 / (rank + 3) for rank in range(size)]

    def text(self, chars: int) -> str:
        """So many characters."""
        return " ".join(self._random.choices(self.known, self._weights, k=chars // 3))[:chars]


def _own(home: Path, runner: ScriptedRunner, words: Words, turns: int) -> None:
    stack_file = home / "bench.yaml"
    spec = f"{{id: tiny, endpoint: '{runner.endpoint}'}}"
    stack_file.write_text(f"models: {{router: {spec}, reasoning: {spec}, coding: {spec}}}\n")
    process = psutil.Process()
    times: list[float] = []
    resident = 0
    assistant = Assistant.open(load_stack(stack_file, {"memory.summary": "extractive"}))
    for number in range(turns):
        answer = words.text(_ANSWER_CHARS)
        pieces = [answer[at : at + 100] for at in range(0, len(answer), 100)]
        runner.default = ScriptedReply(answer, pieces=pieces)
        question = words.text(_QUESTION_CHARS)
        started = time.perf_counter()
        assistant.ask(question, thread="t", role="reasoning")
        times.append((time.perf_counter() - started) * 1000.0)
        runner.requests.clear()  # the fake server's own memory is not what is measured
        if number == min(100, turns // 2):
            gc.collect()
            resident = process.memory_info().rss
    gc.collect()
    growth = (process.memory_info().rss - resident) / 1e6
    early = statistics.median(times[10:110])
    late = statistics.median(times[-100:])
    assistant.flush()
    shown = _timed(lambda: bridge.run(assistant.transcript.turns("t", 20)))
    searched = _timed(lambda: bridge.run(assistant.transcript.search(words.known[50])))
    assistant.close()
    print(f"--- a thread of {turns} turns, {_QUESTION_CHARS} + {_ANSWER_CHARS} characters each ---")
    _line("home, MB", _size(home), 25)
    for path in sorted(home.glob("*.db")):
        print(f"    {path.name:34} {path.stat().st_size / 1e6:8.1f}")
    _line(f"ms/turn, last 100 / turns 10-110 ({late:.1f} / {early:.1f})", late / early, 1.2)
    _line("resident growth after turn 100, MB", growth, 20)
    _line("last 20 turns shown, ms", shown, 50)
    _line(f"search over {turns} turns, ms", searched, 100)
    _resume(stack_file, runner, home)


def _resume(stack_file: Path, runner: ScriptedRunner, home: Path) -> None:
    """From an accepted, unfinished turn to its state: what comes before its next step runs."""
    with Assistant.open(load_stack(stack_file)) as assistant:
        runner.default = ScriptedReply(fault=500)
        try:
            assistant.ask("Unfinished", thread="t", role="reasoning")
        except RolecallError:
            pass
        else:
            raise SystemExit("the turn should have failed")
    opened: list[float] = []
    states: list[float] = []
    for _ in range(9):
        started = time.perf_counter()
        file = DatabaseFile(home / "threads.db", migrations)
        saver, transcript = make_saver(file), Transcript(file)

        async def read(saver: Any = saver, transcript: Any = transcript) -> None:
            assert await transcript.unfinished("t") is not None
            assert await saver.aget_tuple(thread_config("t")) is not None

        bridge.run(read())
        opened.append((time.perf_counter() - started) * 1000.0)
        states.append(_timed(lambda: bridge.run(read())))
        file.close()
    _line("resume: open file, turn, state, ms", statistics.median(opened), 20)
    print(f"    with the file open already {statistics.median(states):15.1f}")


class _State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


async def _stock(home: Path, words: Words, turns: int) -> None:
    """LangGraph's own saver as it comes: four nodes, the whole list of messages."""

    async def answer(state: _State) -> dict[str, Any]:
        return {"messages": [AIMessage(words.text(_ANSWER_CHARS))]}

    async def nothing(state: _State) -> dict[str, Any]:
        return {}

    builder = StateGraph(_State)
    names = ["init", "router", "specialist", "synthesis"]
    for name in names:
        builder.add_node(name, answer if name == "specialist" else nothing)
    for before, after in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(before, after)
    times: list[float] = []
    async with AsyncSqliteSaver.from_conn_string(str(home / "stock.db")) as saver:
        graph = builder.compile(checkpointer=saver)
        for _ in range(turns):
            message = HumanMessage(words.text(_QUESTION_CHARS))
            started = time.perf_counter()
            await graph.ainvoke({"messages": [message]}, thread_config("t"))
            times.append((time.perf_counter() - started) * 1000.0)
    early, late = statistics.median(times[10:110]), statistics.median(times[-100:])
    print(f"--- AsyncSqliteSaver, a bare graph, {turns} turns ---")
    print(f"home, MB {_size(home):39.1f}")
    print(f"ms/turn, last 100 / turns 10-110 ({late:.1f} / {early:.1f}) {late / early:8.2f}")


async def _search(home: Path, words: Words, turns: int) -> None:
    file = DatabaseFile(home / "threads.db", migrations)
    columns = (
        "turn_id, thread_id, number, trace_id, question, answer, status, created_at, finished_at"
    )

    def fill(db: Any) -> None:
        for number in range(turns):
            db.execute(
                f"INSERT INTO turns ({columns}) VALUES (?, ?, ?, ?, ?, ?, 'done', ?, ?)",
                [
                    uuid.uuid4().hex,
                    f"t{number % 100}",
                    number // 100 + 1,
                    uuid.uuid4().hex,
                    words.text(120),
                    words.text(240),
                    float(number),
                    float(number),
                ],
            )

    await file.commit(fill)
    transcript = Transcript(file)
    print(f"--- search over {turns:,} turns of 120 + 240 characters ---")
    for kind, query in (
        ("a frequent word", words.known[5]),
        ("a rare word", words.known[-1]),
        ("two words", f"{words.known[20]} {words.known[90]}"),
    ):
        times = []
        for _ in range(5):
            started = time.perf_counter()
            await transcript.search(query)
            times.append((time.perf_counter() - started) * 1000.0)
        _line(f"{kind}, ms", statistics.median(times), 100)
    file.close()


def _timed(work: Any) -> float:
    times: list[float] = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000.0)
    return statistics.median(times)


def _size(home: Path) -> float:
    return sum(path.stat().st_size for path in home.rglob("*") if path.is_file()) / 1e6


def _line(what: str, value: float, target: float) -> None:
    verdict = "ok" if value <= target else "missed"
    print(f"{what:58} {value:8.2f}  target {target:g}  {verdict}")


if __name__ == "__main__":
    main()
