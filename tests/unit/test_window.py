"""The window: what leaves it when it is full."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from rolecall.models.token_counts import TokenEstimator, total
from rolecall.nodes.window import bound


def turn(number: int, size: int = 400) -> list[AnyMessage]:
    return [
        HumanMessage(f"question {number} " + "q" * size, id=f"q{number}"),
        AIMessage(f"answer {number} " + "a" * size, id=f"a{number}"),
    ]


def tokens(messages: list[AnyMessage]) -> int:
    return TokenEstimator().likely(("", ""), total(messages))


def after(messages: list[AnyMessage], max_tokens: int) -> list[AnyMessage]:
    changes = {m.id: m for m in bound(messages, max_tokens).changes}
    kept = [changes.get(m.id, m) for m in messages]
    return [m for m in kept if m.type != "remove"]


def test_nothing_leaves_while_all_fits() -> None:
    messages = [*turn(1), *turn(2)]
    found = bound(messages, tokens(messages) + 4)
    assert (found.changes, found.left) == ([], [])


def test_whole_turns_leave_oldest_first_until_a_quarter_is_free() -> None:
    messages = [m for n in range(10) for m in turn(n)]
    found = bound(messages, 2000)
    kept = after(messages, 2000)
    assert [m.id for m in found.left] == [m.id for m in messages[: len(found.left)]]
    assert [m.id for m in kept] == [m.id for m in messages[len(found.left) :]]
    assert kept[0].type == "human"
    assert 1000 < tokens(kept) <= 1500
    assert bound([*kept, *turn(10)], 2000).changes == []  # the next prompt begins as this one


def test_a_tools_result_leaves_with_its_call() -> None:
    called = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}], id="c")
    result = ToolMessage("r" * 4000, tool_call_id="1", id="r")
    messages = [HumanMessage("q", id="q0"), called, result, *turn(1)]
    assert [m.id for m in bound(messages, 500).left] == ["q0", "c", "r"]
    assert [m.id for m in after(messages, 500)] == ["q1", "a1"]


@pytest.mark.parametrize("letter", ["x", "雨"])
def test_of_a_turn_longer_than_the_window_the_longest_text_is_cut(letter: str) -> None:
    messages: list[AnyMessage] = [
        *turn(1),
        HumanMessage("BEGIN " + letter * 9000 + " END", id="q2"),
        AIMessage("short answer", id="a2"),
    ]
    kept = after(messages, 500)
    assert [m.id for m in kept] == ["q2", "a2"]
    assert kept[1].text == "short answer"
    assert kept[0].text.startswith("BEGIN ")
    assert kept[0].text.endswith(" END")
    assert "characters …]" in kept[0].text
    assert 300 < tokens(kept) <= 520
