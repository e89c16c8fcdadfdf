"""Estimates of tokens, and the runner's own count of them."""

from __future__ import annotations

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from rolecall.models.token_counts import Size, TokenEstimator, size_of, size_of_tools, total

KEY = ("http://127.0.0.1:9", "tiny")
PROSE = "The router decides who answers, and the specialist model answers with its tools. " * 60


def test_an_estimate_is_on_the_safe_side_of_prose() -> None:
    size = size_of(HumanMessage(PROSE))
    words = len(PROSE.split())
    estimator = TokenEstimator()
    assert 1.2 * words < estimator.at_most(KEY, size) < 2.5 * words
    assert estimator.likely(KEY, size) < estimator.at_most(KEY, size)


def test_scripts_of_three_bytes_count_a_token_for_a_character() -> None:
    text = "模型按角色调用" * 100
    assert TokenEstimator().at_most(KEY, size_of(HumanMessage(text))) >= len(text)


def test_tool_calls_and_results_images_and_tools_count() -> None:
    call = {"name": "look", "args": {"path": "x" * 300}, "id": "1"}
    assert size_of(AIMessage("", tool_calls=[call])).bytes > 300
    assert size_of(ToolMessage("y" * 90, tool_call_id="1")) == Size(90, 1)
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9000}}
    assert size_of(HumanMessage([{"type": "text", "text": "hi"}, image])) == Size(2, 1, 1)
    assert size_of_tools([]) == Size()
    assert size_of_tools([{"type": "function"}]).bytes > 300


def test_reasoning_in_blocks_does_not_count() -> None:
    message = AIMessage([{"type": "reasoning", "reasoning": "x" * 999}])
    assert size_of(message).bytes == 0


def test_half_a_surrogate_is_no_error() -> None:
    assert size_of(HumanMessage("a\ud800b")).bytes == 5


def test_replies_teach_how_long_a_token_is() -> None:
    estimator = TokenEstimator()
    size = total([HumanMessage(PROSE)])
    real = len(PROSE) // 5
    for _ in range(10):
        estimator.learn(KEY, size, real + 8)
    assert abs(estimator.likely(KEY, size) - real) < 0.05 * real
    assert real < estimator.at_most(KEY, size) < 1.3 * real
    other = (KEY[0], "another")
    assert estimator.at_most(other, size) > 1.3 * real


def test_denser_text_counts_at_once_lighter_text_by_and_by() -> None:
    estimator = TokenEstimator()
    size = Size(30_000, 1)
    estimator.learn(KEY, size, 6_000)
    light = estimator.likely(KEY, size)
    estimator.learn(KEY, size, 15_000)
    dense = estimator.likely(KEY, size)
    estimator.learn(KEY, size, 6_000)
    assert light < estimator.likely(KEY, size) < dense
    assert dense > 14_000


def test_nothing_is_learnt_from_short_prompts_images_or_absurd_counts() -> None:
    estimator = TokenEstimator()
    size = Size(30_000, 1)
    before = estimator.likely(KEY, size)
    estimator.learn(KEY, Size(100, 1), 90)
    estimator.learn(KEY, Size(30_000, 1, 1), 9_000)
    estimator.learn(KEY, size, 3)
    estimator.learn(KEY, size, 20)  # the server says it read almost nothing
    assert estimator.likely(KEY, size) == before
