"""Which other roles' models stand in: what the files say, and what is wrong in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rolecall.config.load import load_stack
from rolecall.errors import ConfigError

MODELS = """
models:
  router: {id: r, endpoint: http://127.0.0.1:1/v1}
  reasoning: {id: m, endpoint: http://127.0.0.1:1/v1}
  coding: {id: c, endpoint: http://127.0.0.1:1/v1}
"""


def test_coding_and_reasoning_stand_in_for_each_other(home: Path, file: Path) -> None:
    file.write_text(MODELS)
    roles = load_stack(file).roles
    assert {name: role.fallback for name, role in roles.items()} == {
        "router": (),
        "reasoning": ("coding",),
        "coding": ("reasoning",),
    }


def test_an_empty_list_switches_it_off(home: Path, file: Path) -> None:
    file.write_text(MODELS + "roles:\n  coding: {fallback: []}\n")
    roles = load_stack(file).roles
    assert (roles["coding"].fallback, roles["reasoning"].fallback) == ((), ("coding",))


def test_a_fallback_that_the_stack_has_no_model_for_is_no_mistake(home: Path, file: Path) -> None:
    file.write_text("\n".join(line for line in MODELS.splitlines() if "reasoning" not in line))
    assert load_stack(file).roles["coding"].fallback == ("reasoning",)


@pytest.mark.parametrize("wrong", ["reasonning", "coding"])
def test_an_unknown_role_and_the_role_itself_are_errors_with_their_line(
    home: Path, file: Path, wrong: str
) -> None:
    file.write_text(
        MODELS + f"roles:\n  coding:\n    fallback:\n      - reasoning\n      - {wrong}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_stack(file)
    said = str(caught.value)
    assert said.startswith(f"{file}:10: roles.coding.fallback: expected another role")
    assert f"found {wrong!r}" in said
