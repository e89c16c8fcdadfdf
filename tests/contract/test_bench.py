"""What a benchmark asks of a model, and what becomes of it when the endpoint fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rolecall.bench.arms import Arm
from rolecall.bench.cases import Case
from rolecall.bench.plan import Plan, make_plan
from rolecall.bench.runner import Run, run_plan
from rolecall.bench.sandbox import Sandbox, find_sandbox
from rolecall.bench.store import BenchStore, migrations
from rolecall.bench.suites import Suite, Through
from rolecall.config.load import load_stack
from rolecall.database import DatabaseFile
from rolecall.models.scripted import Request, ScriptedReply, ScriptedRunner
from rolecall.progress import SilentProgress

pytestmark = pytest.mark.parametrize("wire", ["chat_completions"], indirect=True)

TOOL = {
    "type": "function",
    "function": {
        "name": "set_timer",
        "description": "Start a timer",
        "parameters": {
            "type": "object",
            "properties": {"minutes": {"type": "integer"}},
            "required": ["minutes"],
        },
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = BenchStore(DatabaseFile(tmp_path / "bench.db", migrations))
    yield opened
    opened.close()


@pytest.fixture
def planned(runner: ScriptedRunner, tmp_path: Path) -> Callable[..., Plan]:
    """``planned(cases, through=…, bare=…)``: a plan on the scripted runner, for ``coding``."""
    runner.models = ["tiny"]

    def plan(cases: list[Case], through: Through = "assistant", **more: Any) -> Plan:
        spec = {"id": "tiny", "endpoint": runner.endpoint, "timeout_s": 5, "tool_check": "never"}
        path = tmp_path / "stack.yaml"
        path.write_text(json.dumps({"models": {"router": spec, "coding": spec}}))
        suite = Suite("mine", "coding", lambda: cases, through=through)
        return make_plan([load_stack(str(path))], [suite], **more)

    return plan


async def asked(plan: Plan, store: BenchStore, sandbox: Sandbox | None = None) -> Run:
    from rolecall.cli.bench_run import _build_graph

    return await run_plan(
        plan,
        store,
        build_graph=_build_graph,
        sandbox=sandbox,
        progress=SilentProgress(),
    )


def scores(store: BenchStore, run: int, arm: Arm = "rolecall") -> list[float | None]:
    return [row["score"] for row in store.results(run) if row["arm"] == arm]


async def test_bare_is_the_question_alone_and_rolecall_is_all_around_it(
    runner: ScriptedRunner, planned: Any, store: BenchStore
) -> None:
    case = Case(prompt="Say four.", answer="four", context=["Earlier."])
    runner.default = ScriptedReply("four")
    run = await asked(planned([case], bare=True), store)
    assert run.status == "done"
    whole, bare = runner.calls
    assert [message["role"] for message in bare.messages] == ["user"]
    assert bare.text == "Earlier.\n\nSay four."
    assert whole.messages[0]["role"] == "system"
    assert whole.text == bare.text
    for name in ("temperature", "seed", "max_tokens"):
        assert whole.body[name] == bare.body[name]
    assert scores(store, run.id) == scores(store, run.id, "bare") == [1.0]


async def test_objects_are_asked_by_schema_or_in_words(
    runner: ScriptedRunner, planned: Any, store: BenchStore
) -> None:
    runner.default = lambda r: '{"n": 5}' if r.schema else 'Sure: {"n": "five"}'
    case = Case(prompt="How many?", schema=SCHEMA, value={"n": 5})
    run = await asked(planned([case], "client", bare=True), store)
    assert scores(store, run.id) == [1.0]
    assert scores(store, run.id, "bare") == [0.0]
    assert "JSON schema" in runner.calls[-1].text


async def test_calls_are_found_and_compared(
    runner: ScriptedRunner, planned: Any, store: BenchStore
) -> None:
    call = {"name": "set_timer", "args": {"minutes": 5}}
    said = '```json\n{"name": "set_timer", "arguments": {"minutes": 5}}\n```'
    runner.default = lambda r: said if "five" in r.text else ScriptedReply(tool_calls=[call])
    cases = [
        Case(prompt="Timer, five minutes.", tools=[TOOL], call=call),
        Case(prompt="Timer, 5 minutes.", tools=[TOOL], call=call),
        Case(prompt="Hello.", tools=[TOOL], call="none"),
    ]
    run = await asked(planned(cases, "client"), store)
    assert scores(store, run.id) == [1.0, 1.0, 0.0]


async def test_code_is_run_in_the_sandbox_and_its_time_is_not_the_models(
    runner: ScriptedRunner, planned: Any, store: BenchStore
) -> None:
    code = "import time\ntime.sleep(0.6)\ndef f(): return 1\n"
    nodes = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Node:\n    next: Node | None = None\ndef f(): return 1"
    )
    answers = {"slow": code, "wrong": "def f(): return 2", "nodes": nodes}
    runner.default = lambda r: answers[r.text]
    cases = [Case(prompt=p, tests=["assert f() == 1"]) for p in answers]
    run = await asked(planned(cases, "client"), store, find_sandbox())
    assert scores(store, run.id) == [1.0, 0.0, 1.0]
    slow, wrong, _ = store.results(run.id)
    assert slow["seconds"] < 0.6
    assert wrong["why"].startswith("1 of 1 tests: AssertionError")


async def test_decisions_are_the_strategys_or_the_router_models(
    runner: ScriptedRunner, planned: Any, store: BenchStore
) -> None:
    def answer(request: Request) -> ScriptedReply:
        return ScriptedReply("A", logprobs={"A": -0.01, "B": -5.0})

    runner.default = answer
    case = Case(prompt="SQL: customers without any order", label="CODING", role="router")
    run = await asked(planned([case], bare=True), store)
    whole, bare = store.results(run.id)
    assert (whole["score"], whole["calls"]) == (1.0, 0)  # the encoder needs no model
    assert (bare["score"], bare["answer"]) == (0.0, "HANDLE")


async def test_what_was_answered_outlives_a_dead_endpoint_and_the_rest_is_asked_later(
    runner: ScriptedRunner, planned: Any, store: BenchStore
) -> None:
    cases = [Case(prompt=f"Case {n}", answer="yes", id=f"c{n}") for n in range(6)]

    def until_it_dies(request: Request) -> ScriptedReply:
        alive = int(request.text.split()[-1]) < 2
        return ScriptedReply("yes") if alive else ScriptedReply(fault="refuse")

    runner.default = until_it_dies
    run = await asked(planned(cases, "client"), store)
    assert run.status == "partial"
    assert "tiny at" in run.problems[0]
    kept = [(row["case_id"], row["status"]) for row in store.results(run.id)]
    assert kept[:2] == [("c0", "ok"), ("c1", "ok")]
    assert {status for _, status in kept[2:]} == {"error"}
    assert len(kept) == 5  # after three failures in a row the endpoint counts as gone
    assert store.run(run.id)["problems"] == run.problems

    runner.default = ScriptedReply("yes")
    before = len(runner.calls)
    again = await asked(planned(cases, "client"), store)
    assert (again.id, again.resumed, again.status) == (run.id, 2, "done")
    assert [call.text for call in runner.calls[before:]] == [f"Case {n}" for n in range(2, 6)]
    assert scores(store, run.id) == [1.0] * 6
    assert store.run(run.id)["problems"] == []


@pytest.mark.parametrize("strategy", ["llm", "hybrid"])
async def test_a_router_model_that_is_gone_is_no_decision(
    runner: ScriptedRunner, planned: Any, store: BenchStore, strategy: str
) -> None:
    runner.default = ScriptedReply(fault="refuse")
    case = Case(prompt="Hm, what now?", label="HANDLE", role="router")
    plan = planned([case])
    (entry,) = plan.entries
    routing = entry.stack.settings.routing.model_copy(
        update={"strategy": strategy, "max_error": 0.001}
    )
    settings = entry.stack.settings.model_copy(update={"routing": routing})
    entry = replace(entry, stack=replace(entry.stack, settings=settings))
    run = await asked(replace(plan, entries=(entry,)), store)
    assert run.status == "partial"
    assert [row["status"] for row in store.results(run.id)] == ["error"]


async def test_odd_answers_and_questions_are_kept_and_do_not_end_the_run(
    runner: ScriptedRunner, planned: Any, store: BenchStore
) -> None:
    runner.default = '```json\n{"name": "set_timer", "arguments": {"minutes": "\\ud83d"}}\n```'
    call = {"name": "set_timer", "args": {"minutes": 5}}
    run = await asked(planned([Case(prompt="Timer", tools=[TOOL], call=call)], "client"), store)
    assert (run.status, scores(store, run.id)) == ("done", [0.0])
    long = [Case(prompt="x" * 300_000, answer="x"), Case(prompt="Say four.", answer="four")]
    runner.default = ScriptedReply("four")
    run = await asked(planned(long), store)
    assert (run.status, scores(store, run.id)) == ("done", [0.0, 1.0])


async def test_a_model_that_is_not_there_does_not_stop_the_others(
    runner: ScriptedRunner, tmp_path: Path, store: BenchStore
) -> None:
    runner.models = ["tiny"]
    runner.default = ScriptedReply("yes")
    specs = [{"id": name, "endpoint": runner.endpoint} for name in ("none", "tiny")]
    path = tmp_path / "two.yaml"
    path.write_text(json.dumps({"models": {"router": specs[1], "coding": specs}}))
    suite = Suite("mine", "coding", lambda: [Case(prompt="?", answer="yes")])
    plan = make_plan([load_stack(str(path))], [suite], models=["all"])
    run = await asked(plan, store)
    assert "has no model 'none'" in run.problems[0]
    assert [(row["model"], row["score"]) for row in store.results(run.id)] == [("tiny", 1.0)]


async def test_a_changed_prompt_or_setting_is_another_run(
    runner: ScriptedRunner, planned: Any, store: BenchStore
) -> None:
    runner.default = ScriptedReply(fault="refuse")
    cases = [Case(prompt="Case", answer="yes")]
    first = await asked(planned(cases, "client"), store)
    other = await asked(planned([Case(prompt="Case", answer="no")], "client"), store)
    assert (first.status, other.id != first.id) == ("partial", True)
