"""The transcript keeps every turn whole: pages, search, forks, deletion."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rolecall.database import DatabaseFile
from rolecall.errors import UnknownThread, UsageError
from rolecall.threads.schema import migrations
from rolecall.threads.transcript import Transcript, check_thread_id


@pytest.fixture
def transcript(tmp_path: Path) -> Iterator[Transcript]:
    file = DatabaseFile(tmp_path / "threads.db", migrations)
    yield Transcript(file)
    file.close()


async def add(transcript: Transcript, thread: str, question: str, answer: str | None = None) -> str:
    known = await transcript.turns(thread, 10**6) if await transcript.exists(thread) else []
    turn_id = f"{thread}-{len(known) + 1}"
    await transcript.accept(thread, turn_id, f"trace-{turn_id}", question)
    if answer is not None:
        await transcript.finish(turn_id, "done", {"answer": answer})
    return turn_id


# --- one turn -------------------------------------------------------------------------------------


async def test_a_question_is_on_disk_before_anything_is_done(transcript: Transcript) -> None:
    accepted = await transcript.accept("t", "turn", "trace", "Why?", "coding")
    assert accepted.number == 1
    assert await transcript.unfinished("t") == accepted
    (turn,) = await transcript.turns("t")
    assert (turn["status"], turn["answer"], turn["requested_role"]) == ("running", None, "coding")


async def test_a_finished_turn_has_its_answer_and_decision(transcript: Transcript) -> None:
    turn_id = await add(transcript, "t", "Why?")
    decision = {"routing_decision": "HANDLE", "reason": "ß ☂"}
    await transcript.finish(turn_id, "done", {"answer": "So.", "decision": decision})
    (turn,) = await transcript.turns("t")
    assert (turn["answer"], turn["decision"], turn["status"]) == ("So.", decision, "done")
    assert turn["finished_at"] >= turn["created_at"]
    assert await transcript.unfinished("t") is None


async def test_what_is_done_stays_done(transcript: Transcript) -> None:
    """Ctrl-C between the answer and the end of the run must not take the answer back."""
    turn_id = await add(transcript, "t", "Why?", "So.")
    await transcript.finish(turn_id, "interrupted", {"error": "interrupted"})
    (turn,) = await transcript.turns("t")
    assert (turn["status"], turn["error"]) == ("done", None)


async def test_an_answer_clears_the_error_of_the_try_before(transcript: Transcript) -> None:
    turn_id = await add(transcript, "t", "Why?")
    await transcript.finish(turn_id, "failed", {"error": "the runner was down"})
    assert (await transcript.turns("t"))[0]["error"] == "the runner was down"
    assert await transcript.unfinished("t") is not None
    await transcript.finish(turn_id, "done", {"answer": "So."})
    assert (await transcript.turns("t"))[0]["error"] is None


@pytest.mark.parametrize("good", ["t", "T-1", "a.b_c", "x" * 64, "9"])
def test_names_of_threads(good: str) -> None:
    assert check_thread_id(good) == good


@pytest.mark.parametrize(
    "bad", ["", " ", "a b", "../a", "a/b", ".hidden", "-x", "x" * 65, "ä", "a\n", "a\x00"]
)
def test_what_cannot_name_a_thread(bad: str) -> None:
    with pytest.raises(UsageError, match="cannot name a thread"):
        check_thread_id(bad)


# --- pages ----------------------------------------------------------------------------------------


async def test_turns_come_in_pages_from_the_end(transcript: Transcript) -> None:
    for number in range(1, 8):
        await add(transcript, "t", f"q{number}", "a")

    async def page(**more: Any) -> list[int]:
        return [turn["number"] for turn in await transcript.turns("t", **more)]

    assert await page() == [1, 2, 3, 4, 5, 6, 7]
    assert await page(limit=3) == [5, 6, 7]
    assert await page(limit=3, before=5) == [2, 3, 4]
    assert await page(limit=3, before=2) == [1]
    assert await page(limit=3, before=1) == []
    with pytest.raises(UnknownThread, match="'nobody'"):
        await transcript.turns("nobody")


async def test_threads_come_last_used_first(transcript: Transcript) -> None:
    for thread in ("a", "b", "c"):
        await add(transcript, thread, f"question of {thread}", "a")
    await add(transcript, "a", "again")
    threads = await transcript.threads()
    assert [t["thread_id"] for t in threads] == ["a", "c", "b"]
    assert (threads[0]["turns"], threads[0]["status"]) == (2, "running")
    assert threads[0]["title"] == "question of a"
    assert [t["thread_id"] for t in await transcript.threads(1, 1)] == ["c"]
    assert await transcript.threads(10, 3) == []


async def test_a_clock_that_jumps_back_changes_no_order(
    transcript: Transcript, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(1_000_000, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    for thread in ("a", "b", "a", "c"):
        await add(transcript, thread, f"question of {thread}", "a")
    assert [t["thread_id"] for t in await transcript.threads()] == ["c", "a", "b"]
    assert [t["number"] for t in await transcript.turns("a")] == [1, 2]
    turn = await add(transcript, "a", "and now?")
    unfinished = await transcript.unfinished("a")
    assert unfinished is not None
    assert (unfinished.turn_id, unfinished.number) == (turn, 3)
    await transcript.fork("b", "d", "step", None, "trace")
    assert [t["thread_id"] for t in await transcript.threads(2)] == ["d", "a"]


async def test_all_turns_and_threads_are_read_page_by_page(
    transcript: Transcript, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rolecall.threads.transcript._PAGE", 2)
    for number in range(1, 6):
        await add(transcript, "t", f"q{number}", "a")
        await add(transcript, f"t{number}", "q")
    assert [t["number"] async for t in transcript.each_turn("t")] == [1, 2, 3, 4, 5]
    assert [t["number"] async for t in transcript.each_turn("t", after=3)] == [4, 5]
    assert [t async for t in transcript.each_thread()] == ["t", *(f"t{n}" for n in range(1, 6))]


async def test_a_long_question_has_a_short_title(transcript: Transcript) -> None:
    await add(transcript, "t", "word\n\n" * 100)
    (thread,) = await transcript.threads()
    assert len(thread["title"]) == 60
    assert thread["title"].endswith("…")
    assert "\n" not in thread["title"]


async def test_five_hundred_turns_cost_no_more_each(transcript: Transcript) -> None:
    async def hundred() -> float:
        started = time.perf_counter()
        for number in range(100):
            turn_id = f"{time.perf_counter_ns()}"
            await transcript.accept("t", turn_id, "trace", f"question {number} " + "word " * 200)
            await transcript.finish(turn_id, "done", {"answer": "text " * 400})
        return time.perf_counter() - started

    spent = [await hundred() for _ in range(5)]
    assert spent[-1] < 4 * min(spent) + 0.5
    started = time.perf_counter()
    assert len(await transcript.turns("t", 20)) == 20
    assert len(await transcript.search("question 499")) == 0
    assert len(await transcript.search("question 99", 50)) == 5
    assert (await transcript.threads())[0]["turns"] == 500
    assert time.perf_counter() - started < 2


# --- search ---------------------------------------------------------------------------------------


async def test_search_finds_all_words_in_questions_and_answers(transcript: Transcript) -> None:
    await add(transcript, "a", "Which sort is stable?", "Merge sort is.")
    await add(transcript, "b", "Where is Lima?", "In Peru.")
    await add(transcript, "b", "And Cusco?", "Also in PERU.")
    assert {r["thread_id"] for r in await transcript.search("stable")} == {"a"}
    assert [r["number"] for r in await transcript.search("lima peru")] == [1]
    assert len(await transcript.search("peru")) == 2
    assert len(await transcript.search("peru", 1)) == 1
    assert await transcript.search("stable peru") == []
    assert "[stable]" in (await transcript.search("stable"))[0]["snippet"]


async def test_search_in_one_thread_by_pages_and_beginnings_of_words(
    transcript: Transcript, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        await add(transcript, "ab"[number % 2], f"stable sorting number {number}", "unstable")
    assert {r["thread_id"] for r in await transcript.search("stable", thread="a")} == {"a"}
    assert await transcript.search("stable", thread="nobody") == []
    whole = [(r["thread_id"], r["number"]) for r in await transcript.search("stable")]
    pages = [await transcript.search("stable", 2, offset=n) for n in (0, 2, 4, 6)]
    assert [(r["thread_id"], r["number"]) for page in pages for r in page] == whole
    assert len(whole) == len(set(whole)) == 6
    assert await transcript.search("sort") == []
    assert len(await transcript.search("sort*")) == 6
    assert len(await transcript.search("numb* STAB* 3")) == 1
    monkeypatch.setattr("rolecall.threads.search._RANKED", 2)
    assert [r["number"] for r in await transcript.search("stable", thread="a")] == [3, 2]


@pytest.mark.parametrize(
    "odd",
    [
        *("", "   ", '"', '""', "'", "*", "(", ")", "^", ":", "-", "+", "%", "_", "\\", "\x00"),
        *("AND", "OR", "NOT", "NEAR", "a OR", "NEAR(a b", "question:", "{question answer}: a"),
        *("🦙", "🦙🦙 🙂", "\ud800", "😀\u200d😀", "; DROP TABLE turns;", "a" * 10_000, "a " * 500),
        *("\u202e", "日本語", "'; --", "answer : (", "col*", '"a" NOT "b"', "\x1b[31m"),
    ],
)
async def test_search_takes_any_characters(transcript: Transcript, odd: str) -> None:
    await add(transcript, "t", "plain words", "here")
    assert await transcript.search(odd) == []
    assert len(await transcript.search("plain")) == 1


async def test_search_takes_operators_as_words(transcript: Transcript) -> None:
    await add(transcript, "t", 'cats AND dogs, "quoted" (or not)', "naïve Ünïcode 🦙 llama")
    for text in ("AND", "cats AND dogs", '"quoted"', "or not", "naive", "ünïcode", "🦙 llama"):
        assert len(await transcript.search(text)) == 1, text
    assert await transcript.search("cats OR birds") == []


async def test_search_sees_changes_and_deletions(transcript: Transcript) -> None:
    turn_id = await add(transcript, "t", "question")
    assert await transcript.search("unicorn") == []
    await transcript.finish(turn_id, "done", {"answer": "unicorn"})
    assert len(await transcript.search("unicorn")) == 1
    await transcript.delete("t")
    assert await transcript.search("unicorn") == []


# --- forks and deletion ---------------------------------------------------------------------------


async def test_a_fork_copies_up_to_the_turn_and_no_further(transcript: Transcript) -> None:
    ids = [await add(transcript, "t", f"q{n}", f"a{n}") for n in range(1, 5)]
    before = await transcript.turns("t")
    await transcript.fork("t", "f", "step-7", ids[1], "new-trace")
    copied = await transcript.turns("f")
    assert [(t["number"], t["question"], t["answer"]) for t in copied] == [
        (1, "q1", "a1"),
        (2, "q2", "a2"),
    ]
    assert (copied[-1]["turn_id"], copied[-1]["trace_id"]) == ("t-2.f", "trace-t-2")
    assert await transcript.turns("t") == before
    thread = next(t for t in await transcript.threads() if t["thread_id"] == "f")
    assert (thread["forked_from"], thread["forked_at"], thread["title"]) == ("t", "step-7", "q1")
    assert (await transcript.accept("f", "next", "trace", "q")).number == 3
    assert len(await transcript.search("q1")) == 2


async def test_a_fork_inside_a_turn_leaves_that_turn_to_be_answered(transcript: Transcript) -> None:
    ids = [await add(transcript, "t", f"q{n}", f"a{n}") for n in (1, 2)]
    await transcript.fork("t", "f", "step", ids[1], "trace", unanswered=True)
    first, second = await transcript.turns("f")
    assert (first["status"], first["answer"]) == ("done", "a1")
    assert (second["status"], second["answer"], second["finished_at"]) == (
        "interrupted",
        None,
        None,
    )
    unfinished = await transcript.unfinished("f")
    assert unfinished is not None
    assert (unfinished.turn_id, unfinished.trace_id) == ("t-2.f", "trace")


async def test_a_fork_before_the_first_turn_and_forks_of_forks(transcript: Transcript) -> None:
    turn_id = await add(transcript, "t", "q", "a")
    await transcript.fork("t", "empty", "step", None, "y")
    assert await transcript.turns("empty") == []
    assert await transcript.exists("empty")
    await transcript.fork("t", "f1", "step", turn_id, "y")
    await transcript.fork("f1", "f2", "step", turn_id, "y")
    await transcript.fork("t", "f3", "step", turn_id, "y")
    assert [t["question"] for t in await transcript.turns("f2")] == ["q"]


async def test_deleting_forgets_one_thread_only(transcript: Transcript) -> None:
    await add(transcript, "a", "q", "a")
    await add(transcript, "b", "q", "a")
    await transcript.delete("a")
    await transcript.delete("a")
    assert not await transcript.exists("a")
    assert await transcript.exists("b")
    assert len(await transcript.turns("b")) == 1


async def test_a_long_text_with_many_hits_is_found_at_once(transcript: Transcript) -> None:
    await add(transcript, "log", "start " + "Error " * 20_000)
    began = time.monotonic()
    (found,) = await transcript.search("error")
    assert time.monotonic() - began < 2  # SQLite's own excerpt takes time by the square of hits
    assert found["snippet"].startswith("start [Error] [Error]")
    assert len(found["snippet"]) < 400
    assert "answer" not in found


async def test_a_turn_that_died_is_no_longer_running_when_the_next_one_is_accepted(
    transcript: Transcript,
) -> None:
    await transcript.accept("t", "1", "trace", "died")
    later = await transcript.accept("t", "2", "trace", "next")
    assert (later.number, later.leaves) == (2, 1)
    died, running = await transcript.turns("t")
    assert (died["status"], running["status"]) == ("interrupted", "running")
    await transcript.finish("2", "done", {"answer": "x"})
    assert (await transcript.accept("t", "3", "trace", "more")).leaves is None
