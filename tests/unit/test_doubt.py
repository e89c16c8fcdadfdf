"""An answer of the fast path that is in doubt is given to the reasoning model, once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from rolecall.assistant import Assistant
from rolecall.database import DatabaseFile
from rolecall.errors import ContextTooLong, RolecallError
from rolecall.models.reply import ReplyBuilder, final
from rolecall.models.scripted import Request, ScriptedReply, ScriptedRunner
from rolecall.nodes.doubt import Bar
from rolecall.telemetry.schema import migrations
from rolecall.telemetry.traces import Traces

BAR = Bar(least_logprob=-1.0, hedging=True)
ENCODER = {"routing": {"strategy": "encoder"}}
UNSURE = ScriptedReply("four words of answer", logprobs={"four": -8.0})  # the others: 0
SURE = ScriptedReply("four words of answer", logprobs={"four": -0.4})


def said(text: str, mean: float | None = None, tokens: int | None = None) -> AIMessage:
    usage = {"input_tokens": 1, "output_tokens": tokens, "total_tokens": 1 + (tokens or 0)}
    return AIMessage(
        content=text,
        response_metadata={} if mean is None else {"mean_logprob": mean},
        usage_metadata=usage if tokens is not None else None,
    )


# --- the bar ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bar", [Bar(), BAR])
@pytest.mark.parametrize("text", ["", "  ", "\n\t\n"])
def test_an_empty_answer_may_never_stand(bar: Bar, text: str) -> None:
    assert "empty" in (bar.doubt(said(text)) or "")


HEDGES = [
    "I don't know.",
    "I don’t know the answer to that.",
    "I do not know.",
    "I dont know",
    "I'm not sure.",
    "I am not sure, but it may be Paris.",
    "I’m unsure.",
    "I am not certain about this.",
    "I'm not able to help with that.",
    "I am unable to answer.",
    "I'm sorry, but I can't do that.",
    "I am sorry, I cannot say.",
    "Sorry, I can't help you with that.",
    "I cannot provide an opinion.",
    "I can't assist with this request.",
    "I can't say for sure.",
    "I don't have access to the internet.",
    "I do not have enough information.",
    "As an AI language model, I have no opinions.",
    "Well...\n\nI DON'T KNOW",
    "Ich weiß nicht.",
    "Das ist schwer; ich weiss es nicht.",
    "Ich bin mir nicht sicher.",
    "Ich kann Ihnen nicht helfen.",
    "Je ne sais pas.",
    "Je ne peux pas répondre.",
    "Je ne suis pas sûr.",
    "No sé.",
    "No lo sé, lo siento.",
    "No estoy segura.",
    "No puedo responder.",
    "Não sei.",
    "Nao posso ajudar.",
    "Não tenho certeza.",
    "Non lo so.",
    "Non sono sicuro.",
    "Non posso rispondere.",
]
ANSWERS = [
    "Paris.",
    "4",
    "Yes!",
    "Hello! How can I help you today?",
    "You can be sure of that.",
    "I know: it is Oslo.",
    "I can help with that.",
    "I have access to a clock.",
    "We do not know who built it.",
    "The answer is unknown to science.",
    "He said he was not sure.",
    "Ich weiß es: Oslo.",
    "Je sais: c'est Oslo.",
    "No se preocupe, todo está bien.",
    "No se puede dividir entre cero.",
    "Nonsense rhymes with fence.",
]


@pytest.mark.parametrize("text", HEDGES)
def test_an_answer_that_does_not_know_may_not_stand(text: str) -> None:
    assert BAR.doubt(said(text)) == "the router model's own answer was that it does not know"
    assert Bar(least_logprob=-1.0).doubt(said(text)) is None


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_stands(text: str) -> None:
    assert BAR.doubt(said(text)) is None


def test_a_long_answer_that_mentions_uncertainty_stands() -> None:
    long = "The tower was built in 1889. I'm not sure who painted it. " + "It is tall. " * 40
    assert BAR.doubt(said(long)) is None
    assert BAR.doubt(said(long[:58])) is not None


@pytest.mark.parametrize(
    ("least", "mean", "tokens", "doubted"),
    [
        (-1.0, -1.2, 10, True),
        (-1.0, -0.8, 10, False),
        (-1.0, -1.0, 10, False),
        (-2.0, -1.2, 10, False),
        (None, -9.0, 10, False),
        (-1.0, None, 10, False),
        (-1.0, -9.0, 2, False),
        (-1.0, -9.0, 3, True),
        (-1.0, -9.0, None, True),
    ],
)
def test_an_answer_must_be_likely_enough_to_its_own_model(
    least: float | None, mean: float | None, tokens: int | None, doubted: bool
) -> None:
    found = Bar(least_logprob=least).doubt(said("An answer.", mean, tokens))
    assert (found is not None) is doubted
    if found is not None:
        assert f"mean log-probability {mean:.2f}, at least {least:.2f} wanted" in found


# --- the mean log-probability -----------------------------------------------------------------


def mean_of(*infos: dict[str, Any]) -> Any:
    builder = ReplyBuilder({})
    chunks = [
        chunk
        for info in infos
        for chunk in builder.feed(
            ChatGenerationChunk(message=AIMessageChunk(content="x"), generation_info=info)
        )
    ]
    return final([*chunks, *builder.close()]).response_metadata.get("mean_logprob")


def test_the_mean_is_over_all_tokens() -> None:
    chunks = [{"logprobs": {"content": [{"token": "x", "logprob": v}]}} for v in (-1.0, -2.0, 0.0)]
    assert mean_of(*chunks) == pytest.approx(-1.0)
    listed = {"logprobs": [{"token": "x", "logprob": -1.0}, {"token": "y", "logprob": -3}]}
    assert mean_of(listed) == pytest.approx(-2.0)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        [],
        {"content": None},
        {"content": [None, "x"]},
        [{"token": "x"}],
        [{"logprob": None}],
        [{"logprob": "-1"}],
        [{"logprob": float("nan")}, {"logprob": float("-inf")}],
        "-1.0",
    ],
)
def test_without_usable_log_probabilities_there_is_no_mean(logprobs: Any) -> None:
    assert mean_of({"logprobs": logprobs}) is None


# --- a whole turn -----------------------------------------------------------------------------


@pytest.fixture
def traces(rolecall_home: Any) -> Iterator[Traces]:
    file = DatabaseFile(rolecall_home / "telemetry.db", migrations)
    yield Traces(file)
    file.close()


def asked(runner: ScriptedRunner) -> list[str]:
    """The models that were asked for an answer, in order."""
    return [call.model for call in runner.calls if call.messages and call.top_logprobs <= 1]


@pytest.mark.parametrize("first", ["I'm not sure.", UNSURE], ids=["hedge", "log-probability"])
def test_an_answer_in_doubt_is_given_to_reasoning(
    assistant: Assistant,
    brain: Any,
    runner: ScriptedRunner,
    said_to: Any,
    turns: Any,
    traces: Traces,
    first: Any,
) -> None:
    brain.say(first, "It is Oslo.")
    parts = list(assistant.stream("What is the capital of Norway?", thread="t"))
    reply = parts[-1].data["reply"]
    assert (reply.text, reply.strategy) == ("It is Oslo.", "escalation")
    assert reply.path == ["init", "router", "answer", "reasoning", "synthesis"]
    assert reply.decision["target_model"] == "REASONING"
    assert "the router model" in reply.decision["reason"]
    (replaced,) = [part for part in parts if part.type == "replaced"]
    assert replaced.text == ""
    assert replaced.data["why"] == reply.decision["reason"]
    assert asked(runner) == ["router-model", "reasoning-model"]
    assert said_to(runner.calls[-1]) == [("user", "What is the capital of Norway?")]
    assert turns(assistant, "t")[0]["answer"] == "It is Oslo."
    assistant.flush()
    decisions = traces.show(reply.trace_id)["decisions"]
    assert [one["strategy"] for one in decisions] == ["llm", "escalation"]
    assert [one["target_model"] for one in decisions] == [None, "REASONING"]


def test_the_next_turn_does_not_see_the_answer_that_was_replaced(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, said_to: Any
) -> None:
    brain.say("I don't know.", "It is Oslo.", "Bergen.")
    assistant.ask("The capital?", thread="t")
    assert assistant.ask("And the second city?", thread="t").strategy == "llm"
    assert said_to(runner.calls[-1]) == [
        ("user", "The capital?"),
        ("assistant", "It is Oslo."),
        ("user", "And the second city?"),
    ]


@pytest.mark.parametrize("second", ["I don't know either.", UNSURE])
def test_it_is_given_on_only_once(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, second: Any
) -> None:
    brain.say("I don't know.", second)
    reply = assistant.ask("Why?")
    assert reply.text in {"I don't know either.", "four words of answer"}
    assert asked(runner) == ["router-model", "reasoning-model"]


@pytest.mark.parametrize("first", ["Oslo.", SURE])
def test_a_sure_answer_stands(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, first: Any
) -> None:
    brain.say(first)
    reply = assistant.ask("What is the capital of Norway?")
    assert reply.path == ["init", "router", "answer", "synthesis"]
    assert reply.strategy == "llm"
    assert asked(runner) == ["router-model"]


@pytest.mark.parametrize("route", ["REASONING", "CODING"])
def test_a_specialist_may_be_in_doubt(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, route: str
) -> None:
    brain.route = route
    brain.say("I'm not sure.")
    assert assistant.ask("Why?").text == "I'm not sure."
    assert asked(runner) == [f"{route.lower()}-model"]
    assert not runner.calls[-1].body.get("logprobs")


def test_an_answer_after_a_tool_call_is_weighed_too(opened: Any, brain: Any) -> None:
    call = ScriptedReply(tool_calls=[{"name": "count", "args": {"label": "a"}}])
    brain.say(call, "I'm not sure.", "Counted.")
    with opened(tools=["count"]) as one:
        reply = one.ask("Count")
    assert (reply.text, reply.strategy) == ("Counted.", "escalation")
    assert reply.path[2:] == ["answer", "tool_runner", "answer", "reasoning", "synthesis"]


@pytest.mark.parametrize("first", ["I'm not sure.", UNSURE])
def test_the_same_model_is_not_asked_again(
    opened: Any, brain: Any, runner: ScriptedRunner, first: Any
) -> None:
    brain.say(first)
    with opened(id="router-model") as one:
        reply = one.ask("Why?")
    assert reply.path == ["init", "router", "answer", "synthesis"]
    assert asked(runner) == ["router-model"]
    assert not runner.calls[-1].body.get("logprobs")


def test_the_same_model_is_asked_again_after_an_empty_answer(opened: Any, brain: Any) -> None:
    brain.say("", "Because.")
    with opened(id="router-model") as one:
        reply = one.ask("Why?")
    assert (reply.text, reply.strategy) == ("Because.", "escalation")


def test_log_probabilities_can_be_left_out_of_it(
    opened: Any, brain: Any, runner: ScriptedRunner
) -> None:
    with opened({"routing": {"escalate_below": None}}) as one:
        brain.say(UNSURE)
        assert one.ask("Why?").strategy == "llm"
        assert not runner.calls[-1].body.get("logprobs")
        brain.say("I don't know.", "Because.")
        assert one.ask("Why?").strategy == "escalation"


def test_the_bar_is_set_by_the_settings(opened: Any, brain: Any) -> None:
    with opened({"routing": {"escalate_below": -3.0}}) as one:
        brain.say(UNSURE)
        assert one.ask("Why?").strategy == "llm"


def test_who_chose_the_router_role_gets_its_answer(
    assistant: Assistant, brain: Any, runner: ScriptedRunner
) -> None:
    brain.say("I don't know.")
    reply = assistant.ask("Why?", role="router")
    assert (reply.text, reply.strategy) == ("I don't know.", "fixed")
    assert not runner.calls[-1].body.get("logprobs")


def test_an_answer_in_doubt_stands_when_nobody_better_can_be_reached(
    stack_file: Any, brain: Any, runner: ScriptedRunner
) -> None:
    path = stack_file(runner)
    stack = yaml.safe_load(path.read_text())
    for role in ("reasoning", "coding"):
        stack["models"][role]["endpoint"] = "http://127.0.0.1:9"
    path.write_text(yaml.safe_dump(stack))
    brain.say("I don't know.")
    with Assistant.open(path) as one:
        parts = list(one.stream("Why?"))
    reply = parts[-1].data["reply"]
    assert (reply.text, reply.finish_reason) == ("I don't know.", "stop")
    assert [p.text for p in parts if p.type == "replaced"] == ["", "I don't know."]


def test_a_runner_that_refuses_log_probabilities_is_asked_without(
    stack_for: Any, runner: ScriptedRunner
) -> None:
    def refuses(request: Request) -> ScriptedReply:
        refused = request.body.get("logprobs")
        return ScriptedReply("hello", fault=400 if refused else None)

    runner.default = refuses
    with Assistant.open(stack_for(runner, ENCODER)) as one:
        assert [one.ask("hi there").text for _ in range(2)] == ["hello", "hello"]
    asked = [bool(call.body.get("logprobs")) for call in runner.calls]
    assert asked == [True, False, False]


@pytest.mark.parametrize("api", ["chat_completions", "responses", "ollama"])
def test_every_api_tells_how_sure_the_answer_was(stack_for: Any, api: str) -> None:
    models = ["router-model", "reasoning-model", "coding-model"]
    with ScriptedRunner(models, "ollama" if api == "ollama" else "openai") as runner:
        runner.enqueue(SURE, UNSURE, "Because.")
        with Assistant.open(stack_for(runner, ENCODER, api=api)) as one:
            assert one.ask("hi there").strategy == "encoder"
            reply = one.ask("hi there")
    assert (reply.text, reply.strategy) == ("Because.", "escalation")


def test_what_was_replaced_is_not_left_when_reasoning_breaks(
    assistant: Assistant, brain: Any, runner: ScriptedRunner
) -> None:
    def breaks(request: Request) -> ScriptedReply:
        return ScriptedReply("half an answer", fault="cut_stream")

    brain.say("I don't know.", breaks, breaks)
    with pytest.raises(RolecallError) as caught:
        assistant.ask("Why?", thread="t")
    assert caught.value.reply is not None
    assert caught.value.reply.text == "half"
    brain.answers.clear()
    brain.say("Because.")
    reply = assistant.resume("t")
    assert (reply.text, reply.strategy) == ("Because.", "escalation")


def _small(stack_file: Any, runner: ScriptedRunner, *roles: str) -> Any:
    """The stack file, the models of some roles with little context."""
    path = stack_file(runner)
    stack = yaml.safe_load(path.read_text())
    for role in roles:
        stack["models"][role]["context_length"] = 1500
    path.write_text(yaml.safe_dump(stack))
    return path


def test_what_the_router_model_cannot_read_is_given_to_reasoning(
    stack_file: Any, brain: Any, runner: ScriptedRunner
) -> None:
    brain.say("It is long.")
    with Assistant.open(_small(stack_file, runner, "router")) as one:
        reply = one.ask("How long is this? " + "lorem ipsum " * 900)
    assert (reply.text, reply.strategy) == ("It is long.", "escalation")
    assert reply.path == ["init", "router", "answer", "reasoning", "synthesis"]
    assert "too long for the router model" in reply.decision["reason"]
    assert runner.calls[-1].model == "reasoning-model"


def test_what_nobody_can_read_is_an_error_after_reasoning_was_tried(
    stack_file: Any, brain: Any, runner: ScriptedRunner
) -> None:
    path = _small(stack_file, runner, "router", "reasoning", "coding")
    with Assistant.open(path) as one, pytest.raises(ContextTooLong, match="reasoning-model"):
        one.ask("How long is this? " + "lorem ipsum " * 900)


def test_who_chose_a_router_role_that_cannot_read_so_much_is_told(
    stack_file: Any, runner: ScriptedRunner
) -> None:
    path = _small(stack_file, runner, "router")
    with Assistant.open(path) as one, pytest.raises(ContextTooLong, match="router-model"):
        one.ask("How long is this? " + "lorem ipsum " * 900, role="router")
