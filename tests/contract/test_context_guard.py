"""The guard against prompts that a server would cut in silence, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from rolecall.config.schema import ModelSpec
from rolecall.errors import ContextTooLong, NoModelReachable
from rolecall.models import server_facts, token_counts
from rolecall.models.client import LocalLLMClient
from rolecall.models.context_report import note_of
from rolecall.models.reply import final
from rolecall.models.scripted import Fault, Request, ScriptedReply, ScriptedRunner
from rolecall.models.wire import CallOptions

COUNT = "/v1/chat/completions/input_tokens"


def words(request: Request) -> int:
    """A tokenizer of words, five for what a template puts around each message."""
    return sum(len(str(m.get("content") or "").split()) + 5 for m in request.messages)


def conversation(turns: int, length: int = 100) -> list[BaseMessage]:
    messages: list[BaseMessage] = [SystemMessage("be kind")]
    for turn in range(turns):
        messages.append(HumanMessage(f"question-{turn} " + "lorem " * length))
        if turn < turns - 1:
            messages.append(AIMessage(f"answer-{turn} " + "ipsum " * length))
    return messages


def llama_cpp(runner: ScriptedRunner, context: int = 2000) -> None:
    """Let it speak as llama.cpp does about its context and its tokens."""
    settings = {"n_ctx": context}
    runner.pages["/props"] = {"default_generation_settings": settings, "build_info": "b1"}
    runner.pages[COUNT] = lambda request: {"input_tokens": words(request)}
    runner.default = lambda request: ScriptedReply("fine", usage=(words(request), 1))


def ollama(runner: ScriptedRunner, loaded: int | None, most: int = 32768, text: str = "") -> None:
    """Let it speak as Ollama does about a model."""
    entry = {"name": "tiny", **({} if loaded is None else {"context_length": loaded})}
    runner.pages["/api/ps"] = {"models": [entry]}
    runner.pages["/api/show"] = {"model_info": {"x.context_length": most}, "parameters": text}


def paths(runner: ScriptedRunner) -> list[str]:
    return [request.path for request in runner.requests]


def opened(*specs: ModelSpec, client_of: Any) -> Any:
    @asynccontextmanager
    async def open_them() -> AsyncIterator[LocalLLMClient]:
        client = client_of(*specs)
        try:
            yield client
        finally:
            await client.aclose()

    return open_them()


async def context_of(
    client: LocalLLMClient, messages: list[BaseMessage], **options: Any
) -> dict[str, Any]:
    reply = await client.achat("coding", messages, options=CallOptions(**options))
    found = reply.response_metadata["context"]
    assert isinstance(found, dict)
    return found


async def test_the_oldest_turns_go_until_the_rest_fits(spec_of: Any, client_of: Any) -> None:
    with ScriptedRunner() as runner:
        llama_cpp(runner)
        async with opened(spec_of(runner), client_of=client_of) as client:
            context = await context_of(client, conversation(20))
    sent = runner.calls[-1].messages
    assert sent[0]["content"] == "be kind"
    assert sent[-1]["content"].startswith("question-19")
    assert sent[1]["role"] == "user"
    assert context["sent"] == words(runner.calls[-1]) <= 1500
    assert context["sent"] > 1200  # no more is left out than must be
    assert context["limit"] == 2000
    assert context["estimated"] is False
    assert context["dropped_messages"] == len(conversation(20)) - len(sent)
    assert "were left out: the model reads 2,000 tokens" in str(note_of(context))


async def test_older_llama_cpp_counts_by_template_and_tokenizer(
    spec_of: Any, client_of: Any
) -> None:
    with ScriptedRunner() as runner:
        llama_cpp(runner)
        del runner.pages[COUNT]
        runner.pages["/apply-template"] = lambda r: {"prompt": json.dumps(r.body["messages"])}
        runner.pages["/tokenize"] = lambda r: {"tokens": r.body["content"].split()}
        async with opened(spec_of(runner), client_of=client_of) as client:
            context = await context_of(client, conversation(20))
    assert context["estimated"] is False
    assert context["dropped_messages"] > 10


async def test_vllm_counts_a_conversation_with_its_tools(
    spec_of: Any, client_of: Any, tools: Any
) -> None:
    with ScriptedRunner() as runner:
        entry = {"id": "tiny", "owned_by": "vllm", "max_model_len": 2000}
        runner.pages["/v1/models"] = {"data": [entry]}
        runner.pages["/tokenize"] = lambda r: {"count": words(r) + 50 * len(r.body["tools"])}
        async with opened(spec_of(runner), client_of=client_of) as client:
            context = await context_of(client, conversation(20), tools=tools)
    assert context["estimated"] is False
    assert 1100 < context["sent"] <= 1500
    assert context["sent"] == words(runner.calls[-1]) + 100


async def test_a_server_without_a_tokenizer_gets_a_careful_estimate(
    spec_of: Any, client_of: Any
) -> None:
    with ScriptedRunner(context_length=2000) as runner:
        async with opened(spec_of(runner), client_of=client_of) as client:
            context = await context_of(client, conversation(20))
    assert context["estimated"] is True
    assert context["sent"] <= 1500
    text = sum(len(message["content"]) for message in runner.calls[-1].messages)
    assert text / 4 < context["sent"]


async def test_the_stack_may_allow_less_than_the_server(spec_of: Any, client_of: Any) -> None:
    with ScriptedRunner() as runner:
        llama_cpp(runner, 8000)
        spec = spec_of(runner, context_length=1000, sampling={"max_tokens": 300})
        async with opened(spec, client_of=client_of) as client:
            context = await context_of(client, conversation(20))
    assert context["limit"] == 1000
    assert 400 < context["sent"] <= 700


async def test_short_prompts_cost_no_request(spec_of: Any, client_of: Any) -> None:
    with ScriptedRunner() as runner:
        async with opened(spec_of(runner, context_length=8192), client_of=client_of) as client:
            context = await context_of(client, [HumanMessage("hello")])
            await context_of(client, conversation(2))
    assert paths(runner) == ["/v1/models", *["/v1/chat/completions"] * 2]
    assert context["dropped_messages"] == 0
    assert context["truncated"] is None
    assert note_of(context) is None


async def test_the_server_is_asked_about_itself_once(spec_of: Any, client_of: Any) -> None:
    with ScriptedRunner() as runner:
        llama_cpp(runner)
        async with opened(spec_of(runner), client_of=client_of) as client:
            for _ in range(3):
                await context_of(client, conversation(20))
    assert paths(runner).count("/props") == 1
    assert len(runner.calls) == 3


@pytest.mark.parametrize("path", ["/props", COUNT])
async def test_a_server_that_does_not_answer_such_questions_is_called_all_the_same(
    spec_of: Any, client_of: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_facts, "_TIMEOUT_S", 0.2)
    monkeypatch.setattr(token_counts, "_TIMEOUT_S", 0.2)
    with ScriptedRunner() as runner:
        llama_cpp(runner)
        runner.faults[path] = "hang_before_headers"
        async with opened(spec_of(runner, context_length=2000), client_of=client_of) as client:
            context = await context_of(client, conversation(20))
    assert paths(runner).count(path) == 1
    assert context["estimated"] is True
    assert context["dropped_messages"] > 10


async def test_a_prompt_far_from_the_limit_is_not_counted(spec_of: Any, client_of: Any) -> None:
    with ScriptedRunner() as runner:
        llama_cpp(runner, 30_000)
        async with opened(spec_of(runner), client_of=client_of) as client:
            context = await context_of(client, conversation(10))
    assert COUNT not in paths(runner)
    assert context["estimated"] is True
    assert context["dropped_messages"] == 0


async def test_a_long_result_of_a_tool_is_cut_not_the_question(
    spec_of: Any, client_of: Any, tools: Any
) -> None:
    call = {"name": "clock", "args": {}, "id": "call_1"}
    messages = [
        *conversation(3)[:-1],
        HumanMessage("what does the file say?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("FIRST " + "lorem " * 5000 + "LAST", tool_call_id="call_1"),
    ]
    with ScriptedRunner() as runner:
        llama_cpp(runner)
        async with opened(spec_of(runner), client_of=client_of) as client:
            context = await context_of(client, messages, tools=tools)
    sent = runner.calls[-1].messages
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool"]
    assert sent[2]["tool_calls"][0]["id"] == sent[3]["tool_call_id"] == "call_1"
    assert sent[3]["content"].startswith("FIRST")
    assert sent[3]["content"].endswith("LAST")
    assert context["shortened_results"] == 1
    assert 1000 < context["sent"] <= 1500
    assert "a tool's result was cut in the middle" in str(note_of(context))


async def test_what_cannot_fit_is_an_error_that_says_what_to_do(
    spec_of: Any, client_of: Any
) -> None:
    with ScriptedRunner() as runner:
        llama_cpp(runner)
        spec = spec_of(runner, context_length=1000)
        async with opened(spec, client_of=client_of) as client:
            with pytest.raises(ContextTooLong, match="newest message takes most") as caught:
                await client.achat("coding", [HumanMessage("lorem " * 3000)])
    assert "tiny at http" in str(caught.value)
    assert "too long by about 2,3" in str(caught.value)
    assert "larger context" in str(caught.value)
    assert runner.calls == []  # it was not sent


async def test_a_candidate_that_reads_more_is_taken_instead(spec_of: Any, client_of: Any) -> None:
    with ScriptedRunner() as small, ScriptedRunner() as large:
        llama_cpp(small, 1000)
        llama_cpp(large, 9000)
        async with opened(spec_of(small), spec_of(large), client_of=client_of) as client:
            await client.achat("coding", [HumanMessage("lorem " * 3000)])
    assert (len(small.calls), len(large.calls)) == (0, 1)


async def test_two_that_read_too_little_are_one_error_of_that_kind(
    spec_of: Any, client_of: Any
) -> None:
    with ScriptedRunner() as one, ScriptedRunner() as other:
        llama_cpp(one, 1000)
        llama_cpp(other, 2000)
        async with opened(spec_of(one), spec_of(other), client_of=client_of) as client:
            with pytest.raises(ContextTooLong, match=r"1,000 less(.|\n)*2,000 less"):
                await client.achat("coding", [HumanMessage("lorem " * 3000)])


# --- what the server read -------------------------------------------------------------------


async def test_a_silent_cut_is_seen_told_and_avoided_from_then_on(
    spec_of: Any, client_of: Any
) -> None:
    """Ollama through ``/v1``: a full context keeps half of the window and answers 200."""
    with ScriptedRunner(dialect="ollama") as runner:
        ollama(runner, loaded=None)
        runner.enqueue(ScriptedReply("cut", usage=(2050, 1)))
        spec = spec_of(runner.url, api="chat_completions")
        async with opened(spec, client_of=client_of) as client:
            first = await context_of(client, conversation(40))
            ollama(runner, loaded=4096)
            second = await context_of(client, conversation(40))
    assert first["truncated"] == {"read": 2050, "sent": first["sent"]}
    assert first["dropped_messages"] == 0
    assert "has read 2,050 of about" in str(note_of(first))
    assert second["limit"] == 2050
    assert second["dropped_messages"] > 10
    assert second["truncated"] is None


async def test_the_window_that_the_server_states_after_a_cut_is_the_limit(
    spec_of: Any, client_of: Any
) -> None:
    def answer(request: Request) -> ScriptedReply:
        ollama(runner, loaded=4096)  # answering has loaded the model
        return ScriptedReply("cut", usage=(2050, 1))

    with ScriptedRunner(dialect="ollama") as runner:
        ollama(runner, loaded=None)
        runner.enqueue(answer)
        spec = spec_of(runner.url, api="chat_completions")
        async with opened(spec, client_of=client_of) as client:
            first = await context_of(client, conversation(40))
            second = await context_of(client, conversation(40))
    assert first["truncated"]["read"] == 2050
    assert second["limit"] == 4096
    assert 2050 < second["sent"] <= 3072


async def test_a_context_that_has_just_become_too_small_is_seen(
    spec_of: Any, client_of: Any
) -> None:
    """What is left is half of the window: close to half of what was sent."""
    with ScriptedRunner(dialect="ollama") as runner:
        ollama(runner, loaded=None)
        runner.default = lambda r: ScriptedReply("fine", usage=(int(1.45 * words(r)), 1))
        spec = spec_of(runner.url, api="chat_completions")
        async with opened(spec, client_of=client_of) as client:
            before = await context_of(client, conversation(15, length=80))
            ollama(runner, loaded=4096)
            runner.default = ScriptedReply("cut", usage=(2050, 1))
            after = await context_of(client, conversation(16, length=80))
    assert before["truncated"] is None
    assert after["truncated"] == {"read": 2050, "sent": after["sent"]}


async def test_light_text_is_no_cut_where_all_of_it_fits(spec_of: Any, client_of: Any) -> None:
    blanks = [HumanMessage("a" + " " * 20_000 + "b")]  # few tokens for so many bytes
    with ScriptedRunner(context_length=8000) as runner:
        runner.default = ScriptedReply("fine", usage=(700, 1))
        async with opened(spec_of(runner), client_of=client_of) as client:
            context = await context_of(client, blanks)
    assert context["truncated"] is None


async def test_an_exact_count_that_was_not_read_is_a_cut_whatever_the_server_states(
    spec_of: Any, client_of: Any
) -> None:
    with ScriptedRunner() as runner:
        llama_cpp(runner, 6000)
        runner.default = ScriptedReply("cut", usage=(900, 1))
        async with opened(spec_of(runner), client_of=client_of) as client:
            first = await context_of(client, conversation(18))
            second = await context_of(client, conversation(18))
    assert (first["estimated"], first["truncated"]["read"]) == (False, 900)
    assert second["limit"] == 900


async def test_tools_that_a_chat_template_leaves_out_are_no_cut(
    spec_of: Any, client_of: Any, tools: Any
) -> None:
    many = tuple(
        {**tool, "function": {**tool["function"], "name": f"tool_{n}", "description": "x" * 400}}
        for n in range(12)
        for tool in tools
    )
    with ScriptedRunner() as runner:
        runner.default = ScriptedReply("fine", usage=(40, 1))
        async with opened(spec_of(runner), client_of=client_of) as client:
            context = await context_of(client, [HumanMessage("hello")], tools=many)
    assert context["sent"] > 1024
    assert context["truncated"] is None


@pytest.mark.parametrize("usage", [(0, 1), (5, 1)])
async def test_a_short_prompt_and_missing_counts_raise_no_alarm(
    spec_of: Any, client_of: Any, usage: tuple[int, int]
) -> None:
    with ScriptedRunner() as runner:
        runner.default = ScriptedReply("fine", usage=usage)
        async with opened(spec_of(runner), client_of=client_of) as client:
            context = await context_of(client, [HumanMessage("lorem " * 100)])
    assert context["truncated"] is None


async def test_tokens_from_a_prompt_cache_have_been_read(spec_of: Any, client_of: Any) -> None:
    from langchain_core.messages.ai import UsageMetadata

    from rolecall.models.context import _read

    apart = UsageMetadata(
        input_tokens=40, output_tokens=1, total_tokens=41, input_token_details={"cache_read": 3000}
    )
    within = UsageMetadata(
        input_tokens=3040,
        output_tokens=1,
        total_tokens=3041,
        input_token_details={"cache_read": 3000},
    )
    assert (_read(apart), _read(within), _read(None)) == (3040, 3040, None)


async def test_a_stream_carries_the_report_in_its_last_chunk(spec_of: Any, client_of: Any) -> None:
    with ScriptedRunner() as runner:
        llama_cpp(runner)
        async with opened(spec_of(runner), client_of=client_of) as client:
            chunks = [chunk async for chunk in client.astream("coding", conversation(20))]
    assert final(chunks).response_metadata["context"]["dropped_messages"] > 10


# --- servers that refuse --------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {
            "error": {
                "code": 400,
                "message": "request (4030 tokens) exceeds the available context size (2048 "
                "tokens), try increasing it",
                "type": "exceed_context_size_error",
                "n_ctx": 2048,
            }
        },
        {
            "object": "error",
            "message": "This model's maximum context length is 2048 tokens. However, you requested "
            "4030 tokens (3030 in the messages, 1000 in the completion).",
            "type": "BadRequestError",
            "code": 400,
        },
        {
            "error": "Trying to keep the first 4030 tokens when context the overflows. However, "
            "the model is loaded with context length of only 2048 tokens, which is not enough."
        },
    ],
)
async def test_a_refusal_teaches_the_limit_and_the_call_is_made_once_more(
    spec_of: Any, client_of: Any, body: dict[str, Any]
) -> None:
    with ScriptedRunner() as runner:
        runner.pages["/v1/models"] = {"data": [{"id": "tiny"}]}  # it tells nothing
        runner.enqueue(ScriptedReply(fault=Fault("status", status=400, body=body)))
        async with opened(spec_of(runner), client_of=client_of) as client:
            context = await context_of(client, conversation(18))
    assert len(runner.calls) == 2
    assert context["limit"] == 2048
    assert context["dropped_messages"] > 5


async def test_a_refusal_without_numbers_is_answered_with_a_shorter_prompt(
    spec_of: Any, client_of: Any
) -> None:
    said = {"error": "the input length exceeds the context length"}
    with ScriptedRunner(dialect="ollama") as runner:
        ollama(runner, loaded=None)
        runner.enqueue(ScriptedReply(fault=Fault("status", status=400, body=said)))
        spec = spec_of(runner, api="ollama", context_length=8192)
        async with opened(spec, client_of=client_of) as client:
            context = await context_of(client, conversation(18))
    lengths = [len(json.dumps(request.body)) for request in runner.calls]
    assert len(lengths) == 2
    assert lengths[1] < 0.8 * lengths[0]
    assert context["dropped_messages"] > 0


async def test_a_server_that_keeps_refusing_is_asked_twice(spec_of: Any, client_of: Any) -> None:
    body = {"error": {"message": "maximum context length is 2048 tokens", "code": 400}}
    with ScriptedRunner() as runner:
        runner.default = ScriptedReply(fault=Fault("status", status=400, body=body))
        async with opened(spec_of(runner), client_of=client_of) as client:
            with pytest.raises(NoModelReachable, match="longer than the model can read"):
                await client.achat("coding", conversation(18))
    assert len(runner.calls) == 2


# --- Ollama's own API -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loaded", "most", "modelfile", "num_ctx"),
    [
        (None, 131072, "", 8192),  # the stated default
        (None, 2048, "", 2048),  # a model cannot read more than it was made for
        (4096, 131072, "", 8192),  # what Ollama loads by itself is too little
        (32768, 131072, "", 32768),  # it stays loaded as it is
        (None, 131072, "num_ctx 16384", 16384),
    ],
)
async def test_ollama_is_told_a_context_length_and_always_the_same(
    spec_of: Any, client_of: Any, loaded: int | None, most: int, modelfile: str, num_ctx: int
) -> None:
    with ScriptedRunner(dialect="ollama") as runner:
        ollama(runner, loaded, most, modelfile)
        async with opened(spec_of(runner, api="ollama"), client_of=client_of) as client:
            await context_of(client, [HumanMessage("hello")])
            ollama(runner, num_ctx, most, modelfile)
            await context_of(client, conversation(12))
    assert [call.body["options"]["num_ctx"] for call in runner.calls] == [num_ctx] * 2


async def test_two_roles_with_one_ollama_model_do_not_make_it_reload_each_time(
    spec_of: Any, client_of: Any
) -> None:
    with ScriptedRunner(dialect="ollama") as runner:
        ollama(runner, loaded=None)
        one, other = (spec_of(runner, api="ollama", context_length=n) for n in (4096, 8192))
        async with opened(one, client_of=client_of) as client:
            client.stack.models["reasoning"] = [other]
            for role in ("coding", "reasoning", "coding", "reasoning"):
                reply = await client.achat(role, [HumanMessage("hello")])
                limit = reply.response_metadata["context"]["limit"]
                assert limit == {"coding": 4096, "reasoning": 8192}[role]
    told = [call.body["options"]["num_ctx"] for call in runner.calls]
    assert told == [4096, 8192, 8192, 8192]


async def test_ollama_is_told_to_refuse_rather_than_to_cut(spec_of: Any, client_of: Any) -> None:
    with ScriptedRunner(dialect="ollama") as runner:
        spec = spec_of(runner, api="ollama", context_length=4096)
        async with opened(spec, client_of=client_of) as client:
            await context_of(client, [HumanMessage("hello")])
    body = runner.calls[0].body
    assert (body["truncate"], body["shift"]) == (False, False)
    assert body["options"]["num_ctx"] == 4096
    assert "/api/show" not in paths(runner)  # the stack has said it


async def test_ollama_loaded_smaller_by_others_is_no_limit_for_its_own_api(
    spec_of: Any, client_of: Any
) -> None:
    with ScriptedRunner(dialect="ollama") as runner:
        ollama(runner, loaded=2048)
        spec = spec_of(runner, api="ollama", context_length=8192)
        async with opened(spec, client_of=client_of) as client:
            context = await context_of(client, conversation(14))
    assert context["limit"] == 8192
    assert context["dropped_messages"] == 0
