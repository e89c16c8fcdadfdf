"""Mistyped words are mended, words that are only rare are left alone, in bounded time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.routing.encoder.artefact import SHIPPED, TOKENIZER, WORDS
from rolecall.routing.encoder.inputs import InputBuilder
from rolecall.routing.encoder.spelling import Spelling

LETTERS = "abcdefghijklmnopqrstuvwxyz"
FEW = ("the", "write", "table", "cable", "stable", "form", "from", "later", "letter")


def own_spelling(folder: Path, *words: str, vocabulary: tuple[str, ...] = ()) -> Spelling:
    path = folder / "words.txt"
    path.write_text("\n".join(words), encoding="ascii")
    return Spelling(path, vocabulary.__contains__)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Spelling:
    return own_spelling(tmp_path_factory.mktemp("words"), *FEW)


def slips(word: str) -> set[str]:
    """All that are one slip away, made one by one."""
    parts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    return (
        {a + b[1:] for a, b in parts[:-1]}
        | {a + b[1] + b[0] + b[2:] for a, b in parts[:-2]}
        | {a + c + b for a, b in parts for c in LETTERS}
        | {a + c + b[1:] for a, b in parts[:-1] for c in LETTERS}
    )


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("wrote", "write"),
        ("writte", "write"),
        ("wrie", "write"),
        ("wirte", "write"),
        ("rwite", "write"),
        ("writet", "write"),
        ("fomr", "form"),
        ("thee", "the"),
    ],
)
def test_one_slip_is_mended(few: Spelling, typed: str, meant: str) -> None:
    assert few.mend(f"please {typed} it") == f"please {meant} it"


@pytest.mark.parametrize("text", ["wrttee", "qwertz", "w", "teh", "", "WRITE", "Table", "tabula"])
def test_what_is_known_short_or_two_slips_away_stays(few: Spelling, text: str) -> None:
    assert few.mend(text) == text


@pytest.mark.parametrize("text", ["wrte2", "2wrte", "wrteé", "писать", "wrteписать", "wr_te"])
def test_only_whole_latin_words_are_mended(few: Spelling, text: str) -> None:
    assert few.mend(text) == text


def test_the_commonest_word_is_meant_but_a_swap_or_a_doubled_letter_is_likelier(
    tmp_path: Path,
) -> None:
    assert own_spelling(tmp_path, "cable", "table").mend("xable") == "cable"
    assert own_spelling(tmp_path, "forms", "frost", "form").mend("froms") == "forms"
    assert own_spelling(tmp_path, "slop", "x", "sloop").mend("slooop") == "sloop"


def test_a_word_of_the_vocabulary_is_not_mended(tmp_path: Path) -> None:
    spelling = own_spelling(tmp_path, "table", vocabulary=("fable",))
    assert spelling.mend("Fable gable") == "Fable table"


@given(word=st.sampled_from(FEW), typed=st.text("abelrstw", min_size=4, max_size=7))
def test_a_neighbour_is_found_exactly_when_one_slip_parts_them(
    few: Spelling, word: str, typed: str
) -> None:
    for made in (typed, word[:2] + typed[:1] + word[3:], word[1::-1] + word[2:]):
        found = few.nearest(made)
        near = {known for known in FEW if known in slips(made)}
        assert (found in near) if near - {made} else (found in {None, made})


def test_a_long_paste_of_unknown_words_takes_bounded_time() -> None:
    spelling = Spelling(SHIPPED / WORDS, lambda word: False)
    text = " ".join(f"zq{a}{b}{c}xk" for a in LETTERS for b in LETTERS for c in LETTERS)
    started = time.process_time()
    spelling.mend(text)
    assert time.process_time() - started < 0.5


def test_the_shipped_words_mend_what_people_mistype() -> None:
    builder = InputBuilder(SHIPPED / TOKENIZER, SHIPPED / WORDS)
    typed = builder.build("sumarize this artcile", ("waht is a databse",))
    assert typed == builder.build("summarize this article", ("what is a database",))
    plain = InputBuilder(SHIPPED / TOKENIZER)
    assert plain.build("artcile").ids != builder.build("artcile").ids
