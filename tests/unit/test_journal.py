"""The journal: what was paid for or begun stands in it until it is of no more use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from rolecall.database import DatabaseFile
from rolecall.nodes.journal import TurnJournal
from rolecall.threads.journal import Journal, copy_calls, forget_turns_before
from rolecall.threads.schema import migrations

TURN = ("thread", "turn-1")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[DatabaseFile]:
    opened = DatabaseFile(tmp_path / "threads.db", migrations)
    yield opened
    opened.close()


@pytest.fixture
def journal(file: DatabaseFile) -> Journal:
    return Journal(file)


async def test_an_answer_is_found_again_by_what_was_asked(journal: Journal) -> None:
    odd = {"text": "half a pair \ud83d", "number": 1.5}
    await journal.keep_answer(TURN, "coding/0", "asked", odd)
    assert await journal.answer(TURN, "coding/0", "asked") == odd
    assert await journal.answer(TURN, "coding/0", "asked otherwise") is None
    assert await journal.answer(TURN, "coding/1", "asked") is None
    assert await journal.answer(("thread", "turn-2"), "coding/0", "asked") is None


async def test_an_edited_conversation_is_another_question(journal: Journal) -> None:
    config = {"configurable": {"thread_id": "thread", "turn_id": "turn-1"}}
    turn = {"turn_id": "turn-1", "trace_id": "", "question": "", "started_at": 0.0}
    of_turn = TurnJournal.of(journal, config, turn)  # type: ignore[arg-type]
    asked = [HumanMessage("What is 2 + 2?", id="a"), AIMessage("4", id="b")]
    await of_turn.keep_answer("answer/0", asked, {"text": "4"})
    assert await of_turn.answer("answer/0", asked) == {"text": "4"}
    edited = [HumanMessage("What is 3 + 3?", id="a"), asked[1]]
    assert await of_turn.answer("answer/0", edited) is None
    assert await of_turn.answer("answer/0", asked[:1]) is None


async def test_the_first_end_of_a_call_counts(journal: Journal) -> None:
    await journal.begin_call(TURN, "m/0", "pay", {"amount": 5}, 100.0)
    begun = await journal.call(TURN, "m/0")
    assert begun is not None
    assert (begun.status, begun.arguments, begun.began_at) == ("begun", {"amount": 5}, 100.0)
    journal.end_call(TURN, "m/0", 100.0, "unknown", "too slow").result()
    journal.end_call(TURN, "m/0", 100.0, "success", "late").result()
    ended = await journal.call(TURN, "m/0")
    assert ended is not None
    assert (ended.status, ended.outcome, ended.result) == ("done", "unknown", "too slow")


async def test_the_end_of_an_earlier_attempt_does_not_end_a_later_one(journal: Journal) -> None:
    await journal.begin_call(TURN, "m/0", "pay", {}, 100.0)
    await journal.let_wait(TURN, "m/0")
    await journal.begin_call(TURN, "m/0", "pay", {}, 200.0)
    journal.end_call(TURN, "m/0", 100.0, "success", "of the first attempt").result()
    call = await journal.call(TURN, "m/0")
    assert call is not None
    assert (call.status, call.result) == ("begun", None)


async def test_calls_of_one_message_are_found_without_their_turn(journal: Journal) -> None:
    for key in ("m/0", "m/1", "mm/0"):
        await journal.begin_call(TURN, key, "pay", {}, 100.0)
    assert [call.key for call in await journal.calls_of("thread", "m")] == ["m/0", "m/1"]
    assert await journal.calls_of("another", "m") == []


async def test_a_fork_gets_the_tool_calls_and_not_the_answers(
    journal: Journal, file: DatabaseFile
) -> None:
    await journal.keep_answer(TURN, "coding/0", "asked", {})
    await journal.begin_call(TURN, "m/0", "pay", {}, 100.0)
    fork = ("fork", "turn-1.fork")
    await file.commit(lambda db: copy_calls(db, TURN, fork))
    assert await journal.answer(fork, "coding/0", "asked") is None
    copied = await journal.call(fork, "m/0")
    assert copied is not None
    assert copied.status == "begun"


async def test_what_is_forgotten_is_gone_and_nothing_else(
    journal: Journal, file: DatabaseFile
) -> None:
    def turns(db: object) -> None:
        for number in (1, 2, 3):
            db["turns"].insert(  # type: ignore[index]
                {
                    "turn_id": f"turn-{number}",
                    "thread_id": "thread",
                    "number": number,
                    "question": "?",
                    "status": "done",
                }
            )

    await file.commit(turns)
    for number in (1, 2, 3):
        await journal.begin_call(("thread", f"turn-{number}"), "m/0", "pay", {}, 1.0)
    await journal.begin_call(("other", "turn-9"), "m/0", "pay", {}, 1.0)

    def left() -> list[str]:
        rows = file.submit(lambda db: list(db.query("SELECT turn_id FROM journal")))
        return sorted(row["turn_id"] for row in rows.result())

    await file.commit(lambda db: forget_turns_before(db, "thread", 3))
    assert left() == ["turn-3", "turn-9"]
