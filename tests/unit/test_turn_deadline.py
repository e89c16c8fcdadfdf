"""A turn's model calls know what is left of its time."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall.errors import NoModelReachable
from rolecall.models.scripted import Fault, ScriptedReply


def test_a_wait_that_the_turn_has_no_time_for_is_not_begun(opened: Any, brain: Any) -> None:
    busy = Fault("status", status=429, headers={"Retry-After": "14"})
    brain.default = ScriptedReply(fault=busy)
    with (
        opened({"turn": {"deadline_s": 12}}, timeout_s=20) as assistant,
        pytest.raises(NoModelReachable, match="HTTP 429"),
    ):
        assistant.ask("Hello", role="reasoning")
