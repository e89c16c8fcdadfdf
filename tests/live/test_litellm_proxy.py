"""LiteLLM's proxy in front of the embedded server: chat completions and Responses not made by us.

It lives in an environment of its own, which ``make litellm`` makes, and asks nobody outside.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import pytest
import yaml
from langchain_core.messages import AIMessageChunk
from pydantic import BaseModel

from rolecall.config.schema import ModelSpec, Sampling, Settings, Stack
from rolecall.errors import ModelCallFailed, NoModelReachable, UnknownModel
from rolecall.models.client import LocalLLMClient
from rolecall.models.embedded.runner import EmbeddedRunner, RunningServer
from rolecall.models.wire import CallOptions

pytestmark = [pytest.mark.live, pytest.mark.enable_socket, pytest.mark.timeout(900)]

_ROOT = Path(__file__).parents[2]
_ENVIRONMENT = _ROOT / ".live" / "litellm"
_MODEL = "qwen2.5-coder-0.5b"
_KEY = "sk-of-this-test"
_START_S = 180.0
_UNREACHABLE = re.compile(
    r"failed to establish a new connection|connection (refused|broken|timed out)|name resolution"
    r"|network is unreachable|dns error|failed to (fetch|connect)|error sending request",
    re.IGNORECASE,
)
# LiteLLM reads its own copies of these lists instead of fetching them.
_ASKS_NOBODY = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
    "LITELLM_MODE": "PRODUCTION",  # no .env files
    "NO_DOCS": "True",
}


class Proxy(NamedTuple):
    """The running proxy."""

    process: psutil.Process
    endpoint: str


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def get_weather(city: str) -> str:
    """Get the current weather in a city."""
    return f"Sunny in {city}."


@pytest.fixture(scope="module")
def litellm() -> Path:
    """The folder of LiteLLM's programs."""
    made = subprocess.run(
        ["make", "-s", "litellm"], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    if made.returncode and _UNREACHABLE.search(said := made.stdout + made.stderr):
        pytest.skip(f"LiteLLM is not installed: no package registry can be reached: {said[-300:]}")
    assert made.returncode == 0, made.stdout + made.stderr
    return _ENVIRONMENT / "bin"


@pytest.fixture(scope="module")
def server(weights_home: Path) -> RunningServer:
    """The embedded server."""
    return EmbeddedRunner().ensure(_MODEL, context_length=4096)


@pytest.fixture(scope="module")
def proxy(
    litellm: Path, server: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """The running proxy."""
    folder = tmp_path_factory.mktemp("litellm")
    where = {
        "model": f"openai/{_MODEL}",
        "api_base": f"{server.base_url}/v1",
        "api_key": server.api_key,
    }
    gone = {**where, "api_base": "http://127.0.0.1:9/v1"}
    config = {
        "model_list": [
            {"model_name": _MODEL, "litellm_params": where},
            {"model_name": "not-there", "litellm_params": gone},
        ],
        "litellm_settings": {"num_retries": 0, "telemetry": False},
        "router_settings": {"num_retries": 0},
        "general_settings": {"master_key": _KEY},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [litellm / "litellm", "--config", "config.yaml", "--telemetry", "False"]
    command += ["--host", "127.0.0.1", "--port", str(port := _free_port())]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **_ASKS_NOBODY}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            _wait(process, f"http://127.0.0.1:{port}/health/liveliness", folder / "log")
            yield Proxy(psutil.Process(process.pid), f"http://127.0.0.1:{port}/v1")
        finally:
            process.terminate()


@pytest.fixture(params=["chat_completions", "responses"])
def client(
    request: pytest.FixtureRequest, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalLLMClient]:
    """A client of the proxy, over each of the two APIs."""
    monkeypatch.setenv("LITELLM_KEY", _KEY)
    specs = {
        role: [
            ModelSpec(
                id=model,
                endpoint=proxy.endpoint,
                api=request.param,
                api_key_env="LITELLM_KEY",
                timeout_s=100,
                sampling=Sampling(temperature=0.0, max_tokens=96),
            )
        ]
        for role, model in {"coding": _MODEL, "reasoning": "not-there", "router": "no-such"}.items()
    }
    client = LocalLLMClient(Stack("proxy", Path("proxy"), "", specs, {}, Settings()))
    yield client
    client.close()


def test_text_comes_with_usage_and_a_finish_reason(client: LocalLLMClient) -> None:
    reply = client.chat("coding", [("user", "What is the capital of France? One word.")])
    assert "Paris" in reply.text
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["input_tokens"] > 10
    assert reply.usage_metadata["output_tokens"] > 0
    assert reply.response_metadata["finish_reason"] == "stop"


def test_a_stream_comes_in_pieces_with_usage_at_its_end(client: LocalLLMClient) -> None:
    chunks = list(client.stream("coding", [("user", "Count from one to five in words.")]))
    assert sum(bool(chunk.text) for chunk in chunks) > 3
    whole = AIMessageChunk(content="").__add__(chunks)
    assert "three" in whole.text.lower()
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] > 3


def test_the_token_limit_is_told(client: LocalLLMClient) -> None:
    options = CallOptions(max_tokens=4)
    reply = client.chat("coding", [("user", "Tell me a long story.")], options=options)
    # LiteLLM's Responses say "completed" whatever ended the answer.
    api = client.stack.models["coding"][0].api
    assert reply.response_metadata["finish_reason"] == ("stop" if api == "responses" else "length")


def test_a_tool_is_called(client: LocalLLMClient) -> None:
    model = client.chat_model("coding").bind_tools([get_weather])
    reply = model.invoke("What is the weather in Oslo right now?")
    assert [call["name"] for call in reply.tool_calls] == ["get_weather"]
    assert "Oslo" in reply.tool_calls[0]["args"]["city"]


def test_an_answer_obeys_a_schema(client: LocalLLMClient) -> None:
    model = client.chat_model("coding").with_structured_output(Person)
    found = model.invoke("Ada is 36 years old. Who is it?")
    assert found == Person(name="Ada", age=36)


def test_a_model_that_the_proxy_does_not_have_is_named(client: LocalLLMClient) -> None:
    with pytest.raises(UnknownModel, match=_MODEL):
        client.chat("router", [("user", "hello")])


def test_a_model_that_is_down_behind_the_proxy_is_an_error(client: LocalLLMClient) -> None:
    with pytest.raises((NoModelReachable, ModelCallFailed), match=r"not-there at .*: HTTP 5"):
        client.chat("reasoning", [("user", "hello")])


def test_the_proxy_spoke_to_nobody_outside(proxy: Proxy) -> None:
    peers = {
        connection.raddr.ip
        for process in (proxy.process, *proxy.process.children(recursive=True))
        for connection in process.net_connections()
        if connection.raddr
    }
    assert peers <= {"127.0.0.1", "::1"}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")[-2000:]
        try:
            if httpx.get(url, timeout=2, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    pytest.fail(log.read_text(encoding="utf-8", errors="replace")[-2000:])
