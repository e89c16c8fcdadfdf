"""Kill -9 at random moments of turns with tools: what is lost, paid twice or done twice.

Two conversations run in one process, each turn with a routing call, three model calls and five
tool calls: two unrepeatable ones and a repeatable one at once, then one of each. The process is
killed, its databases are checked, the next one goes on: what waits for the user is skipped, so that
nothing unrepeatable may happen twice. Processes are forked from one that has imported everything.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path

from benchmarks.kill_models import KEYS, TOOLS, Models, stack_of
from benchmarks.kill_victim import live, query, turns_of

_LONGEST_LIFE = 16  # model calls: two turns of each conversation
_AT_MOST_S = 30.0
_WHILE_OPENING = 0.1  # the share of processes that are killed while they may still be opening

_PRELOADED = (  # also what is imported late: lives are short
    "rolecall.assistant",
    "rolecall.models.role_model",
    "rolecall.models.wire.openai_api",
    "rolecall.tools.registry",
    "langchain_core.tools",
    "langchain_openai",
    "openai.resources.chat.completions",
    "openai.types.chat",
    "anyio._backends._asyncio",
    "httpcore",
    "h11",
)


@dataclass
class Counts:
    """What came of all the kills."""

    seed: int
    kills: int = 0
    turns: int = 0
    interrupted: int = 0
    questions: int = 0
    from_journal: int = 0
    model_calls: int = 0
    effects: int = 0
    unfinished: int = 0
    calls_repeated: list[str] = field(default_factory=list)
    effects_repeated: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, paid twice, done twice or damaged."""
        broken = (self.calls_repeated, self.effects_repeated, self.forgotten, self.damaged)
        return self.unfinished == 0 and not any(broken)


def main() -> None:
    """Kill as often as asked, print the counts; exit 1 if anything was lost or repeated."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks kills")
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    counts = kill_often(given.times, seed)
    rows = {
        "kill -9": counts.kills,
        "turns accepted": counts.turns,
        "killed in the middle of a turn": counts.interrupted,
        "accepted turns not finished": counts.unfinished,
        "model calls": counts.model_calls,
        "answers taken from the journal": counts.from_journal,
        "journaled model calls repeated": len(counts.calls_repeated),
        "effects of tools": counts.effects,
        "half-done calls asked about": counts.questions,
        "unrepeatable effects repeated": len(counts.effects_repeated),
        "conversations with gaps": len(counts.forgotten),
        "databases that fail integrity_check": len(counts.damaged),
        "seconds": round(counts.seconds, 1),
    }
    for name, value in rows.items():
        print(f"{name:40} {value:>8}")
    for broken in (
        counts.calls_repeated,
        counts.effects_repeated,
        counts.forgotten,
        counts.damaged,
    ):
        for what in broken[:20]:
            print(f"  {what}")
    print("ok" if counts.clean else f"MISSED (again with --seed {seed})")
    if not counts.clean:
        sys.exit(1)


def kill_often(times: int, seed: int) -> Counts:
    """Run turns in processes that are killed ``times`` times; the last one may finish."""
    from rolecall.models.scripted import ScriptedRunner

    started = time.monotonic()
    before = os.environ.get("ROLECALL_HOME")
    with tempfile.TemporaryDirectory() as folder, ScriptedRunner(models=["tiny"]) as runner:
        home, stack = Path(folder) / "home", Path(folder) / "stack.yaml"
        (Path(folder) / "tools").mkdir()
        (Path(folder) / "tools" / "mine.py").write_text(TOOLS)
        stack.write_text(json.dumps(stack_of(runner.endpoint, Path(folder) / "tools")))
        runner.default = models = Models()
        os.environ["ROLECALL_HOME"] = str(home)
        try:
            counts = _kill_and_check(times, seed, home, str(stack), models)
        finally:
            if before is None:
                del os.environ["ROLECALL_HOME"]
            else:
                os.environ["ROLECALL_HOME"] = before
    counts.seconds = time.monotonic() - started
    return counts


def _kill_and_check(times: int, seed: int, home: Path, stack: str, models: Models) -> Counts:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(list(_PRELOADED))
    counts, chance = Counts(seed), random.Random(seed)
    paid: set[tuple[str, str]] = set()
    seen = 0
    for life in range(times + 1):
        last = life == times
        ready = processes.Event()
        process = processes.Process(target=live, args=(stack, ready, last), daemon=True)
        process.start()
        if last:
            process.join(120)
        else:
            _let_live(ready, models, chance)
            process.kill()
            process.join()
            counts.kills += 1
        asked, seen = models.asked[seen:], len(models.asked)
        counts.calls_repeated += [f"{job} {key}" for job, key in asked if (job, key) in paid]
        counts.model_calls += len(asked)
        for path in sorted(home.glob("*.db")):
            if problem := _problem(path):
                counts.damaged.append(f"after life {life}: {path.name}: {problem}")
        paid = _paid(home)
        counts.interrupted += 0 if last else len(turns_of(home, "status != 'done'"))
    counts.turns = len(turns_of(home, "1"))
    counts.unfinished = len(turns_of(home, "status != 'done'"))
    counts.forgotten = models.forgotten
    notes = Counter(_lines(home / "notes"))
    counts.from_journal, counts.questions = notes["journaled"], notes["asked"]
    effects = Counter(_lines(home / "effects"))
    counts.effects = sum(effects.values())
    counts.effects_repeated = [
        f"{what}: {times}" for what, times in effects.items() if times > 1 and "look" not in what
    ]
    return counts


def _let_live(ready: Event, models: Models, chance: random.Random) -> None:
    """Return at a random moment: so many model calls, and a part of the time between two.

    Counted in calls, lives are as long on a slow machine as on a quick one.
    """
    if chance.random() < _WHILE_OPENING:
        time.sleep(chance.uniform(0.0, 0.3))
        return
    if not ready.wait(2 * _AT_MOST_S):
        raise RuntimeError("the process does not open its threads")
    begun, before = time.monotonic(), len(models.asked)
    calls, part = chance.randint(0, _LONGEST_LIFE), chance.uniform(0.0, 2.0)
    while len(models.asked) - before < calls and time.monotonic() - begun < _AT_MOST_S:
        time.sleep(0.001)
    time.sleep(part * (time.monotonic() - begun) / max(calls, 10))


def _problem(path: Path) -> str | None:
    try:
        found = query(path, "PRAGMA integrity_check(3)")
    except sqlite3.Error as error:
        return str(error)
    return None if found == [("ok",)] else str(found)


def _paid(home: Path) -> set[tuple[str, str]]:
    """Model calls that must not be made again: journaled, or of turns that are done."""
    done = turns_of(home, "status = 'done'")
    paid = {(f"job {thread}n{number}", key) for thread, number, _ in done for key in KEYS}
    if turns_of(home, "1"):
        sql = (
            "SELECT t.thread_id, t.number, j.key FROM journal j "
            "JOIN turns t ON t.turn_id = j.turn_id WHERE j.kind = 'answer'"
        )
        for thread, number, key in query(home / "threads.db", sql):
            if key not in KEYS:  # else a repeated call would not be seen
                raise RuntimeError(f"the journal has an unknown key: {key}")
            paid.add((f"job {thread}n{number}", str(key)))
    return paid


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
