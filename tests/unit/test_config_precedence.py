"""Which source of a setting wins, and which stack and roles come of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rolecall.config.load import load_stack
from rolecall.config.schema import Stack
from rolecall.errors import ConfigError

pytestmark = pytest.mark.usefixtures("home")

MODEL = "{id: tiny, endpoint: http://localhost:9000/v1}"
GOOD = f"models:\n  router: {MODEL}\n"


def deadline(stack: Stack) -> float:
    return stack.settings.turn.deadline_s


def test_later_sources_win(home: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(GOOD, encoding="utf-8")
    assert deadline(load_stack(file)) == 900
    users = home / "config" / "models.yaml"
    users.write_text("settings: {turn: {deadline_s: 1, max_tool_rounds: 3}}\n", encoding="utf-8")
    assert deadline(load_stack(file)) == 1
    file.write_text(GOOD + "settings: {turn: {deadline_s: 2}}\n", encoding="utf-8")
    assert deadline(load_stack(file)) == 2
    monkeypatch.setenv("ROLECALL_SETTINGS__TURN__DEADLINE_S", "3")
    assert deadline(load_stack(file)) == 3
    stack = load_stack(file, {"turn.deadline_s": 4})
    assert deadline(stack) == 4
    assert stack.settings.turn.max_tool_rounds == 3


@pytest.mark.parametrize("value", ["soon", "2024-99-99", "[", "-1"])
def test_a_wrong_environment_variable_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    file.write_text(GOOD, encoding="utf-8")
    monkeypatch.setenv("ROLECALL_SETTINGS__TURN__DEADLINE_S", value)
    with pytest.raises(ConfigError, match="variable ROLECALL_SETTINGS__TURN__DEADLINE_S: settings"):
        load_stack(file)
    monkeypatch.setenv("ROLECALL_SETTINGS__TURN__DEADLINE_S", "5")
    with pytest.raises(ConfigError, match=r"override turn.dedline: .*Did you mean deadline_s"):
        load_stack(file, {"turn.dedline": 5})


def test_overrides_that_need_each_other_come_in_any_order(file: Path) -> None:
    file.write_text(GOOD, encoding="utf-8")
    both = {"routing.strategy": "fixed", "routing.role": "router"}
    assert load_stack(file, both).settings.routing.role == "router"
    with pytest.raises(ConfigError, match="needs a role"):
        load_stack(file, {"routing.strategy": "fixed"})


def test_the_active_stack_comes_from_argument_environment_or_models_yaml(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "config" / "models.yaml").write_text("stack: own/mine.yaml\n", encoding="utf-8")
    (home / "config" / "own").mkdir()
    (home / "config" / "own" / "mine.yaml").write_text(GOOD, encoding="utf-8")
    assert load_stack().source == home / "config" / "own" / "mine.yaml"
    monkeypatch.setenv("ROLECALL_STACK", "")
    assert load_stack().name == "mine"
    monkeypatch.setenv("ROLECALL_STACK", "single")
    assert load_stack().name == "single"
    assert load_stack("mixed").name == "mixed"
    monkeypatch.delenv("ROLECALL_STACK")
    (home / "config" / "models.yaml").write_text("stack: 5\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"models.yaml:1: stack: expected a valid string"):
        load_stack()


def test_a_users_stack_hides_the_packaged_one(home: Path) -> None:
    own = home / "config" / "stacks" / "mixed.yaml"
    own.write_text(GOOD, encoding="utf-8")
    assert load_stack("mixed").source == own


def test_a_custom_role_is_a_target_only_with_a_prompt_and_a_model(file: Path) -> None:
    text = f"{GOOD}  legal: {MODEL}\n  embedding: {MODEL}\n"
    roles = "roles:\n  legal: {prompt: l.md}\n  poet: {prompt: l.md}\n"
    (file.parent / "l.md").write_text("You read contracts.", encoding="utf-8")
    file.write_text(text + roles, encoding="utf-8")
    stack = load_stack(file)
    assert [role.name for role in stack.targets] == ["legal"]
    assert set(stack.models) == {"router", "legal", "embedding"}
