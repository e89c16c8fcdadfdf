"""Server-sent events of JSON, however the bytes are cut."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.models.event_stream import events

TEXTS = st.lists(st.text(max_size=20), max_size=6)


class _Cut(httpx.AsyncByteStream):
    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data, self._sizes = data, sizes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        at = 0
        for size in self._sizes:
            yield self._data[at : at + size]
            at += size
        yield self._data[at:]


async def read(data: bytes, sizes: list[int]) -> list[Any]:
    response = httpx.Response(200, stream=_Cut(data, sizes))
    return [event async for event in events(response)]


@given(TEXTS, st.lists(st.integers(1, 9), max_size=200), st.sampled_from(["\n", "\r\n"]))
async def test_any_cut_of_the_bytes_gives_the_same_events(
    texts: list[str], sizes: list[int], end: str
) -> None:
    # ensure_ascii=False: line breaks of Unicode stand in the JSON as they are
    lines = [f"data: {json.dumps(text, ensure_ascii=False)}{end}{end}" for text in texts]
    data = ("".join(lines) + f"data: [DONE]{end}{end}").encode("utf-8", "surrogatepass")
    assert await read(data, sizes) == texts


async def test_comments_names_and_missing_spaces_are_no_matter() -> None:
    data = b': ping\n\nevent: message\nid: 1\ndata:{"a":1}\n\nretry: 5\n\n'
    assert await read(data, []) == [{"a": 1}]


async def test_an_event_over_several_lines_is_one() -> None:
    assert await read(b'data: {"a":\ndata: 1}\n\n', []) == [{"a": 1}]


async def test_an_event_without_the_empty_line_at_the_end_counts() -> None:
    assert await read(b'data: {"a": 1}', []) == [{"a": 1}]


async def test_nothing_after_done_counts() -> None:
    assert await read(b"data: 1\n\ndata: [DONE]\n\ndata: 2\n\n", []) == [1]


@pytest.mark.parametrize("data", [b"data: {\n\n", b'data: "\xff\xfe"\n\n'])
async def test_what_is_not_json_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        await read(data, [])
