"""The window: how much of a thread the graph's state holds."""

from __future__ import annotations

from langchain_core.messages import AnyMessage, RemoveMessage, trim_messages
from langchain_core.messages.utils import count_tokens_approximately

_CHARS_PER_TOKEN = 4


def bound(messages: list[AnyMessage], max_tokens: int) -> list[AnyMessage | RemoveMessage]:
    """Changes that bring messages down to ``max_tokens`` (about 4 characters each).

    Whole turns go, oldest first; the last turn stays, its longest texts cut in the middle.
    """
    if count_tokens_approximately(messages) <= max_tokens:
        return []
    kept = trim_messages(
        messages,
        max_tokens=max_tokens,
        token_counter=count_tokens_approximately,
        strategy="last",
        start_on="human",
    )
    if kept:
        ids = {message.id for message in kept}
        return [RemoveMessage(id=str(m.id)) for m in messages if m.id not in ids]
    start = max(i for i, m in enumerate(messages) if m.type == "human")
    last_turn = messages[start:]
    allowed = max_tokens * _CHARS_PER_TOKEN // len(last_turn)
    shorter = [_cut(message, allowed) for message in last_turn]
    return [
        *(RemoveMessage(id=str(m.id)) for m in messages[:start]),
        *(new for old, new in zip(last_turn, shorter, strict=True) if new is not old),
    ]


def _cut(message: AnyMessage, chars: int) -> AnyMessage:
    text = message.text
    if len(text) <= chars:
        return message
    half = max(chars // 2 - 20, 20)
    shorter = f"{text[:half]}\n[… {len(text) - 2 * half:,} characters …]\n{text[-half:]}"
    return message.model_copy(update={"content": shorter})
