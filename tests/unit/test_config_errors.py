"""What the loader says about wrong files."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rolecall.config.load import load_stack
from rolecall.config.schema import Stack
from rolecall.errors import ConfigError

pytestmark = pytest.mark.usefixtures("home")

MODEL = "{id: tiny, endpoint: http://localhost:9000/v1}"
GOOD = f"models:\n  router: {MODEL}\n"


def complaint(file: Path, text: str | bytes) -> str:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load_stack(file)
    return str(caught.value).replace(str(file), "FILE")


SINGLE = "models:\n  router:\n    id: tiny\n    endpoint: http://localhost:9000/v1\n"


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        (
            SINGLE + "    contxt_length: 5\n",
            "FILE:5: models.router.contxt_length",
            "context_length?",
        ),
        (
            SINGLE + "    sampling:\n      temprature: 1\n",
            "FILE:6: models.router.sampling",
            "temperature?",
        ),
        (
            f"models:\n  router:\n    - {MODEL}\n    - id: two\n      endpont: x\n",
            "FILE:5: models.router.1.endpont",
            "endpoint?",
        ),
        (GOOD + "setings: {}\n", "FILE:3: setings", "settings?"),
        (GOOD + "settings:\n  turn:\n    dedline_s: 5\n", "FILE:5: settings.turn", "deadline_s?"),
        (GOOD + "roles:\n  router: {promt: x}\n", "FILE:4: roles.router.promt", "prompt?"),
        (SINGLE + "    context_length: long\n", "FILE:5:", "valid integer"),
        (SINGLE + "    context_length: yes\n", "FILE:5:", "expected a number, found True"),
        (SINGLE + "    timeout_s: .inf\n", "FILE:5:", "finite number"),
        (SINGLE + "    max_concurrency: 0\n", "FILE:5:", "greater than 0, found 0"),
        (SINGLE + "    api: grpc\n", "FILE:5: models.router.api", "'chat_completions'"),
        (SINGLE + "    tools: some\n", "FILE:5: models.router.tools", "'all'"),
        ("models:\n  router:\n    endpoint: embedded\n", "FILE:2: models.router.id", "required"),
        ("models:\n  router:\n    id: tiny\n", "FILE:2: models.router.endpoint", "required"),
        (
            "models:\n  router: tiny\n",
            "FILE:2: models.router",
            "expected a model (id: and endpoint:)",
        ),
        ("models:\n  router: []\n", "FILE:2: models.router", "at least 1 item"),
        (SINGLE.replace("http:", "ftp:"), "FILE:4: models.router.endpoint", "embedded"),
        (SINGLE.replace("9000", "99999"), "FILE:4: models.router.endpoint", "port"),
        (GOOD + f"  answer: {MODEL}\n", "FILE:3: models.answer", "reserved"),
        (GOOD + f"  Legal Team: {MODEL}\n", "FILE:3: models.Legal Team", "lower-case"),
        (
            SINGLE + "    role: coding\n",
            "FILE:5: models.router.role",
            "expected 'router', found 'coding'",
        ),
        (GOOD + "models: {}\n", "FILE:3:", "models stands here twice"),
        (SINGLE + "    id: other\n", "FILE:5:", "id stands here twice"),
        ("models:\n  router: [\n", "FILE:3:", "not valid YAML"),
        ("models:\n\trouter: x\n", "FILE:2:", "not valid YAML"),
        (GOOD + "description: 2024-99-99\n", "FILE:", "not valid YAML"),
        ("", "FILE is empty", "router"),
        ("# only a comment\n", "FILE is empty", "router"),
        ("- models\n", "FILE:1:", "found list"),
        ("just text\n", "FILE:1:", "found str"),
        (b"\xff\xfem\x00", "FILE is not UTF-8", "byte 0"),
        ("models: {}\n", "FILE: models.router is missing", "who answers"),
        ("stack: embedded\n" + GOOD, "FILE", "not both"),
        (GOOD + "1: 2\n", "FILE:3: 1", "a key must be text"),
        (
            GOOD + "roles:\n  router:\n    prompt: prompts/none.md\n",
            "FILE:5: roles.router.prompt",
            "prompts/none.md does not exist. Looked in:",
        ),
        (GOOD + 'roles: {router: {prompt: "a\\0b"}}\n', "FILE:3:", "does not exist"),
        (GOOD + "settings: {routing: {role: cooking}}\n", "settings.routing.role", "cooking"),
        (GOOD + "settings: {routing: {strategy: fixed}}\n", "settings.routing", "needs a role"),
        (GOOD + "settings: {filters: {patterns: ['(']}}\n", "FILE:3:", "not a regular expression"),
    ],
)
def test_a_wrong_file_is_named_with_line_key_and_cure(
    file: Path, text: str | bytes, where: str, what: str
) -> None:
    message = complaint(file, text)
    assert message.startswith(where)
    assert what in message


def test_several_mistakes_are_reported_at_once(file: Path) -> None:
    message = complaint(file, SINGLE + "    contxt: 5\n    api: grpc\n")
    assert [line.partition(" ")[0] for line in message.splitlines()] == ["FILE:5:", "FILE:6:"]


def test_a_password_in_a_url_is_refused_and_not_repeated(file: Path) -> None:
    message = complaint(file, SINGLE.replace("localhost", "me:hunter2@localhost"))
    assert "api_key_env" in message
    assert "hunter2" not in message


def test_an_empty_or_unreadable_prompt_is_named(file: Path) -> None:
    text = GOOD + "roles: {router: {prompt: p.md}}\n"
    (file.parent / "p.md").write_bytes(b" \n")
    assert "is empty" in complaint(file, text)
    (file.parent / "p.md").write_bytes(b"\xff")
    assert "cannot read the prompt" in complaint(file, text)


@pytest.mark.parametrize("name", ["embeded", "nothing-like-it"])
def test_an_unknown_stack_lists_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=f"no stack named '{name}'") as caught:
        load_stack(name)
    assert ("Did you mean embedded?" in str(caught.value)) == (name == "embeded")
    assert "mixed" in str(caught.value)


@pytest.mark.parametrize(
    "path", ["./none.yaml", "~nobody-at-all/x.yaml", "a\0.yaml", "x" * 5000 + ".yaml"]
)
def test_a_stack_file_that_does_not_exist(path: str) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_stack(path)


def test_a_file_too_large_and_a_named_config_that_is_missing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "larger than" in complaint(file, "#" * 1_000_001)
    monkeypatch.setenv("ROLECALL_CONFIG", str(file.parent / "none.yaml"))
    with pytest.raises(ConfigError, match="ROLECALL_CONFIG names"):
        load_stack("single")


KEYS = ["models", "roles", "settings", "stack", "router", "coding", "id", "endpoint", "sampling"]
KEYS += ["tools", "prompt", "turn", "deadline_s", "routing", "strategy", "filters", "patterns"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.binary(max_size=4),
    st.sampled_from(["embedded", "http://localhost:1/v1", "http://[", "fixed", "a\0.yaml", "("]),
)
NAMES = st.one_of(st.sampled_from(KEYS), st.text(max_size=5), st.integers(), st.none())
TREES: st.SearchStrategy[Any] = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    top=st.dictionaries(NAMES, TREES, max_size=5), router=st.dictionaries(NAMES, TREES, max_size=3)
)
@example(top={}, router={"timeout_s": 10**400})
@example(top={"settings": {"turn": {"deadline_s": 10**5000}}}, router={})
def test_any_mapping_loads_or_raises_config_error(
    top: dict[Any, Any], router: dict[Any, Any]
) -> None:
    model = {"id": "tiny", "endpoint": "embedded", **router}
    for data in (top, {**top, "models": {"router": model}}):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "any.yaml"
            try:
                text = yaml.safe_dump(data, allow_unicode=False)
            except (yaml.YAMLError, ValueError):
                continue
            file.write_text(text, encoding="utf-8")
            with suppress(ConfigError):
                assert isinstance(load_stack(file), Stack)
