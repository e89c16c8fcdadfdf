"""The models and tools of ``kills``: what they are asked and do is written down."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

_JOB = re.compile(r"job [ab]\d+n\d+")
ROUNDS = (("pay", "order", "look"), ("order", "look"))
KEYS = ("router", *(f"reasoning/{n}" for n in range(len(ROUNDS) + 1)))

TOOLS = '''
import asyncio, os, time
from pathlib import Path
from rolecall.tools import safe_to_repeat

def _did(what):
    path = Path(os.environ["ROLECALL_HOME"]) / "effects"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{what}\\n".encode())
    os.close(descriptor)

def pay(job: str, part: int) -> str:
    """Pay.

    Args:
        job: for what.
        part: which part of it.
    """
    time.sleep(0.004)
    _did(f"pay {job} {part}")
    time.sleep(0.004)
    return f"paid {job} {part}"

async def order(job: str, part: int) -> str:
    """Order.

    Args:
        job: for what.
        part: which part of it.
    """
    await asyncio.sleep(0.004)
    _did(f"order {job} {part}")
    await asyncio.sleep(0.004)
    return f"ordered {job} {part}"

@safe_to_repeat
async def look(job: str, part: int) -> str:
    """Look.

    Args:
        job: at what.
        part: which part of it.
    """
    await asyncio.sleep(0.004)
    _did(f"look {job} {part}")
    return f"saw {job} {part}"
'''


class Models:
    """The scripted models.

    Attributes:
        asked: what they were asked: ``(job, key in the journal)``.
        forgotten: jobs whose model was not sent all earlier ones of the thread.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.forgotten: list[str] = []
        self._lock = threading.Lock()

    def __call__(self, request: Any) -> Any:
        from rolecall.models.scripted import ScriptedReply

        found = _JOB.search(request.text)
        job = found[0] if found else ""
        routes = (request.top_logprobs or 0) > 1
        last = max((n for n, m in enumerate(request.messages) if m["role"] == "user"), default=0)
        after = request.messages[last:]
        rounds = sum(1 for message in after if message.get("tool_calls"))
        if job:
            with self._lock:
                self.asked.append((job, "router" if routes else f"reasoning/{rounds}"))
        if not routes:
            said = " ".join(str(m.get("content")) for m in request.messages if m["role"] == "user")
            thread, _, number = job.rpartition("n")
            if _JOB.findall(said) != [f"{thread}n{n + 1}" for n in range(int(number))]:
                self.forgotten.append(f"{job} was asked after: {said}")
        if routes:
            # for an empty message, by which a leaning is measured, all are alike
            scores = {"A": -4.0, "B": -0.05, "C": -4.0} if job else dict.fromkeys("ABC", -1.1)
            return ScriptedReply("B", logprobs=scores)
        if rounds < len(ROUNDS):
            calls = [
                {"name": name, "args": {"job": job, "part": 10 * rounds + part}}
                for part, name in enumerate(ROUNDS[rounds])
            ]
            return ScriptedReply(tool_calls=calls, usage=_usage(request))
        return ScriptedReply(f"{job} is all done", chunk_delay_s=0.002, usage=_usage(request))


def _usage(request: Any) -> tuple[int, int]:
    """Tokens, the tools' descriptions included: a server that reads less is taken to have cut."""
    return len(json.dumps(request.body)) // 4, 16


def stack_of(endpoint: str, tools: Path) -> dict[str, Any]:
    spec = {"id": "tiny", "endpoint": endpoint, "tools": ["pay", "order", "look"]}
    return {
        "models": dict.fromkeys(("router", "reasoning", "coding"), spec),
        "settings": {
            "routing": {"strategy": "llm"},
            "tools_folder": str(tools),
            "turn": {"wait_for_thread_s": 10},
        },
    }
