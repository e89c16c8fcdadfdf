"""Every shipped stack, and every shape that the documentation promises to accept."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rolecall.config.load import PACKAGED, load_stack, stack_files
from rolecall.config.schema import EMBEDDED, ModelRole

SHIPPED = sorted(path.stem for path in (PACKAGED / "stacks").glob("*.yaml"))

THREE_SERVERS = """\
models:
  router:
    id: "Tiny-Router-1B"
    endpoint: "http://localhost:8001/v1/chat/completions"
  reasoning:
    id: "Thinker-24B"
    endpoint: "http://localhost:8002/v1/chat/completions"
  coding:
    id: "Coder-30B"
    endpoint: "http://localhost:8003/v1/chat/completions"
"""

EVERYTHING = """\
description: one of each
models:
  router:
    id: small
    endpoint: http://localhost:1234/v1
    api: auto
    role: router
    context_length: 32768
    quantization: 8bit
    max_concurrency: 4
    timeout_s: 60
    deadline_s: 600
    sampling: {temperature: 0.0, max_tokens: 1024}
    tools: [clock, calculator]
    allow_remote: false
  reasoning:
    - {id: large, endpoint: http://localhost:1234/v1, context_length: 65536, quantization: 8}
    - {id: medium, endpoint: http://localhost:1234/v1, tools: all}
  coding:
    - {id: coder, endpoint: http://localhost:1234/v1, api: responses}
    - {id: coder, endpoint: http://127.0.0.1:1235/v1, api_key_env: CODER_KEY}
  legal: {id: large, endpoint: http://localhost:1234/v1}
roles:
  legal: {prompt: prompts/legal.md, description: contracts, examples: ["Is this clause usual?"]}
settings:
  routing: {strategy: hybrid, max_error: 0.05}
  turn: {deadline_s: 901, max_tool_rounds: 8, max_input_chars: 200000}
  memory: {window_tokens: 4096, keep_steps_of_last_turns: 20}
  filters: {redact_secrets: true, patterns: ['\\b\\d{16}\\b']}
  workspace: ./
  telemetry: {otlp_endpoint: null, store_texts: true}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("ROLECALL_HOME", str(folder))
    monkeypatch.delenv("ROLECALL_CONFIG", raising=False)
    monkeypatch.delenv("ROLECALL_STACK", raising=False)
    return folder


def test_the_stacks_that_the_documentation_names_are_shipped() -> None:
    assert SHIPPED == [
        "all-mistral",
        "all-qwen",
        "classroom",
        "embedded",
        "embedded-large",
        "embedded-small",
        "mixed",
        "single",
        "slm-edge",
        "vllm",
    ]
    assert sorted(stack_files()) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_stack_loads_and_stays_on_this_machine(name: str) -> None:
    stack = load_stack(name)
    assert stack.name == name
    assert stack.description
    assert set(stack.models) == set(ModelRole)
    assert [role.name for role in stack.targets] == ["reasoning", "coding"]
    for candidates in stack.models.values():
        for spec in candidates:
            host = urlsplit(spec.endpoint).hostname
            assert spec.endpoint == EMBEDDED or host in {"localhost", "127.0.0.1"}
            assert not spec.allow_remote
            assert spec.context_length is not None
            assert spec.api == ("ollama" if ":11434" in spec.endpoint else "auto")


@pytest.mark.parametrize("name", [name for name in SHIPPED if not name.startswith("embedded")])
def test_a_stack_with_a_server_says_how_to_start_it(name: str) -> None:
    text = stack_files()[name].read_text(encoding="utf-8")
    comment = [line for line in text.splitlines() if line.startswith("#")]
    assert len(comment) >= 2
    commands = ("lms load", "ollama pull", "foundry", "vllm serve")
    assert any(command in line for line in comment for command in commands)


def test_the_embedded_stack_is_the_active_one() -> None:
    assert load_stack().name == "embedded"


def test_mixed_holds_the_baseline_with_its_alternates() -> None:
    models = load_stack("mixed").models
    assert [spec.id for spec in models["router"]] == ["qwen3-1.7b-instruct", "ministral-3-3b"]
    assert models["reasoning"][0].id == "qwen3-next-80b-a3b-thinking"
    assert len(models["reasoning"]) == 4
    assert [spec.id for spec in models["coding"]] == [
        "qwen3-coder-30b",
        "devstral-small-2-2512",
        "qwen3-1.7b-instruct",
    ]


def test_three_servers_load_as_a_stack_file(tmp_path: Path) -> None:
    path = tmp_path / "three.yaml"
    path.write_text(THREE_SERVERS, encoding="utf-8")
    stack = load_stack(path)
    assert stack.models["coding"][0].id == "Coder-30B"
    assert stack.models["router"][0].endpoint == "http://localhost:8001/v1/chat/completions"
    assert load_stack(str(path)) == stack


def test_three_servers_load_as_the_users_models_yaml(home: Path) -> None:
    path = home / "config" / "models.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(THREE_SERVERS, encoding="utf-8")
    stack = load_stack()
    assert stack.source == path
    assert [candidates[0].id for candidates in stack.models.values()] == [
        "Tiny-Router-1B",
        "Thinker-24B",
        "Coder-30B",
    ]
    assert load_stack("single").models["router"][0].id == "qwen3-8b-instruct"


def test_a_file_with_everything_loads(tmp_path: Path) -> None:
    path = tmp_path / "everything.yaml"
    path.write_text(EVERYTHING, encoding="utf-8")
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "legal.md").write_text("You read contracts.\n", encoding="utf-8")
    stack = load_stack(path)
    assert [role.label for role in stack.targets] == ["REASONING", "CODING", "LEGAL"]
    assert stack.roles["legal"].prompt == "You read contracts."
    assert stack.roles["legal"].examples == ("Is this clause usual?",)
    assert stack.models["reasoning"][0].quantization == "8"
    assert stack.models["reasoning"][1].tools == "all"
    assert stack.models["router"][0].tools == ["clock", "calculator"]
    assert stack.settings.turn.deadline_s == 901
    assert stack.settings.turn.wait_for_thread_s == 10
