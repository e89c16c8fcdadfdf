"""LangSmith: silent unless the user turns it on; traces and evaluates here without a key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rolecall.models.scripted import ScriptedReply, ScriptedRunner

TURN = """
import sys
from langchain_core.tracers.langchain import wait_for_all_tracers
from rolecall import Assistant
with Assistant.open(sys.argv[1]) as assistant:
    assistant.ask(sys.argv[2], role="reasoning")
wait_for_all_tracers()
"""

# what the documentation shows
OFFLINE = """
import json, sys, uuid
from langchain_core.tracers.langchain import wait_for_all_tracers
from langsmith import evaluate
from langsmith.schemas import Example
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rolecall import Assistant

memory, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(memory))
trace.set_tracer_provider(provider)

def right(outputs, reference_outputs):
    return {"key": "right", "score": outputs["answer"] == reference_outputs["answer"]}

pairs = [("Which sort is stable?", "Merge sort."), ("And quicksort?", "It is not.")]
examples = [
    Example(id=uuid.uuid4(), inputs={"question": question}, outputs={"answer": answer})
    for question, answer in pairs
]
with Assistant.open(sys.argv[1]) as assistant:
    def answer(inputs):
        return {"answer": assistant.ask(inputs["question"], role="reasoning").text}

    rows = list(evaluate(answer, data=examples, evaluators=[right], upload_results=False))
wait_for_all_tracers()
scores = [row["evaluation_results"]["results"][0].score for row in rows]
print(json.dumps([scores, [span.name for span in memory.get_finished_spans()]]))
"""


class LangSmith:
    """Counts what would go to the service."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.paths.append(self.path)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_GET = do_PATCH = do_POST  # noqa: N815 - http.server's names

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def service() -> Iterator[LangSmith]:
    started = LangSmith()
    yield started
    started.server.shutdown()
    started.server.server_close()


@pytest.fixture
def stack(runner: ScriptedRunner, stack_file: Any) -> Path:
    runner.default = ScriptedReply("Merge sort.")
    path: Path = stack_file(runner)
    return path


def begun(script: str, stack: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(stack), *words],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    return out


def test_nothing_is_sent_unless_it_is_turned_on(
    service: LangSmith, stack: Path, runner: ScriptedRunner
) -> None:
    silent = LangSmith()
    key = {"LANGSMITH_API_KEY": "lsv2_not_a_key"}
    off = begun(TURN, stack, "off", **key, LANGSMITH_ENDPOINT=silent.url)
    on = begun(TURN, stack, "on", **key, LANGSMITH_ENDPOINT=service.url, LANGSMITH_TRACING="true")
    said(off)
    said(on)
    silent.server.shutdown()
    silent.server.server_close()
    assert silent.paths == []
    assert [path for path in service.paths if "runs" in path]
    one, other = runner.calls
    assert set(one.headers) == set(other.headers)  # the model's server learns nothing of it


def test_it_traces_and_evaluates_here_without_a_key(service: LangSmith, stack: Path) -> None:
    here = {"LANGSMITH_TRACING": "true", "LANGSMITH_TRACING_MODE": "otel"}
    out = said(begun(OFFLINE, stack, **here, LANGSMITH_ENDPOINT=service.url))
    scores, spans = json.loads(out.splitlines()[-1])
    assert sorted(scores) == [False, True]
    assert {"rolecall", "router", "reasoning", "synthesis"} <= set(spans)
    assert service.paths == []
