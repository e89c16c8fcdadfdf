"""Whether anybody listens to a chat model's callbacks.

Callbacks, run trees and their metadata cost half a millisecond of a call. Where no handler would
hear them, a role's model streams without.
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.callbacks import AsyncCallbackManager
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig


def is_untraced(
    model: BaseChatModel, messages: Sequence[BaseMessage], config: RunnableConfig | None
) -> bool:
    """Whether LangChain's own way of streaming would give the same chunks and tell nobody.

    Handlers come with the config, the model, the environment (LangSmith) and the context.
    """
    plain = model.output_version in (None, "v0") and model.rate_limiter is None
    if (
        not plain
        or model.disable_streaming
        or any(not isinstance(message.content, str) for message in messages)
    ):
        return False
    given = config or {}
    manager = AsyncCallbackManager.configure(
        given.get("callbacks"), model.callbacks, bool(model.verbose)
    )
    return not manager.handlers
