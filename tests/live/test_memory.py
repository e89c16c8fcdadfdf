"""A real small model still knows what was said before the window began."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rolecall.assistant import Assistant
from rolecall.config.load import load_stack

pytestmark = pytest.mark.live

SETTINGS: dict[str, Any] = {
    "routing.strategy": "fixed",
    "routing.role": "coding",  # it has no tools: fewer tokens to read
    "memory.window_tokens": 256,
}
STORY = "Tell me one short sentence about a ship. " + "It sails on the wide blue sea. " * 14


@pytest.mark.timeout(600)
def test_a_fact_that_left_the_window_is_still_known(live_home: Path) -> None:
    with Assistant.open(load_stack("embedded", SETTINGS)) as assistant:
        thread = assistant.ask("Hello! My dog is called Bruno. Say hello to him.").thread_id
        for _ in range(3):
            assistant.ask(STORY, thread=thread)
        assert "Bruno" in assistant.ask("What is my dog called?", thread=thread).text
        assistant.delete(thread)
