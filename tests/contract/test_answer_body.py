"""What stands in the body of an answer, whatever its headers say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rolecall.errors import ModelCallFailed, NoModelReachable
from rolecall.models.scripted import ScriptedRunner, Verbatim

QUESTION = [("user", "hello")]
CHUNK = {"choices": [{"index": 0, "delta": {"content": "Snow."}, "finish_reason": "stop"}]}
WHOLE = {
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Snow.", "reasoning": "Cold."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 0,
    "status": "completed",
    "model": "tiny",
    "output": [
        {"id": "rs", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Cold."}]},
        {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Snow.", "annotations": []}],
        },
    ],
    "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
}


@pytest.mark.parametrize("wire", ["chat_completions", "responses"], indirect=True)
async def test_a_whole_answer_where_a_stream_was_asked_for(
    runner: ScriptedRunner, wire: Any, opened: Any
) -> None:
    runner.enqueue(Verbatim(body=WHOLE if wire.api == "chat_completions" else RESPONSE))
    async with opened(runner) as client:
        message = await client.achat("coding", QUESTION)
    assert message.text == "Snow."
    assert message.additional_kwargs["reasoning_content"] == "Cold."
    assert message.usage_metadata is not None
    assert message.usage_metadata["input_tokens"] == 3
    assert message.response_metadata["finish_reason"] == "stop"


@pytest.mark.parametrize("wire", ["chat_completions"], indirect=True)
async def test_a_stream_that_is_called_json_is_read(runner: ScriptedRunner, opened: Any) -> None:
    text = f"data: {json.dumps(CHUNK)}\n\ndata: [DONE]\n\n"
    runner.enqueue(Verbatim(body=text, content_type="application/json"))
    async with opened(runner) as client:
        assert (await client.achat("coding", QUESTION)).text == "Snow."


@pytest.mark.parametrize("wire", ["chat_completions"], indirect=True)
async def test_json_that_is_no_object_is_an_error(runner: ScriptedRunner, opened: Any) -> None:
    runner.default = Verbatim(body=[1, 2])
    async with opened(runner) as client:
        with pytest.raises(NoModelReachable, match="nothing in it is of the API"):
            await client.achat("coding", QUESTION)


@pytest.mark.parametrize("wire", ["chat_completions"], indirect=True)
@pytest.mark.parametrize("size", [1, 2, 3, 64])
async def test_a_character_cut_between_two_pieces_stays_whole(
    runner: ScriptedRunner, opened: Any, size: int
) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "Schneegestöber ❄"}}]}
    events: list[Any] = [chunk, CHUNK, "data: [DONE]\n\n"]
    runner.enqueue(Verbatim(events=events, content_type="text/event-stream", piece_bytes=size))
    async with opened(runner) as client:
        assert (await client.achat("coding", QUESTION)).text == "Schneegestöber ❄Snow."


@pytest.mark.parametrize("wire", ["chat_completions"], indirect=True)
async def test_text_without_its_end_is_kept_and_no_answer(
    runner: ScriptedRunner, opened: Any
) -> None:
    chunk: dict[str, Any] = {"choices": [{"index": 0, "delta": {"content": "Sno"}}]}
    runner.default = Verbatim(events=[chunk], content_type="text/event-stream")
    async with opened(runner) as client:
        with pytest.raises(ModelCallFailed) as caught:
            _ = [part async for part in client.astream("coding", QUESTION)]
    assert caught.value.partial == "Sno"
