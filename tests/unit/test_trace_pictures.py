"""Pictures of a trace: its way through the graph, and when what ran. All open offline."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rolecall.assistant import Assistant
from rolecall.drawing import draw_graph
from rolecall.graphs.assistant import build_assistant
from rolecall.models.client import LocalLLMClient
from rolecall.telemetry.steps import path_of, steps_of
from rolecall.telemetry.timeline import timeline_of
from rolecall.timeline_drawing import draw_timeline, to_text

NASTY = "<script>alert(1)</script>\x1b[31m&\"'\x00"


def trace(**turn: Any) -> dict[str, Any]:
    call = {"node": "reasoning", "role": "reasoning", "model": NASTY, "status": "ok"}
    call |= {"input_tokens": 3, "output_tokens": 4, "error": None}
    tool = {"name": "clock", "status": "success"}
    return {
        "turn": {"trace_id": "abc", "status": "done", "started_at": 10.0, "total_ms": 100.0}
        | {
            "path": '[["init", 10], ["router", 20], ["reasoning", 60], ["tool_runner", 80], '
            '["tool_runner", 90], ["synthesis", 95]]'
        }
        | turn,
        "decisions": [{"at": 10.02, "latency_ms": 5.0, "strategy": "llm"}],
        "model_calls": [
            {**call, "started_at": 10.025, "latency_ms": 15.0, "ttft_ms": None}
            | {"status": "error", "error": NASTY},
            {**call, "started_at": 10.04, "latency_ms": 18.0, "ttft_ms": 6.0},
        ],
        "tool_calls": [
            {**tool, "started_at": 10.061, "latency_ms": 15.0},
            {**tool, "started_at": 10.062, "latency_ms": 25.0, "status": "error"},
        ],
        "errors": [],
    }


def test_a_step_begins_where_the_one_before_ended() -> None:
    steps = steps_of(trace())
    assert [s.node for s in steps] == path_of(trace())
    router, reasoning = steps[1], steps[2]
    assert router.ended_at == reasoning.started_at == pytest.approx(10.02)
    first, second = steps[3], steps[4]
    assert first.started_at == second.started_at == pytest.approx(10.06)  # side by side
    assert steps[5].started_at == pytest.approx(10.09)


def test_a_trace_without_a_path_is_read_from_its_calls() -> None:
    without = trace(path=None)
    expected = ["init", "router", "reasoning", "tool_runner", "synthesis"]
    assert path_of(without) == expected
    assert path_of(trace(path="nonsense")) == expected
    assert path_of(trace(path=None, status="failed")) == expected[:-1]


def test_bars_stand_below_their_nodes() -> None:
    bars = timeline_of(trace()).bars
    assert [(b.kind, b.ok) for b in bars] == [
        ("turn", True),
        ("node", True),
        ("node", True),
        ("node", True),
        ("model", False),
        ("model", True),
        ("node", True),
        ("node", True),
        ("tool", True),
        ("tool", False),
        ("node", True),
    ]
    assert bars[5].start_ms == pytest.approx(40)
    assert bars[5].first_token_ms == pytest.approx(46)
    assert bars[0].end_ms == pytest.approx(100)


def test_a_picture_holds_text_only_as_text() -> None:
    timeline = timeline_of(trace())
    svg = draw_timeline(timeline, "svg").decode()
    root = ET.fromstring(svg)
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names == {"svg", "rect", "text", "line", "g", "title"}
    assert len([e for e in root.iter() if e.get("class") == "first-token"]) == 1
    page = draw_timeline(timeline, "html").decode()
    for text in (svg, page):
        assert "<script" not in text
        assert "\x1b" not in text
        assert not re.findall(r"(?:src|href)\s*=|url\(|@import", text)
    assert "&lt;script&gt;alert(1)" in page
    assert draw_timeline(timeline, "png").startswith(b"\x89PNG")
    assert "\x1b" not in to_text(timeline)


@pytest.mark.parametrize("gone", ["started_at", "total_ms"])
def test_a_turn_that_is_still_running_can_be_drawn(gone: str) -> None:
    running = trace(status="running", path=None, **{gone: None})
    running |= {"decisions": [], "model_calls": [], "tool_calls": []}
    for form in ("svg", "png", "html"):
        assert draw_timeline(timeline_of(running), form)


@pytest.fixture
def graph(runner: Any, stack_for: Any) -> Any:
    return build_assistant(LocalLLMClient(stack_for(runner))).compile().get_graph()


WAY = ["init", "router", "reasoning", "tool_runner", "tool_runner", "reasoning", "synthesis"]


def test_the_way_stands_out_in_each_format(graph: Any) -> None:
    ascii_ = draw_graph(graph, "ascii", WAY).decode()
    assert "# reasoning #" in ascii_
    assert "| coding |" in ascii_
    assert "#" not in draw_graph(graph, "ascii").decode()
    svg = draw_graph(graph, "svg", WAY).decode()
    # start, init, router, reasoning, tool_runner, synthesis, end; the lines between them
    assert svg.count("#fde68a") == 7
    assert svg.count('stroke-width="3.0"') == 6
    assert "#fde68a" not in draw_graph(graph, "svg").decode()
    assert draw_graph(graph, "png", WAY) != draw_graph(graph, "png")


def test_mermaid_numbers_the_edges_that_were_passed(graph: Any) -> None:
    text = draw_graph(graph, "mermaid", WAY).decode()
    lines = [line.strip() for line in text.splitlines() if "->" in line]
    styled = re.search(r"linkStyle ([\d,]+) ", text)
    assert styled is not None
    passed = {lines[int(number)] for number in styled[1].split(",")}
    assert passed == {
        "__start__ --> init;",
        "init --> router;",
        "router -.-> reasoning;",
        "reasoning -.-> tool_runner;",
        "tool_runner -.-> reasoning;",
        "reasoning -.-> synthesis;",
        "synthesis --> __end__;",
    }
    (named,) = re.findall(r"class (\S+) visited", text)
    assert "coding" not in named


def test_the_commands(
    assistant: Assistant, brain: Any, run: Callable[..., Any], tmp_path: Path
) -> None:
    brain.say("Merge sort.")
    reply = assistant.ask("Which sort?", role="reasoning")
    assistant.flush()
    shown = run("graph", "--trace", reply.trace_id[:8])
    assert "# reasoning #" in shown.out
    assert run("graph", "--trace", "nobody").code == 2
    for form in ("svg", "png", "html"):
        done = run("trace", "timeline", reply.trace_id, "-o", str(tmp_path / f"t.{form}"), "--json")
        assert done.code == 0
        assert [b["name"] for b in done.json["bars"] if b["kind"] == "node"] == reply.path
        assert (tmp_path / f"t.{form}").stat().st_size > 500
    assert "reasoning-model" in run("trace", "timeline", reply.trace_id).out
    wrong = run("trace", "timeline", reply.trace_id, "-o", "t.pdf")
    assert wrong.code == 2
    assert "ends in .svg, .png or .html" in wrong.err
    assert run("trace", "timeline", reply.trace_id, "-o", str(tmp_path / "no" / "t.svg")).code == 5
    folder = tmp_path / "other.yaml"
    spec = "{id: m, endpoint: 'http://localhost:1'}"
    folder.write_text(f"models: {{router: {spec}, coding: {spec}}}\n")
    lacks = run("graph", "--trace", reply.trace_id, "--stack", str(folder))
    assert (lacks.code, "--stack" in lacks.err) == (2, True)
