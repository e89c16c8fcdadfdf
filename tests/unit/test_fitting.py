"""Conversations brought down to a number of tokens: what may go, and what never does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from rolecall.models.fitting import DoesNotFit, Fitted, fit

_TEXT = st.integers(min_value=0, max_value=3000).map(lambda n: "word " * (n // 5))


@st.composite
def _turn(draw: st.DrawFn) -> list[BaseMessage]:
    turn: list[BaseMessage] = [HumanMessage(draw(_TEXT))]
    for round_ in range(draw(st.integers(0, 2))):
        ids = [f"{id(turn)}-{round_}-{n}" for n in range(draw(st.integers(1, 3)))]
        calls = [{"name": "look", "args": {}, "id": one} for one in ids]
        turn.append(AIMessage(draw(_TEXT), tool_calls=calls))
        turn += [ToolMessage(draw(_TEXT), tool_call_id=one) for one in ids]
    if draw(st.booleans()):
        turn.append(AIMessage(draw(_TEXT)))
    return turn


@st.composite
def _conversation(draw: st.DrawFn) -> list[BaseMessage]:
    messages: list[BaseMessage] = []
    if draw(st.booleans()):
        messages.append(SystemMessage(draw(_TEXT)))
    if draw(st.booleans()):
        messages.append(AIMessage("welcome"))
    for turn in draw(st.lists(_turn(), min_size=1, max_size=6)):
        messages += turn
        if draw(st.integers(0, 5)) == 0:
            messages.append(SystemMessage("note"))
    return messages


def _tokens(message: BaseMessage) -> float:
    return 8 + len(message.text) / 3


def _fit(messages: list[BaseMessage], room: float) -> Fitted | None:
    try:
        return fit(messages, room, _tokens)
    except DoesNotFit:
        return None


@given(_conversation(), st.floats(0, 4000))
def test_what_comes_out_fits_or_nothing_does(messages: list[BaseMessage], room: float) -> None:
    fitted = _fit(messages, room)
    if fitted is None:
        start = max(i for i, m in enumerate(messages) if isinstance(m, HumanMessage))
        needed = [m for m in messages[start:] if not isinstance(m, ToolMessage)]
        needed += [m for m in messages[:start] if isinstance(m, SystemMessage)]
        results = [m for m in messages[start:] if isinstance(m, ToolMessage)]
        shortest = sum(min(_tokens(m), _tokens(HumanMessage("x" * 240))) for m in results)
        assert sum(map(_tokens, needed)) + shortest > room
    else:
        assert sum(map(_tokens, fitted.messages)) <= room


@given(_conversation(), st.floats(0, 4000))
def test_system_messages_and_the_newest_user_message_are_never_lost(
    messages: list[BaseMessage], room: float
) -> None:
    if fitted := _fit(messages, room):
        system = [m for m in messages if isinstance(m, SystemMessage)]
        assert [m for m in fitted.messages if isinstance(m, SystemMessage)] == system
        newest = [m for m in messages if isinstance(m, HumanMessage)][-1]
        assert [m for m in fitted.messages if isinstance(m, HumanMessage)][-1] is newest


@given(_conversation(), st.floats(0, 4000))
def test_the_order_is_kept_and_only_whole_old_turns_go(
    messages: list[BaseMessage], room: float
) -> None:
    if fitted := _fit(messages, room):
        others = [m for m in messages if not isinstance(m, SystemMessage)]
        left = [m for m in fitted.messages if not isinstance(m, SystemMessage)]
        assert len(others) - len(left) == fitted.dropped
        tail = others[fitted.dropped :]
        assert [type(m) for m in left] == [type(m) for m in tail]
        if fitted.dropped:
            assert isinstance(left[0], HumanMessage)
        same = [new is old for new, old in zip(left, tail, strict=True)]
        assert same.count(False) == fitted.shortened


@given(_conversation(), st.floats(0, 4000))
def test_a_tool_call_and_its_results_stay_together(
    messages: list[BaseMessage], room: float
) -> None:
    if fitted := _fit(messages, room):
        called = [c["id"] for m in fitted.messages for c in getattr(m, "tool_calls", [])]
        answered = [m.tool_call_id for m in fitted.messages if isinstance(m, ToolMessage)]
        assert called == answered


@given(_conversation(), st.floats(0, 4000))
def test_results_are_cut_only_where_no_older_turn_is_left(
    messages: list[BaseMessage], room: float
) -> None:
    if (fitted := _fit(messages, room)) and fitted.shortened:
        assert sum(isinstance(m, HumanMessage) for m in fitted.messages) == 1


def test_a_long_result_keeps_its_beginning_and_its_end() -> None:
    call = {"name": "look", "args": {}, "id": "1"}
    text = "BEGIN " + "x" * 9000 + " END"
    messages = [
        HumanMessage("what?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage(text, tool_call_id="1"),
    ]
    fitted = fit(messages, 500, _tokens)
    result = fitted.messages[-1].text
    assert result.startswith("BEGIN")
    assert result.endswith("END")
    assert "characters left out here" in result
    assert 350 < sum(map(_tokens, fitted.messages)) <= 500
    assert messages[-1].text == text  # the caller's own message stays as it is


def test_the_error_says_by_how_much_and_what_is_largest() -> None:
    messages = [SystemMessage("s"), HumanMessage("x" * 3000)]
    with pytest.raises(DoesNotFit) as caught:
        fit(messages, 500, _tokens)
    assert 510 < caught.value.over < 530
    assert caught.value.largest is messages[1]
