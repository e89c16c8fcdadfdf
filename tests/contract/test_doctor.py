"""The doctor against scripted servers: each runner's dialect, what is broken, what is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rolecall.config.load import load_stack
from rolecall.doctor import visit
from rolecall.doctor.examination import examine
from rolecall.doctor.report import as_json
from rolecall.models.capabilities import CapabilityFile
from rolecall.models.client import LocalLLMClient
from rolecall.models.scripted import Dialect, Fault, Request, ScriptedReply, ScriptedRunner

TWO_CALLS = [{"name": "get_forecast", "args": {"city": city}} for city in ("Oslo", "Rome")]
AS_TEXT = '```json\n{"name": "get_forecast", "arguments": {"city": "Oslo"}}\n```'
OBEYED = '{"mark": "kilo", "shade": "teal"}'

Say = Callable[[Request], ScriptedReply | str]


def perfect(request: Request) -> ScriptedReply | str:
    """A model and a server that honour everything."""
    if request.schema:
        return OBEYED
    if request.body.get("tools") and "Oslo" in request.text:
        return ScriptedReply(tool_calls=TWO_CALLS)
    if request.top_logprobs:
        return ScriptedReply("A", logprobs={"A": -0.1, "B": -2.3})
    return "No."


def but(change: Say) -> Say:
    """``perfect``, except where ``change`` answers something."""
    return lambda request: change(request) or perfect(request)


@pytest.fixture
def doctor(tmp_path: Path) -> Callable[..., Any]:
    """``await doctor(runner, **examine)``: what the doctor finds of a stack on that runner."""

    async def look(runner: ScriptedRunner | str, model: str = "", **more: Any) -> dict[str, Any]:
        endpoint = runner if isinstance(runner, str) else runner.endpoint
        spec = f"{{id: tiny, endpoint: '{endpoint}', timeout_s: 5{model}}}"
        path = tmp_path / "stack.yaml"
        path.write_text(f"models: {{router: {spec}, reasoning: {spec}, coding: {spec}}}\n")
        stack = load_stack(path)
        return as_json(await examine(stack, **more), stack)

    return look


@contextmanager
def playing(say: Say = perfect, dialect: Dialect = "openai", **more: Any) -> Iterator[Any]:
    with ScriptedRunner(dialect=dialect, **more) as runner:
        runner.default = say
        yield runner


Playing = Callable[..., AbstractContextManager[ScriptedRunner]]


def listed(**entry: Any) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": "tiny", "object": "model", **entry}]}


LM_STUDIO_MODEL = {"id": "tiny", "max_context_length": 32768, "loaded_context_length": 4096}
RUNNERS: dict[str, tuple[Dialect, dict[str, Any], str | None, int | None]] = {
    "llama.cpp": (
        "openai",
        {
            "/v1/models": listed(owned_by="llamacpp", meta={"n_ctx_train": 32768}),
            "/props": {"build_info": "b9000", "default_generation_settings": {"n_ctx": 6144}},
        },
        "b9000",
        6144,
    ),
    "vLLM": (
        "openai",
        {
            "/v1/models": listed(owned_by="vllm", max_model_len=5000),
            "/version": {"version": "0.15.0"},
        },
        "0.15.0",
        5000,
    ),
    "Ollama": (
        "ollama",
        {"/api/ps": {"models": [{"name": "tiny", "context_length": 4096}]}},
        "0.13.0",
        4096,
    ),
    "LM Studio": (
        "openai",
        {
            "/v1/models": listed(owned_by="organization_owner"),
            "/api/v0/models": {"data": [LM_STUDIO_MODEL]},
        },
        None,
        4096,
    ),
    "Foundry Local": (
        "chat_completions",
        {"/v1/models": listed(owned_by="Microsoft", maxInputTokens=4000)},
        None,
        4000,
    ),
    "LiteLLM": (
        "openai",
        {
            "/v1/models": listed(owned_by="openai"),
            "/health/liveliness": {"": "I'm alive!"},
            "/health/readiness": {"status": "healthy", "litellm_version": "1.80.0"},
        },
        "1.80.0",
        None,
    ),
}


@pytest.mark.parametrize("name", list(RUNNERS))
async def test_each_runner_is_named_with_version_context_and_apis(doctor: Any, name: str) -> None:
    dialect, pages, version, context = RUNNERS[name]
    with playing(dialect=dialect) as runner:
        runner.pages = pages
        found = (await doctor(runner, quick=True))["endpoints"][0]
    assert (found["runner"], found["version"]) == (name, version)
    able = found["capabilities"]
    assert able["context_length"] == context
    expected = {"chat_completions": True, "responses": dialect != "chat_completions"}
    if dialect == "ollama":
        expected["ollama"] = True
    assert {api: able[api] for api in expected} == expected
    for api, works in expected.items():
        assert able["json_schema"][api] is (True if works else None)
        assert able["tools"][api] == ("native" if works else None)
        assert able["parallel_tools"][api] is (True if works else None)
        assert able["logprobs"][api] is (True if works else None)
        assert able["streaming_usage"][api] is (True if works else None)
    assert found["api"] == ("ollama" if dialect == "ollama" else "chat_completions")
    assert found["problems"] == []


async def test_a_server_that_honours_everything_gets_a_whole_report(doctor: Any) -> None:
    with playing() as runner:
        report = await doctor(runner)
    assert set(report) >= {"endpoints", "roles"}
    (found,) = report["endpoints"]  # one model in three roles is examined once
    assert set(found) >= {
        *("endpoint", "runner", "version", "reachable", "models"),
        *("capabilities", "speed", "problems"),
    }
    assert found["reachable"] is True
    assert found["models"] == ["tiny"]
    assert found["notes"] == []
    assert set(found["speed"]) >= {"ttft_ms", "tokens_per_s", "load_s"}
    assert found["speed"]["ttft_ms"] > 0
    assert found["capabilities"]["makes_up_calls"] is False
    assert found["capabilities"]["calls_as_text"] is False
    assert found["capabilities"]["reasoning"]["chat_completions"] == "none"
    assert set(report["roles"]) == {"router", "reasoning", "coding"}
    for judged in report["roles"].values():
        assert judged["verdict"] == "unfit"  # it answers "No." to everything
        assert judged["why"]
    unfit = [p for p in found["problems"] if "is unfit for" in p["what"]]
    assert [p["remedy"] for p in unfit] == [
        f"a more able model as models.{role}.id" for role in ("router", "reasoning", "coding")
    ]
    assert set(found["quality"]) == {"everyday", "following", "reasoning", "coding"}


async def test_a_schema_is_obeyed_on_one_path_only(doctor: Any) -> None:
    def ignores(request: Request) -> Any:
        return "Paris is it." if request.schema and request.path == "/v1/responses" else None

    with playing(but(ignores)) as runner:
        found = (await doctor(runner, quick=True))["endpoints"][0]
        wrong = (await doctor(runner, ", api: responses", quick=True))["endpoints"][0]
    assert found["capabilities"]["json_schema"] == {"chat_completions": True, "responses": False}
    assert found["problems"] == []
    assert wrong["api"] == "responses"
    assert [problem["remedy"] for problem in wrong["problems"]] == [
        "models.router.api: chat_completions"
    ]


@pytest.mark.parametrize("answer", ["Paris.", '{"city": "Paris"}', "[1]", '{"mark": "kilo"}', ""])
async def test_an_answer_that_only_looks_like_the_schema_is_not_obedience(
    doctor: Any, answer: str
) -> None:
    with playing(but(lambda request: ScriptedReply(answer) if request.schema else None)) as runner:  # type: ignore[arg-type, return-value]
        found = (await doctor(runner, quick=True))["endpoints"][0]
    assert found["capabilities"]["json_schema"] == {"chat_completions": False, "responses": False}
    assert "structured answers" in found["problems"][0]["what"]


async def test_tool_calls_as_text_and_made_up_ones_are_seen(doctor: Any) -> None:
    with playing(but(lambda request: AS_TEXT if request.body.get("tools") else "")) as runner:
        found = (await doctor(runner))["endpoints"][0]
    able = found["capabilities"]
    assert able["tools"]["chat_completions"] == "text"
    assert able["calls_as_text"] is True
    assert able["makes_up_calls"] is True
    said = " ".join(problem["what"] for problem in found["problems"])
    assert "writes tool calls into its text" in said
    assert "calls tools for messages that need none" in said
    assert all(
        "models.router.tools" in p["remedy"] or "model" in p["remedy"] for p in found["problems"]
    )


async def test_a_server_that_refuses_tools_schemas_and_scores_is_no_failure(doctor: Any) -> None:
    def refuses(request: Request) -> Any:
        if request.body.get("tools") or request.schema or request.top_logprobs:
            return ScriptedReply(fault=Fault("status", status=400, body={"error": "not known"}))
        return None

    with playing(but(refuses)) as runner:
        found = (await doctor(runner, quick=True))["endpoints"][0]
    able = found["capabilities"]
    assert able["tools"] == {"chat_completions": "none", "responses": "none"}
    assert able["json_schema"] == {"chat_completions": False, "responses": False}
    assert able["logprobs"] == {"chat_completions": False, "responses": False}
    assert found["notes"] == []


@pytest.mark.parametrize(
    ("reply", "field"),
    [
        (ScriptedReply("22", reasoning="17 and 5"), "reasoning_content"),
        (ScriptedReply("22", reasoning="17 and 5", reasoning_field="reasoning"), "reasoning"),
        (ScriptedReply("<think>17 and 5</think>22"), "in the text"),
        (ScriptedReply("<think>17 and"), "in the text"),
        (ScriptedReply("22"), "none"),
    ],
)
async def test_where_reasoning_comes_is_seen(doctor: Any, reply: ScriptedReply, field: str) -> None:
    with playing(
        but(lambda request: reply if "17 plus 5" in request.text else ""),
        dialect="chat_completions",
    ) as runner:
        found = (await doctor(runner, quick=True))["endpoints"][0]
        asked = [request.body["max_tokens"] for request in runner.calls if request.schema]
    assert found["capabilities"]["reasoning"]["chat_completions"] == field
    assert (asked[0] > 500) is (field != "none")  # who thinks is given room to


@pytest.mark.parametrize(
    ("reply", "seen"),
    [
        (ScriptedReply(fault=400), "refuses"),
        (ScriptedReply("ok", usage=(1500, 1)), "cuts"),
        (ScriptedReply("ok", usage=(2600, 1)), "reads"),
        (ScriptedReply(fault="usage_missing"), None),
        (ScriptedReply(fault=500), None),
    ],
)
async def test_what_a_prompt_that_is_too_long_meets(
    doctor: Any, reply: ScriptedReply, seen: str | None
) -> None:
    with playing(
        but(lambda request: reply if len(request.text) > 9000 else ""), context_length=2048
    ) as runner:
        found = (await doctor(runner))["endpoints"][0]
    assert found["capabilities"]["truncation"] == seen
    cut = [p["remedy"] for p in found["problems"] if "cuts a prompt" in p["what"]]
    assert bool(cut) is (seen == "cuts")
    assert all("models.router.context_length: 2048" in remedy for remedy in cut)


async def test_a_long_context_is_not_tried_and_the_reason_is_told(doctor: Any) -> None:
    with playing(context_length=32768) as runner:
        found = (await doctor(runner))["endpoints"][0]
        assert max(len(request.text) for request in runner.calls) < 9000
    assert found["capabilities"]["truncation"] is None
    assert any("not tried, the context of 32768 tokens" in note for note in found["notes"])


async def test_a_context_shorter_than_stated_is_a_problem_with_both_remedies(doctor: Any) -> None:
    with playing() as runner:
        runner.pages = RUNNERS["llama.cpp"][1]
        found = (await doctor(runner, ", context_length: 32768", quick=True))["endpoints"][0]
    (problem,) = found["problems"]
    assert "32768" in problem["what"]
    assert "6144" in problem["what"]
    assert "-c 32768" in problem["remedy"]
    assert "models.router.context_length: 6144" in problem["remedy"]


async def test_probes_that_hang_or_break_are_noted_and_the_rest_is_seen(
    doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visit, "PROBE_S", 0.3)
    monkeypatch.setattr(visit, "FIRST_ANSWER_S", 0.5)

    def broken(request: Request) -> Any:
        if request.schema:
            return ScriptedReply(fault="hang_before_headers")
        return ScriptedReply(fault="truncated_json") if request.body.get("tools") else None

    began = time.monotonic()
    with playing(but(broken)) as runner:
        runner.faults["/v1/responses"] = "hang_before_headers"
        found = (await doctor(runner, quick=True))["endpoints"][0]
    assert time.monotonic() - began < 5
    able = found["capabilities"]
    assert able["chat_completions"] is True
    assert able["responses"] is None
    assert able["json_schema"]["chat_completions"] is None
    assert able["tools"]["chat_completions"] is None
    assert able["logprobs"]["chat_completions"] is True
    notes = "\n".join(found["notes"])
    assert "responses: it took too long" in notes
    assert "a JSON schema on chat_completions: it took too long" in notes
    assert "tools on chat_completions" in notes


async def test_a_dead_stack_is_told_within_three_seconds(doctor: Any) -> None:
    began = time.monotonic()
    report = await doctor("http://127.0.0.1:9/v1")
    assert time.monotonic() - began < 3
    (found,) = report["endpoints"]
    assert found["reachable"] is False
    assert "nothing answers" in found["problems"][0]["what"]
    assert "models.router.endpoint" in found["problems"][0]["remedy"]
    assert {judged["verdict"] for judged in report["roles"].values()} == {"unreachable"}


async def test_an_endpoint_that_is_down_keeps_what_was_seen_before(doctor: Any) -> None:
    with playing() as runner:
        await doctor(runner, quick=True)
    before = CapabilityFile().entries()
    found = (await doctor(runner.endpoint))["endpoints"][0]
    assert found["reachable"] is False
    assert found["examined_before_s"] is not None
    assert CapabilityFile().entries() == before
    assert len(before) == 1


async def test_nothing_is_kept_when_it_is_not_wanted(doctor: Any) -> None:
    with playing() as runner:
        await doctor(runner, quick=True, write=False)
    assert CapabilityFile().entries() == []


async def test_a_missing_model_names_what_is_there(doctor: Any) -> None:
    with playing(models=["large"]) as runner:
        report = await doctor(runner)
        assert runner.calls == []
    assert report["roles"]["coding"]["verdict"] == "unfit"
    assert report["endpoints"][0]["reachable"] is True
    assert "large" in report["endpoints"][0]["problems"][0]["what"]
    assert "models.router.id" in report["endpoints"][0]["problems"][0]["remedy"]


async def test_a_key_that_is_not_set_is_told_with_its_name(doctor: Any) -> None:
    with playing() as runner:
        found = (await doctor(runner, ", api_key_env: MY_MISSING_KEY"))["endpoints"][0]
    assert found["problems"][0]["remedy"] == "export MY_MISSING_KEY=…"


async def test_a_server_that_refuses_the_key_is_not_asked_on(doctor: Any) -> None:
    with playing() as runner:
        runner.faults["/v1/models"] = 401
        found = (await doctor(runner))["endpoints"][0]
        assert runner.calls == []
    assert "api_key_env" in found["problems"][0]["what"]
    assert "stack.yaml" in found["problems"][0]["remedy"]


async def test_a_web_server_is_told_from_a_runner(doctor: Any) -> None:
    with playing() as runner:
        runner.faults = dict.fromkeys(
            ("/v1/chat/completions", "/v1/responses"), "html_instead_of_json"
        )
        found = (await doctor(runner, quick=True))["endpoints"][0]
    assert "chat_completions: its answer is not JSON" in found["notes"]


async def test_a_candidate_that_stands_in_is_examined_the_others_only_looked_at(
    tmp_path: Path,
) -> None:
    with playing() as first, playing(models=["tiny", "other"]) as second:
        path = tmp_path / "s.yaml"
        path.write_text(
            "models:\n"
            f"  router: {{id: tiny, endpoint: '{first.endpoint}'}}\n"
            f"  coding:\n  - {{id: gone, endpoint: '{first.endpoint}'}}\n"
            f"  - {{id: tiny, endpoint: '{second.endpoint}'}}\n"
            f"  - {{id: other, endpoint: '{second.endpoint}'}}\n"
        )
        stack = load_stack(path)
        report = as_json(await examine(stack, quick=True), stack)
        asked = {request.model for request in second.calls}
        every = as_json(await examine(stack, quick=True, every=True), stack)
        alone = as_json(await examine(stack, role="router", quick=True), stack)
    examined = {(e["model"], e["examined"]) for e in report["endpoints"]}
    assert examined == {("tiny", True), ("gone", False), ("other", False)}
    assert asked == {"tiny"}
    assert report["roles"]["coding"]["verdict"] == "weak"
    assert "stands in" in report["roles"]["coding"]["why"]
    assert sum(e["examined"] for e in every["endpoints"]) == 3
    assert list(alone["roles"]) == ["router"]
    assert len(alone["endpoints"]) == 1


async def test_auto_obeys_the_file_until_the_server_is_another(doctor: Any, tmp_path: Path) -> None:
    def only_responses(request: Request) -> Any:
        if request.path == "/v1/chat/completions" and (request.schema or request.body.get("tools")):
            return "Paris."
        return None

    with playing(but(only_responses)) as runner:
        assert (await doctor(runner, quick=True))["endpoints"][0]["api"] == "responses"

        async def path_of_a_call() -> str:
            client = LocalLLMClient(load_stack(tmp_path / "stack.yaml"))
            records: list[Any] = []
            await client.achat("coding", [("user", "hi")], on_call=records.append)
            await client.aclose()
            assert runner.calls[-1].path.endswith(records[-1].api.replace("_", "/"))
            return runner.calls[-1].path

        assert await path_of_a_call() == "/v1/responses"
        runner.pages["/v1/models"] = listed(owned_by="another server")
        assert await path_of_a_call() == "/v1/chat/completions"
        del runner.pages["/v1/models"]
        assert await path_of_a_call() == "/v1/responses"
        CapabilityFile().path.write_text("{")
        assert await path_of_a_call() == "/v1/chat/completions"


async def test_ollama_is_asked_for_one_context_length_throughout(doctor: Any) -> None:
    with playing(dialect="ollama") as runner:
        runner.pages = RUNNERS["Ollama"][1]
        await doctor(runner)
        native = [request.body for request in runner.calls if request.path == "/api/chat"]
    lengths = {body["options"].get("num_ctx") for body in native}
    assert len(native) > 10
    assert len(lengths) == 1
    assert None not in lengths


@pytest.mark.parametrize(("embeds", "verdict"), [(True, "ok"), (False, "unfit")])
async def test_a_model_that_only_embeds_is_judged_by_its_embeddings(
    tmp_path: Path, embeds: bool, verdict: str
) -> None:
    silent = ScriptedReply(fault=Fault("status", status=400, body={"error": "not a chat model"}))
    with playing() as chat, playing(lambda request: silent) as vectors:
        if embeds:
            vectors.pages["/v1/embeddings"] = {"data": [{"embedding": [0.1, 0.2]}]}
        path = tmp_path / "s.yaml"
        path.write_text(
            f"models:\n  router: {{id: tiny, endpoint: '{chat.endpoint}'}}\n"
            f"  embedding: {{id: tiny, endpoint: '{vectors.endpoint}'}}\n"
        )
        stack = load_stack(path)
        report = as_json(await examine(stack, role="embedding"), stack)
    assert report["roles"]["embedding"]["verdict"] == verdict
    assert bool(report["endpoints"][0]["problems"]) is not embeds


async def test_an_api_that_the_stack_names_and_the_server_lacks_is_unfit(doctor: Any) -> None:
    with playing(dialect="chat_completions") as runner:
        report = await doctor(runner, ", api: responses", quick=True)
    assert report["roles"]["coding"] | {"why": ""} == {
        "verdict": "unfit",
        "why": "",
        "model": "tiny",
        "endpoint": runner.endpoint,
    }
    assert report["endpoints"][0]["problems"][0]["remedy"] == "models.router.api: auto"
