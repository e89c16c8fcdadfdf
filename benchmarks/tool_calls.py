"""Tool calls of a small model: how many arrive, and how many are made where no tool fits.

200 requests that one of two to five offered tools fits, and 100 that none fits (greetings,
questions of knowledge, writing, things near a tool but not it), on the embedded Qwen2.5-Coder-0.5B.
Each is put to the server plainly, where its own parsed tool calls count, and to our client.

``--cases N`` takes the first N cases only, ``--split dev`` the development cases, on which the
weights of the relevance check were chosen; ``--fit`` prints what a regression would choose there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from langchain_core.messages import AIMessage, HumanMessage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from benchmarks.measure import share
from rolecall import LocalLLMClient, load_stack
from rolecall.cli.progress import RichProgress
from rolecall.models.call_evidence import evidence_for
from rolecall.models.calls import CallRecord
from rolecall.models.embedded.runner import EmbeddedRunner
from rolecall.models.schema_validation import violations
from rolecall.models.text.tool_calls import parse_tool_calls
from rolecall.models.tool_check import UNGROUNDABLE, ToolCheck
from rolecall.models.wire import CallOptions

DATA = Path(__file__).with_name("data") / "tool_calls"
_ROLE = "coding"
_AT_ONCE = 3
_MAX_TOKENS = 96
_KEEP = 0.98  # of the real calls, where the threshold is chosen

Found = list[tuple[str, dict[str, Any]]]


@dataclass
class Case:
    """One request.

    Attributes:
        function: the tool that fits; ``None`` when none does.
        arguments: by name what is accepted: ``is`` one of these, ``contains`` one of these,
            ``any`` value; ``optional`` may be left out.
        tools: those offered, by name, with description and parameters.
        raw, intended, made, kept: calls that the server parsed; that the model wrote, also as text;
            that our client saw in the first reply; that it passed on.
    """

    id: str
    user: str
    function: str | None
    arguments: dict[str, dict[str, Any]]
    tools: dict[str, dict[str, Any]]
    raw: Found = field(default_factory=list)
    intended: Found = field(default_factory=list)
    made: Found = field(default_factory=list)
    kept: Found = field(default_factory=list)

    @property
    def offered(self) -> list[dict[str, Any]]:
        """The tools in OpenAI's form."""
        return [
            {"type": "function", "function": {"name": name, **tool}}
            for name, tool in self.tools.items()
        ]


def main() -> None:
    """Print the figures."""
    options = _options()
    cases = read_cases(options.split, options.cases)
    started = time.perf_counter()
    asyncio.run(_ask_all(cases, options.model))
    print(f"{len(cases)} cases, {time.perf_counter() - started:.0f} s")
    if options.fit:
        _fit(cases)
    else:
        _report(cases)


def read_cases(split: str, limit: int | None = None) -> list[Case]:
    """The cases of a split, ``test`` or ``dev``, grouped by the tools they are offered."""
    sets = {row["name"]: row["tools"] for row in _rows(f"{split}_tools.jsonl")}
    rows = _rows(f"{split}_cases.jsonl")[:limit]
    return [
        Case(row["id"], row["user"], row["function"], row.get("arguments", {}), sets[row["tools"]])
        for row in rows
    ]


def is_valid(case: Case, found: Found) -> bool:
    """Whether the one call made is of the right function, with arguments its schema allows."""
    if len(found) != 1 or found[0][0] != case.function:
        return False
    return not violations(found[0][1], case.tools[case.function]["parameters"])


def is_expected(case: Case, found: Found) -> bool:
    """Whether, besides, every argument is one of those accepted."""
    if not is_valid(case, found):
        return False
    arguments = found[0][1]
    if set(arguments) - set(case.arguments):
        return False
    return all(
        _accepts(rule, arguments[key]) if key in arguments else rule.get("optional", False)
        for key, rule in case.arguments.items()
    )


def _accepts(rule: dict[str, Any], value: Any) -> bool:
    if rule.get("any"):
        return True
    if "contains" in rule:
        return any(part.lower() in str(value).lower() for part in rule["contains"])
    return any(_plain(value) == _plain(one) for one in rule["is"])


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.strip().strip(".").lower() if isinstance(value, str) else value


async def _ask_all(cases: list[Case], model: str) -> None:
    server = await asyncio.to_thread(EmbeddedRunner(RichProgress()).ensure, model)
    client = LocalLLMClient(load_stack("embedded"))
    headers = {"Authorization": f"Bearer {server.api_key}"}
    waiting: dict[int, list[Case]] = {}
    for case in cases:
        waiting.setdefault(id(case.tools), []).append(case)
    queue = list(waiting.values())[::-1]
    done = 0

    async def work(http: httpx.AsyncClient) -> None:
        nonlocal done
        while queue:
            for case in queue.pop():
                await _ask_server(http, model, case)
                await _ask_client(client, case)
                done += 1
                print(f"\r{done}/{len(cases)}", end="", file=sys.stderr, flush=True)

    fresh = httpx.Limits(max_keepalive_connections=0)  # llama.cpp closes idle ones unannounced
    async with httpx.AsyncClient(
        base_url=server.base_url, headers=headers, timeout=600, limits=fresh
    ) as http:
        await asyncio.gather(*(work(http) for _ in range(_AT_ONCE)))
    await client.aclose()
    print(file=sys.stderr)


async def _ask_server(http: httpx.AsyncClient, model: str, case: Case) -> None:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": case.user}],
        "tools": case.offered,
        "temperature": 0.0,
        "max_tokens": _MAX_TOKENS,
    }
    answer = (await http.post("/v1/chat/completions", json=body)).raise_for_status().json()
    message = answer["choices"][0]["message"]
    for call in message.get("tool_calls") or []:
        function = call["function"]
        try:
            arguments = json.loads(function["arguments"])
        except ValueError:
            continue
        case.raw.append((function["name"], arguments))
    schemas = {name: tool["parameters"] for name, tool in case.tools.items()}
    written = parse_tool_calls(message.get("content") or "", schemas).calls
    case.intended = case.raw or [(call.name, call.arguments) for call in written]


async def _ask_client(client: LocalLLMClient, case: Case) -> None:
    options = CallOptions(tools=tuple(case.offered), temperature=0.0, max_tokens=_MAX_TOKENS)
    attempts: list[CallRecord] = []
    reply: AIMessage = await client.achat(
        _ROLE, [HumanMessage(case.user)], options=options, on_call=attempts.append
    )
    case.kept = [(call["name"], call["args"]) for call in reply.tool_calls]
    case.made = [
        (call["name"], call["args"]) for call in reply.response_metadata.get("calls_not_meant", [])
    ]
    if len(attempts) == 1:
        case.made += case.kept


def _report(cases: list[Case]) -> None:
    fits = [case for case in cases if case.function is not None]
    none = [case for case in cases if case.function is None]
    sides: dict[str, Callable[[Case], Found]] = {
        "the server's own tool calls": lambda case: case.raw,
        "ours": lambda case: case.kept,
        "ours without the check": lambda case: case.made,
    }
    print(f"\none tool fits ({len(fits)} cases)")
    for name, found in sides.items():
        valid = sum(is_valid(case, found(case)) for case in fits)
        expected = sum(is_expected(case, found(case)) for case in fits)
        print(f"  {name:<30} right function, valid arguments {share(valid, len(fits))}")
        print(f"  {'':<30} expected arguments              {share(expected, len(fits))}")
    real = [case for case in fits if is_valid(case, case.made)]
    lost = [case for case in real if not is_valid(case, case.kept)]
    print(f"  real calls that the check takes away: {share(len(lost), len(real))}")
    print(f"\nno tool fits ({len(none)} cases): calls, the fewer the better")
    counts: dict[str, Callable[[Case], Found]] = {
        "the server's own tool calls": lambda case: case.raw,
        "what the model intends": lambda case: case.intended,
        "ours without the check": lambda case: case.made,
        "ours": lambda case: case.kept,
    }
    for name, found in counts.items():
        print(f"  {name:<30} {share(sum(bool(found(case)) for case in none), len(none))}")


def _fit(cases: list[Case]) -> None:
    """Fit the weights of the check on the calls that were made; print how well they tell."""
    vector = ToolCheck().vector
    rows, meant = [], []
    for case in cases:
        for name, arguments in case.made[:1]:
            if name not in case.tools or case.function not in {None, name}:
                continue
            function = {"name": name, **case.tools[name]}
            seen = evidence_for(arguments, function, [case.user], case.user, vector)
            grounded = UNGROUNDABLE if seen.grounded is None else seen.grounded
            rows.append((seen.likeness, seen.idleness, grounded))
            meant.append(case.function is not None)
    features, labels = np.asarray(rows), np.asarray(meant)
    for column, name in enumerate(("likeness", "idleness", "grounded")):
        sign = -1 if name == "idleness" else 1
        print(f"AUROC of {name} alone {roc_auc_score(labels, sign * features[:, column]):.3f}")
    model = LogisticRegression(C=10.0, class_weight="balanced")
    held_out = cross_val_predict(model, features, labels, cv=10, method="predict_proba")[:, 1]
    print(f"AUROC of all three, cross-validated {roc_auc_score(labels, held_out):.3f}")
    model.fit(features, labels)
    print("weights", model.coef_[0].round(2), "intercept", model.intercept_.round(2))
    for keep in (1.0, 0.99, _KEEP, 0.95):
        threshold = np.quantile(held_out[labels], 1 - keep)
        passed = (held_out[~labels] >= threshold).mean()
        print(f"threshold {threshold:.2f} keeps {keep:.2f} of real, {passed:.2f} of made-up calls")


def _rows(name: str) -> list[dict[str, Any]]:
    text = (DATA / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks tool_calls")
    parser.add_argument("--cases", type=int, help="the first N only")
    parser.add_argument("--split", choices=("test", "dev"), default="test")
    parser.add_argument("--fit", action="store_true", help="print fitted weights of the check")
    parser.add_argument("--model", default="qwen2.5-coder-0.5b")
    return parser.parse_args()


if __name__ == "__main__":
    main()
