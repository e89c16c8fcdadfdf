"""How a tool says that it could not do what it was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_core.tools import ToolException


def failure(message: str) -> ToolException:
    """The exception to raise; ``message`` tells the model what was wrong and what to try."""
    # langchain_core.tools takes a second to import: only a turn that runs tools pays for it
    from langchain_core.tools import ToolException

    return ToolException(message)


def shortened(text: str, limit: int = 120) -> str:
    """``text`` as it may stand in a message: quoted, on one line, at most ``limit`` characters."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")
