"""The tool ``recall``: what it finds and how much of it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rolecall.database import DatabaseFile
from rolecall.errors import ConfigError
from rolecall.memory.history import ThreadHistory
from rolecall.threads.schema import migrations
from rolecall.threads.transcript import Transcript
from rolecall.tools.recall import EarlierTurn
from rolecall.tools.registry import load_tools, select_tools

CONFIG: Any = {"configurable": {"thread_id": "t"}}


class Nothing:
    async def search(self, thread_id: str, text: str, limit: int) -> list[EarlierTurn]:
        return []


@pytest.fixture
async def history(tmp_path: Path) -> Any:
    file = DatabaseFile(tmp_path / "threads.db", migrations)
    transcript = Transcript(file)
    said = [
        ("t", "My budgets for Lisbon are 1200 euros.", "Noted."),
        ("t", "What about the weather? " * 200, "It rains. " * 200 + "Umbrella needed."),
        ("t", "Colour of the boat", "Blue, the boat is blue."),
        ("u", "My budget for Oslo is 5 euros.", "Noted."),
    ]
    for number, (thread, question, answer) in enumerate(said):
        await transcript.accept(thread, f"turn{number}", "trace", question)
        await transcript.finish(f"turn{number}", "done", {"answer": answer})
    await transcript.accept("t", "running", "trace", "What was my budget for Lisbon?")
    yield file
    file.close()


async def test_any_word_finds_a_turn_and_word_endings_do_not_matter(history: Any) -> None:
    found = await ThreadHistory(history).search("t", "the budget of Madrid?", 3)
    assert [turn.number for turn in found] == [1]


async def test_the_question_being_answered_is_not_found(history: Any) -> None:
    found = await ThreadHistory(history).search("t", "budget Lisbon", 3)
    assert [turn.question for turn in found] == ["My budgets for Lisbon are 1200 euros."]


async def test_another_threads_turns_are_found_only_where_that_is_set(history: Any) -> None:
    assert await ThreadHistory(history).search("t", "Oslo", 3) == []
    (found,) = await ThreadHistory(history, all_threads=True).search("t", "Oslo", 3)
    assert (found.thread, found.number) == ("u", 1)


@pytest.mark.parametrize("text", ["", "the of and", '"', "* OR (", "NEAR(", "\x00 🙂", "a" * 5000])
async def test_any_text_may_be_looked_for(history: Any, text: str) -> None:
    assert await ThreadHistory(history).search("t", text, 3) == []


async def test_what_is_shown_is_short_and_around_the_match(history: Any) -> None:
    tool = load_tools(Path.cwd(), None, ThreadHistory(history))["recall"]
    shown = await tool.ainvoke({"query": "umbrella"}, CONFIG)
    assert "Umbrella needed." in shown
    assert shown.startswith("[turn 2, 20")
    assert len(shown) < 1200


async def test_models_are_told_of_the_query_alone() -> None:
    tool = load_tools(Path.cwd(), None, Nothing())["recall"]
    assert list(tool.args) == ["query"]
    assert "words" in tool.args["query"]["description"]
    assert "Nothing earlier" in await tool.ainvoke({"query": "boat"}, CONFIG)
    assert await tool.ainvoke({"query": "boat"}) == "There are no earlier messages."


def test_where_no_threads_are_kept_a_role_that_names_it_does_without() -> None:
    tools = load_tools(Path.cwd())
    assert "recall" not in tools
    found = select_tools(tools, ["clock", "recall"], role_is_router=False)
    assert [tool.name for tool in found] == ["clock"]
    with pytest.raises(ConfigError):
        select_tools(tools, ["recal"], role_is_router=False)
