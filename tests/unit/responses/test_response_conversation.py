"""Items of the Responses API as the messages that models read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from rolecall.errors import BadInput
from rolecall.models.responses.conversation import messages_from
from rolecall.models.responses.items import items_from, output_items


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def call(identity: str, name: str = "look", arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function_call", "call_id": identity, "name": name, "arguments": arguments}


def result(identity: str, text: str = "seen") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": identity, "output": text}


def messages(*items: dict[str, Any], instructions: str | None = None) -> list[Any]:
    return messages_from(items_from(items), instructions)


def test_a_text_is_a_user_message() -> None:
    (message,) = messages_from(items_from("Hello"))
    assert isinstance(message, HumanMessage)
    assert message.content == "Hello"


def test_instructions_and_leading_system_messages_become_one() -> None:
    said = messages(
        {"role": "system", "content": "Be kind."},
        {"role": "developer", "content": "Be brief."},
        user("Hi"),
        {"role": "system", "content": "Now in Latin."},
        instructions="Be true.",
    )
    assert [type(m) for m in said] == [SystemMessage, HumanMessage, SystemMessage]
    assert said[0].content == "Be true.\n\nBe kind.\n\nBe brief."


def test_one_answer_is_one_message_whatever_its_items() -> None:
    said = messages(
        user("?"),
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": "I look."},
        call("a"),
        call("b", arguments='{"x": 1}'),
        result("b", "two"),
        result("a", "one"),
    )
    assert [type(m) for m in said] == [HumanMessage, AIMessage, ToolMessage, ToolMessage]
    assert said[1].text == "I look."
    assert said[1].additional_kwargs == {"reasoning_content": "hm"}
    assert [(c["id"], c["args"]) for c in said[1].tool_calls] == [("a", {}), ("b", {"x": 1})]
    assert [(m.tool_call_id, m.content) for m in said[2:]] == [("a", "one"), ("b", "two")]


def test_an_id_may_come_again_in_a_later_round() -> None:
    said = messages(user("?"), call("0"), result("0", "one"), call("0"), result("0", "two"))
    assert [m.content for m in said if isinstance(m, ToolMessage)] == ["one", "two"]


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ("{'a': 1,}", {"a": 1}),
        ("", {}),
        ("look here", {"unreadable": "look here"}),
        ("[1]", {"unreadable": "[1]"}),
    ],
)
def test_arguments_that_are_no_object_go_out_as_one(arguments: str, read: dict[str, Any]) -> None:
    said = messages(user("?"), call("a", arguments=arguments), result("a"))
    assert said[1].tool_calls[0]["args"] == read


def test_images_and_texts_become_blocks() -> None:
    parts = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"},
    ]
    (message,) = messages({"role": "user", "content": parts})
    assert message.content == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
    ]


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([{"type": "web_search_call"}], r"input\[0\] is of type 'web_search_call'"),
        ([user("a"), {"role": "tool", "content": "x"}], r"input\[1\]: role 'tool'"),
        (["hello"], r"input\[0\] is a str"),
        ([user(None)], r"input\[0\]\.content is neither"),  # type: ignore[arg-type]
        ([{"role": "user", "content": [{"type": "input_audio"}]}], r"content\[0\].*input_audio"),
        ([{"type": "function_call", "name": "x"}], "needs 'call_id'"),
        ([user("a") | {"at": object()}], "not plain JSON"),
        ([result("x")], "answers no function_call"),
        ([call("x"), call("x"), result("x")], "two function_calls"),
        ([call("x"), call("y"), result("x")], "no function_call_output for the function_call 'y'"),
        ([call("x"), result("x"), result("x")], "answers no function_call"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(items: list[Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        messages_from(items_from(items))


def test_calls_that_could_not_be_read_are_items_as_they_stand() -> None:
    broken = {"name": "look", "args": '{"a": ', "id": "b", "error": None}
    reply = AIMessage("", tool_calls=[], invalid_tool_calls=[broken])  # type: ignore[list-item]
    (item,) = output_items(reply)
    assert (item["call_id"], item["arguments"]) == ("b", '{"a": ')


# --- any conversation -----------------------------------------------------------------------------

TEXT = st.text(max_size=8)


@st.composite
def rounds(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Answers with calls, their results in any order and anywhere before the next answer."""
    items: list[dict[str, Any]] = [user("start")]
    for number in range(draw(st.integers(0, 4))):
        names = [f"{number}.{n}" for n in range(draw(st.integers(0, 3)))]
        if draw(st.booleans()):
            items.append({"type": "reasoning", "summary": [], "content": draw(TEXT)})
        if draw(st.booleans()):
            items.append({"role": "assistant", "content": draw(TEXT)})
        items += [call(name) for name in names]
        after = [result(name, f"of {name}") for name in names] + [user(draw(TEXT))]
        items += draw(st.permutations(after))
    return items


@given(rounds())
def test_each_result_stands_right_behind_its_call_and_nothing_is_lost(
    items: list[dict[str, Any]],
) -> None:
    said = messages_from(items_from(items))
    expected: list[str] = []
    for message in said:
        if isinstance(message, ToolMessage):
            assert message.tool_call_id == expected.pop(0)
            assert message.content == f"of {message.tool_call_id}"
        else:
            assert expected == []
            calls = message.tool_calls if isinstance(message, AIMessage) else []
            expected = [str(c["id"]) for c in calls]
    assert expected == []
    spoken = [i["content"] for i in items if i.get("role") == "user"]
    assert [m.content for m in said if isinstance(m, HumanMessage)] == spoken
    assert sum(len(m.tool_calls) for m in said if isinstance(m, AIMessage)) == sum(
        i.get("type") == "function_call" for i in items
    )


@given(
    st.text(max_size=20),
    st.text(max_size=20),
    st.lists(st.dictionaries(TEXT, TEXT | st.integers(), max_size=2), max_size=3),
)
def test_a_reply_comes_back_as_the_message_it_was(
    text: str, reasoning: str, calls: list[dict[str, Any]]
) -> None:
    reply = AIMessage(
        text,
        additional_kwargs={"reasoning_content": reasoning} if reasoning else {},
        tool_calls=[{"name": "look", "args": a, "id": f"c{n}"} for n, a in enumerate(calls)],
    )
    output = json.loads(json.dumps(output_items(reply)))
    results = [result(f"c{n}") for n in range(len(calls))]
    back = messages_from(items_from([*output, *results]))
    if not text and not calls:
        assert back == []
        return
    assert back[0].text == text
    assert back[0].tool_calls == reply.tool_calls  # type: ignore[attr-defined]
    assert back[0].additional_kwargs == reply.additional_kwargs
