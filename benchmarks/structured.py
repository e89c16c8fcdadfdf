"""Structured output: 200 fixed cases, half of them pydantic classes, beside the raw path.

Ours is ``chat_model("coding").with_structured_output(schema)``. The raw side posts the same prompt
to the same server's ``/v1/responses`` with ``text.format`` and reads the text as JSON. An answer
counts as valid when the whole schema accepts it (the class, for a class). One that the token limit
cut off is never valid. ``--cases N`` takes N of them, ``--side`` one side alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import yaml
from langchain_core.messages import AIMessage
from rich.progress import track

from benchmarks.measure import p50, share, verdict
from benchmarks.structured_forms import FORMS
from rolecall import LocalLLMClient, load_stack
from rolecall.config.schema import Stack
from rolecall.errors import AnswerTruncated
from rolecall.models.embedded.runner import EmbeddedRunner, RunningServer
from rolecall.models.object_reading import read_answer
from rolecall.models.target import Schema, schema_of

_MODEL = "qwen2.5-coder-0.5b"
_DATA = Path(__file__).parent / "data" / "structured"
_MAX_TOKENS = 400
_AT_ONCE = 4


@dataclass(frozen=True)
class Case:
    """One text and what is wanted of it. ``expect`` names values that a good reader would give."""

    name: str
    schema: Schema
    prompt: str
    expect: dict[str, Any]


class Side:
    """What came of the cases on one side: one record each, kept in a file if one is given."""

    def __init__(self, name: str, file: Path | None) -> None:
        self.name = name
        self._file = file
        lines = file.read_text().splitlines() if file is not None and file.exists() else []
        records = [json.loads(line) for line in lines]
        self.records = {one["case"]: one for one in records if one["side"] == name}

    def took(self, case: Case, started: float, value: Any = None, **more: Any) -> None:
        """Record one case; without a ``value`` the answer is not valid."""
        valid = value is not None
        found = json.loads(value.model_dump_json()) if hasattr(value, "model_dump") else value
        right = [isinstance(found, dict) and found.get(k) == v for k, v in case.expect.items()]
        record = {
            "side": self.name,
            "case": case.name,
            "valid": valid,
            "right": sum(right) if valid else 0,
            "expected": len(right) if valid else 0,
            "seconds": round(time.perf_counter() - started, 2),
            **more,
        }
        self.records[case.name] = record
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(json.dumps(record) + "\n")

    def print(self) -> None:
        """The figures, then what went wrong."""
        done = list(self.records.values())
        seconds = [one["seconds"] for one in done if one["valid"]]
        print(
            f"{self.name:18} valid {share(sum(one['valid'] for one in done), len(done))}   "
            f"cut off {sum(one.get('cut', False) for one in done)}   "
            f"second try {sum('why' in one for one in done)}   p50 {p50(seconds or [0.0]):.1f} s"
        )
        right, expected = (sum(one[key] for one in done) for key in ("right", "expected"))
        print(f"{'':18} values that can be checked, right: {share(right, expected)}")
        for one in done:
            for key in ("why", "error"):
                if one.get(key):
                    print(f"{'':18} {one['case']}: {one[key]}")


def cases(count: int | None = None) -> list[Case]:
    """The 200 cases, mixed in a fixed order, so that the first ``count`` are a fair sample."""
    found: list[Case] = []
    for file in ("classes.yaml", "schemas.yaml"):
        for name, group in yaml.safe_load((_DATA / file).read_text()).items():
            schema: Schema = FORMS[name] if file == "classes.yaml" else group["schema"]
            for number, one in enumerate(group["cases"]):
                prompt = f"{group['task']}\n\n{one['say']}"
                found.append(Case(f"{name}/{number}", schema, prompt, one["expect"]))
    random.Random(0).shuffle(found)
    return found[:count]


def main() -> None:
    """Print both sides."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks structured")
    parser.add_argument("--cases", type=int)
    parser.add_argument("--side", choices=("raw", "ours", "both"), default="both")
    parser.add_argument("--file", type=Path, help="keeps what is done, and goes on from there")
    options = parser.parse_args()
    chosen = cases(options.cases)
    stack = load_stack("embedded")
    spec = stack.models["coding"][0]
    sampling = spec.sampling.model_copy(update={"max_tokens": _MAX_TOKENS})
    spec = spec.model_copy(update={"sampling": sampling, "max_concurrency": _AT_ONCE})
    stack = replace(stack, models={"coding": [spec]})
    length = spec.context_length or 8192
    server = EmbeddedRunner().ensure(_MODEL, context_length=length, parallel=_AT_ONCE)
    ours, raw = (Side(name, options.file) for name in ("Rolecall", "raw /v1/responses"))
    if options.side != "ours":
        asyncio.run(_raw(raw, server, _left(raw, chosen)))
        raw.print()
    if options.side != "raw":
        asyncio.run(_ours(ours, stack, _left(ours, chosen)))
        ours.print()
        valid = sum(one["valid"] for one in ours.records.values())
        print(f"valid: {verdict(valid / len(chosen), 1.0, at_most=False)}")


def _left(side: Side, chosen: list[Case]) -> list[Case]:
    return [case for case in chosen if case.name not in side.records]


async def _in_parallel(
    label: str, chosen: list[Case], one: Callable[[Case], Awaitable[None]]
) -> None:
    """Run ``one`` for each case, as many at once as the server has slots."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def placed(case: Case) -> None:
        async with places:
            await one(case)

    tasks = [asyncio.create_task(placed(case)) for case in chosen]
    shown = sys.stderr.isatty()
    for task in track(asyncio.as_completed(tasks), label, len(tasks), disable=not shown):
        await task


async def _ours(side: Side, stack: Stack, chosen: list[Case]) -> None:
    client = LocalLLMClient(stack)
    model = client.chat_model("coding")

    async def one(case: Case) -> None:
        asked = model.with_structured_output(case.schema, include_raw=True)
        started = time.perf_counter()
        answer = await asked.ainvoke(case.prompt)
        more: dict[str, Any] = {"text": answer["raw"].text}
        if why := answer["raw"].response_metadata["structured"].get("why"):
            more["why"] = why
        if error := answer["parsing_error"]:
            more |= {"error": str(error), "cut": isinstance(error, AnswerTruncated)}
        side.took(case, started, answer["parsed"], **more)

    try:
        await _in_parallel(side.name, chosen, one)
    finally:
        await client.aclose()


async def _raw(side: Side, server: RunningServer, chosen: list[Case]) -> None:
    headers = {"Authorization": f"Bearer {server.api_key}"}
    async with httpx.AsyncClient(base_url=server.base_url, headers=headers, timeout=600) as http:

        async def one(case: Case) -> None:
            wanted = schema_of(case.schema)
            form = {"type": "json_schema", "name": "answer", "strict": True, "schema": wanted}
            body = {
                "model": _MODEL,
                "input": case.prompt,
                "temperature": 0.0,
                "max_output_tokens": _MAX_TOKENS,
                "text": {"format": form},
            }
            started = time.perf_counter()
            reply = (await http.post("/v1/responses", json=body)).raise_for_status().json()
            parts = [part for item in reply["output"] for part in item.get("content") or []]
            text = "".join(part.get("text") or "" for part in parts)
            cut = reply["usage"]["output_tokens"] >= _MAX_TOKENS
            try:
                json.loads(text)  # what a caller of this path does
                value = read_answer(AIMessage(text), case.schema, wanted)
            except ValueError:
                value = None
            side.took(case, started, value, text=text, cut=cut)

        await _in_parallel(side.name, chosen, one)
