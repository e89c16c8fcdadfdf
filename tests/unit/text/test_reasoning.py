"""Reasoning is told from the answer, however the reply is cut into chunks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolecall.models.text.reasoning import ReasoningSplitter, split_reasoning

HARMONY = (
    "<|channel|>analysis<|message|>They greet me.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Hello!<|return|>"
)
HARMONY_CALL = (
    '<|channel|>commentary to=functions.clock <|constrain|>json<|message|>{"zone": "UTC"}<|call|>'
)


def split(chunks: list[str], *, starts_inside: bool = False) -> tuple[str, str]:
    splitter = ReasoningSplitter(starts_inside=starts_inside)
    pieces = [piece for chunk in chunks for piece in splitter.feed(chunk)] + splitter.close()
    assert all(piece.text for piece in pieces)
    return (
        "".join(piece.text for piece in pieces if piece.kind == "reasoning"),
        "".join(piece.text for piece in pieces if piece.kind == "text"),
    )


CASES = [
    ("<think>two and two</think>\n\nFour.", "two and two", "Four."),
    (" \n<think>\nhm\n</think>Four.", "\nhm\n", "Four."),
    ("<thinking>a < b [ok]</thinking>\nYes", "a < b [ok]", "Yes"),
    ("<reasoning>r</reasoning>\r\nA", "r", "A"),
    ("<seed:think>r</seed:think>A", "r", "A"),
    ("[THINK]r [/TH[/THINK]A", "r [/TH", "A"),
    ("<|START_THINKING|>r<|END_THINKING|>A", "r", "A"),
    ("<think>never closed </thi", "never closed </thi", ""),
    ("<think></think>\n\n    indented", "", "    indented"),
    ("<think>a</think>\n<think>b</think>\nC", "ab", "C"),
    ("</think>\n\nAnswer", "", "Answer"),
    (HARMONY, "They greet me.", "Hello!"),
    ("<|start|>assistant" + HARMONY, "They greet me.", "Hello!"),
    ("<|channel|>analysis<|message|>cut off <|en", "cut off <|en", ""),
    ("<|channel|>final<|message|>Hi<|return|>", "", "Hi"),
    (HARMONY_CALL, "", HARMONY_CALL),
    (
        "<|channel|>analysis<|message|>r<|end|><|start|>assistant" + HARMONY_CALL,
        "r",
        "<|start|>assistant" + HARMONY_CALL,
    ),
    ("<|channel|> is a token", "", "<|channel|> is a token"),
    ("<think>a</think></think>\nB", "a", "B"),
    ("<think>\n<think>\nonce closed</think>B", "\n<think>\nonce closed", "B"),
    ("<think>a <think>b</think> c</think>\n\nD", "a <think>b c", "D"),
    ("<think>the <think> tag</think>\nB, then more", "the <think> tag", "B, then more"),
    ("[THINK]a [THINK]b[/THINK] c[/THINK]D", "a [THINK]b c", "D"),
    ("analysisThey greet.assistantfinalHello!", "They greet.", "Hello!"),
    ("analysisCut off assistantfin", "Cut off assistantfin", ""),
    (
        'analysisI ask.assistantcommentary to=functions.clock json{"zone": "UTC"}',
        "I ask.",
        '<|channel|>commentary to=functions.clock<|message|>{"zone": "UTC"}',
    ),
    (
        'commentary to=functions.clock json{"zone": "UTC"}',
        "",
        '<|channel|>commentary to=functions.clock<|message|>{"zone": "UTC"}',
    ),
    ("analysis of the data", "", "analysis of the data"),
    ("analysis", "", "analysis"),
    ("commentary to=nobody", "", "commentary to=nobody"),
    ("The tag <think> opens, </think> closes.", "", "The tag <think> opens, </think> closes."),
    ("```\n<think>x</think>\n```", "", "```\n<think>x</think>\n```"),
    ("<thin", "", "<thin"),
    ("<b>bold</b>", "", "<b>bold</b>"),
    ("", "", ""),
    (" \n", "", " \n"),
]


@pytest.mark.parametrize(("reply", "reasoning", "answer"), CASES)
def test_reasoning_is_split_from_the_answer(reply: str, reasoning: str, answer: str) -> None:
    for size in (1, 2, 3, 7, 1000):
        chunks = [reply[at : at + size] for at in range(0, len(reply), size)]
        assert split(chunks) == (reasoning, answer)
    assert split_reasoning(reply) == (reasoning.strip(), answer)


@pytest.mark.parametrize(
    ("reply", "reasoning", "answer"),
    [
        ("let me see\n</think>\n\nFour.", "let me see\n", "Four."),
        ("<think>let me see</think>Four.", "let me see", "Four."),
        ("</think>Four.", "", "Four."),
        ("</think>", "", ""),
        ("all reasoning", "all reasoning", ""),
        ("[x] r[/THINK]A", "[x] r", "A"),
    ],
)
def test_a_reply_that_starts_inside_the_reasoning(reply: str, reasoning: str, answer: str) -> None:
    for size in (1, 3, 1000):
        chunks = [reply[at : at + size] for at in range(0, len(reply), size)]
        assert split(chunks, starts_inside=True) == (reasoning, answer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("let me see\n</think>\n\nFour.", ("let me see", "Four.")),
        ("let me see.</think>Four.", ("let me see.", "Four.")),
        ("let me see </think>\nFour.", ("let me see", "Four.")),
        ("Close it with </think> at the end.", ("", "Close it with </think> at the end.")),
        ("Close it with `</think>`\nthen", ("", "Close it with `</think>`\nthen")),
        ("```\na\n</think>\n```", ("", "```\na\n</think>\n```")),
        ("Write\n<think>\nx\n</think>\n", ("", "Write\n<think>\nx\n</think>\n")),
    ],
)
def test_a_lone_closing_tag_in_a_whole_text(text: str, expected: tuple[str, str]) -> None:
    assert split_reasoning(text) == expected


def test_prose_goes_out_in_the_call_in_which_it_came() -> None:
    splitter = ReasoningSplitter()
    for chunk in ("The", " answer", " < 5", " <think>", " is", "\n", "```"):
        assert [tuple(piece) for piece in splitter.feed(chunk)] == [("text", chunk)]


def test_reasoning_streams() -> None:
    splitter = ReasoningSplitter()
    splitter.feed("<think>")
    assert [tuple(piece) for piece in splitter.feed("hm, so")] == [("reasoning", "hm, so")]


PARTS = st.sampled_from(
    ["<think>", "</think>", "<thinking>", "[THINK]", "[/THINK]", "<|channel|>", "analysis", "<",
     "final", "<|message|>", "<|end|>", "<|start|>assistant", "<|return|>", "\n", " ", "word",
     " to=functions.f", "<|call|>", "```", "`", "<thi", "commentary", "assistantfinal", "We", "{",
     " json", "assistant"]
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.lists(PARTS, max_size=14).map("".join), st.randoms(), st.booleans())
def test_chunking_never_changes_the_result(text: str, random: object, inside: bool) -> None:
    cuts = sorted(random.randint(0, len(text)) for _ in range(6))  # type: ignore[attr-defined]
    bounds = [0, *cuts, len(text)]
    chunks = [text[a:b] for a, b in pairwise(bounds)]
    whole = split([text], starts_inside=inside)
    assert split(chunks, starts_inside=inside) == whole
    assert split(list(text), starts_inside=inside) == whole


@settings(deadline=None, max_examples=200)
@given(st.lists(st.text(alphabet="ab <>[]\n`/|", max_size=8), max_size=8))
def test_text_without_markers_is_unchanged(chunks: list[str]) -> None:
    assert split(chunks) == ("", "".join(chunks))
