"""The decision JSON has four keys and no contradictions."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from rolecall.config.schema import Role
from rolecall.routing.decision import Decision, default_role
from rolecall.routing.fixed import FixedStrategy

KEYS = ["routing_decision", "target_model", "confidence", "reason"]


@pytest.mark.parametrize(
    ("role", "routing", "target"),
    [
        ("router", "HANDLE", None),
        ("reasoning", "DELEGATE", "REASONING"),
        ("customer_service", "DELEGATE", "CUSTOMER_SERVICE"),
    ],
)
def test_a_role_and_its_decision(role: str, routing: str, target: str | None) -> None:
    decision = Decision.for_role(role, 0.5, "why")
    assert json.loads(decision.model_dump_json()) == {
        "routing_decision": routing,
        "target_model": target,
        "confidence": 0.5,
        "reason": "why",
    }
    assert list(decision.model_dump()) == KEYS
    assert decision.role == role


@pytest.mark.parametrize(
    "wrong",
    [
        {"routing_decision": "DELEGATE"},
        {"target_model": "CODING"},
        {"routing_decision": "DELEGATE", "target_model": ""},
        {"routing_decision": "DELEGATE", "target_model": "coding"},
        {"routing_decision": "DELEGATE", "target_model": "ROUTER"},
        {"routing_decision": "DELEGATE", "target_model": "HANDLE"},
        {"routing_decision": "ASK"},
        {"confidence": 1.1},
        {"confidence": -0.1},
        {"confidence": math.nan},
        {"strategy": "llm"},
    ],
)
def test_contradictions_are_refused(wrong: dict[str, Any]) -> None:
    right = {"routing_decision": "HANDLE", "confidence": 1.0, "reason": "x"}
    Decision.model_validate(right)
    with pytest.raises(ValidationError):
        Decision.model_validate({**right, **wrong})


async def test_a_fixed_role_is_certain() -> None:
    routed = await FixedStrategy("coding").decide("anything")
    assert routed.strategy == "fixed"
    assert routed.decision.confidence == 1.0
    assert routed.decision.reason == "chosen by the user"
    assert routed.decision.target_model == "CODING"


@pytest.mark.parametrize(
    ("names", "role"),
    [
        (["router", "coding", "reasoning"], "reasoning"),
        (["router", "legal"], "legal"),
        (["router"], "router"),
    ],
)
def test_the_default_role(names: list[str], role: str) -> None:
    assert default_role([Role(name, "", "", ()) for name in names]) == role
