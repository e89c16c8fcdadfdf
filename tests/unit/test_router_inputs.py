"""From a message to the encoder's inputs, in bounded time; surface features; the linear head."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolecall.routing.encoder.artefact import READ, SHIPPED, TOKENIZER
from rolecall.routing.encoder.head import Head
from rolecall.routing.encoder.inputs import _CLS, _GAP, _LINE, _PARAGRAPH, _SEP, InputBuilder
from rolecall.routing.encoder.surface import NAMES, surface, unread_share
from rolecall.routing.examples import LABELS

CODE = "write a python function that sorts a list"
WIDTH = READ + len(NAMES)
MOST_TOKENS = 192

TEXTS = st.text(
    st.characters(exclude_categories=["Cs"])
    | st.sampled_from(
        "\x00\x07\x1b\x7f\u0085\u200b\u200d\u202e\u2028\ufeff\t\r\n 🙂👩🏽‍🚀é{}=>.!?:\"'"
    ),
    max_size=300,
)


@pytest.fixture(scope="module")
def builder() -> InputBuilder:
    return InputBuilder(SHIPPED / TOKENIZER)


@pytest.fixture(scope="module")
def tokens(builder: InputBuilder) -> dict[str, int]:
    """Ids of words that are one token each."""
    words = ["first", "last", "middle", "old", "new", "oldest"]
    return {word: builder.build(word).ids[1] for word in words}


# --- inputs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [150, 300, 20_000])
def test_a_long_message_keeps_its_head_and_tail(
    builder: InputBuilder, tokens: dict[str, int], count: int
) -> None:
    ids = builder.build("first " + "middle " * count + "last").ids
    assert ids[:2] == [_CLS, tokens["first"]]
    assert ids[-2:] == [tokens["last"], _SEP]
    assert ids.count(_GAP) == 1
    assert 50 < ids.count(tokens["middle"]) < 150


def test_a_message_that_fits_is_whole(builder: InputBuilder, tokens: dict[str, int]) -> None:
    ids = builder.build("first " + "middle " * 80 + "last").ids
    assert ids.count(tokens["middle"]) == 80
    assert _GAP not in ids


def test_line_ends_are_tokens(builder: InputBuilder, tokens: dict[str, int]) -> None:
    first, last = tokens["first"], tokens["last"]
    assert builder.build("first last").ids[1:-1] == [first, last]
    assert builder.build("first \n last").ids[1:-1] == [first, _LINE, last]
    assert builder.build("first\n\n  \nlast").ids[1:-1] == [first, _PARAGRAPH, last]
    assert builder.build("\n first\r\nlast \n").ids[1:-1] == [first, _LINE, last]


def test_earlier_messages_follow_the_newest_last(
    builder: InputBuilder, tokens: dict[str, int]
) -> None:
    inputs = builder.build("first", ("oldest", "middle", "old", "new"))
    found = [tokens[word] for word in ("middle", "old", "new")]
    assert inputs.ids[:3] == [_CLS, tokens["first"], _SEP]
    assert [i for i in inputs.ids[3:] if i in tokens.values()] == found
    assert tokens["oldest"] not in inputs.ids
    assert inputs.segments == [0] * 3 + [1] * (len(inputs.ids) - 3)


def test_the_newest_earlier_message_has_most_room(
    builder: InputBuilder, tokens: dict[str, int]
) -> None:
    ids = builder.build("first", ("old " * 100, "new " * 100)).ids
    assert ids.count(tokens["new"]) > ids.count(tokens["old"]) > 5


@given(text=TEXTS, context=st.lists(TEXTS, max_size=5), times=st.sampled_from([1, 30, 700]))
@settings(deadline=None)
def test_the_number_of_tokens_is_bounded_for_any_text(
    builder: InputBuilder, text: str, context: list[str], times: int
) -> None:
    inputs = builder.build(text * times, [before * times for before in context])
    assert 2 <= len(inputs.ids) == len(inputs.segments) <= MOST_TOKENS
    assert inputs.segments == sorted(inputs.segments)


# --- surface --------------------------------------------------------------------------------


@given(text=TEXTS, context=st.lists(TEXTS, max_size=2))
def test_surface_features_are_finite_for_any_text(text: str, context: list[str]) -> None:
    found = surface(text, context)
    assert found.shape == (len(NAMES),)
    assert np.isfinite(found).all()
    assert (found >= 0).all()


@pytest.mark.parametrize(
    ("name", "less", "more"),
    [
        ("length", "Hi", "Hi there, how are you today?"),
        ("number of lines", "a b", "a\nb"),
        ("sentences", "One two", "One. Two! Three?"),
        ("sentences", "see v1.2.3", "wait... what?! no."),
        ("a question mark at the end", "Why", "Why?"),
        ("code characters", "sum of two", "sum(a[0], b->c);"),
        ("indented lines", "if x\ny", "if x\n    y"),
        ("digits", "two", "2"),
        ("arithmetic signs", "one plus one", "1 + 1"),
        ("capital letters", "nasa", "NASA"),
        ("letters outside ASCII", "ano", "año"),
        ("quotation marks", "word", '"word"'),
        ("a colon before pasted text", "translate this", "translate this:\nthat"),
    ],
)
def test_a_surface_feature_sees_what_its_name_says(name: str, less: str, more: str) -> None:
    index = NAMES.index(name)
    assert surface(less)[index] < surface(more)[index]


def test_sentences_are_counted_once_each() -> None:
    index = NAMES.index("sentences")
    for text, count in (("One. Two! Three?", 3), ("Wait... what?!", 2), ("v1.2 is out", 0)):
        assert surface(text)[index] == pytest.approx(np.log1p(count), abs=1e-6)


def test_the_surface_knows_of_an_earlier_message() -> None:
    alone, after = surface("and now?"), surface("and now?", ("old", "def f(x): return {x}"))
    changed = {name for name, a, b in zip(NAMES, alone, after, strict=True) if a != b}
    assert changed == {name for name in NAMES if "earlier message" in name}


@pytest.mark.parametrize(
    ("prompt", "share"),
    [
        ("What is the capital of Peru?", 0.0),
        ("Ça coûte combien, déjà ?", 0.0),
        ("12 + 30 = ?", 0.0),
        ("", 0.0),
        ("What does привет mean in English, please?", 0.0),
        ("写一个函数来排序列表", 1.0),
        ("ما هي عاصمة بيرو؟", 1.0),
    ],
)
def test_only_other_scripts_are_not_read(prompt: str, share: float) -> None:
    assert unread_share(prompt) == share


# --- the head -------------------------------------------------------------------------------


def some_head(offsets: bool = True) -> Head:
    chance = np.random.default_rng(1)
    weights = chance.normal(size=(3, WIDTH)).astype(np.float32) / 10
    bias, moved = (chance.normal(size=3).astype(np.float32) for _ in range(2))
    return Head(LABELS, weights, bias, 0.7, moved if offsets else None)


@pytest.mark.parametrize("offsets", [True, False])
def test_a_head_survives_json(offsets: bool) -> None:
    head = some_head(offsets)
    again = Head.from_json(json.loads(json.dumps(head.to_json())), WIDTH)
    rows = np.random.default_rng(2).normal(size=(5, WIDTH)).astype(np.float32)
    assert again.labels == head.labels
    assert again.probabilities(rows) == pytest.approx(head.probabilities(rows), abs=1e-4)
    assert again.to_json() == head.to_json()


def test_pulls_and_bias_add_up_to_the_log_odds() -> None:
    head = some_head()
    assert head.offsets is not None
    row = np.random.default_rng(3).normal(size=WIDTH).astype(np.float32)
    logits = head.logits(row[None])[0]
    pulls = head.pulls(row, 0, 2, READ)
    bias = (head.bias[0] - head.bias[2]) / head.temperature + head.offsets[0] - head.offsets[2]
    assert list(pulls) == ["wording", *NAMES]
    assert sum(pulls.values()) + bias == pytest.approx(logits[0] - logits[2], abs=1e-3)
