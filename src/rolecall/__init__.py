"""Rolecall calls local models by role.

    from rolecall import Assistant

    with Assistant.open(stack="embedded") as assistant:
        print(assistant.ask("Which sort is stable?").text)

Everything here is imported on first use: ``import rolecall`` itself costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rolecall.assistant import Assistant
    from rolecall.config.load import load_stack
    from rolecall.config.schema import ModelRole, Stack
    from rolecall.errors import RolecallError
    from rolecall.models.client import LocalLLMClient
    from rolecall.reply import Part, Reply

__version__ = "0.1.0"
__all__ = [
    "Assistant",
    "LocalLLMClient",
    "ModelRole",
    "Part",
    "Reply",
    "RolecallError",
    "Stack",
    "load_stack",
]

_HOMES = {
    "Assistant": "rolecall.assistant",
    "LocalLLMClient": "rolecall.models.client",
    "ModelRole": "rolecall.config.schema",
    "Part": "rolecall.reply",
    "Reply": "rolecall.reply",
    "RolecallError": "rolecall.errors",
    "Stack": "rolecall.config.schema",
    "load_stack": "rolecall.config.load",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rolecall' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
