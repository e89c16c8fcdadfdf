"""A scripted runner: a real HTTP server on loopback that says what a test tells it to.

Use it to test your own graph, tools or prompts without a model; it needs no pytest:

    from rolecall import Assistant
    from rolecall.models.scripted import Fault, ScriptedReply, ScriptedRunner

    def test_the_assistant_tells_the_time(tmp_path, monkeypatch):
        monkeypatch.setenv("ROLECALL_HOME", str(tmp_path))
        with ScriptedRunner(models=["tiny"]) as runner:
            runner.enqueue(                                # one script per call, in order
                ScriptedReply(tool_calls=[{"name": "clock", "args": {}}]),
                "It is noon.",
            )
            stack = tmp_path / "stack.yaml"
            spec = f"{{id: tiny, endpoint: '{runner.endpoint}'}}"
            stack.write_text(f"models: {{router: {spec}, reasoning: {spec}, coding: {spec}}}")
            with Assistant.open(stack=stack) as assistant:
                assert assistant.ask("What time is it?", role="coding").text == "It is noon."
            assert runner.calls[0].model == "tiny"         # what was asked, in order

A script is a :class:`ScriptedReply`, its text alone, a rule ``(Request) -> ScriptedReply``, or a
:class:`Verbatim`: a whole HTTP answer in a runner's own words. ``runner.default`` answers when
nothing is queued.

It plays chat completions, Responses and Ollama's native API (:data:`Dialect`), streamed and not,
and fails on demand in every way of :class:`Fault`:

    runner.enqueue(ScriptedReply("one two three", fault=Fault("cut_stream", after=2)))
    runner.faults["/v1/models"] = 500                      # a path, whatever is scripted
    runner.pages["/props"] = {"default_generation_settings": {"n_ctx": 4096}}

Exchanges with a real runner can be kept in YAML and played again (:func:`load_exchanges`):

    kept = load_exchanges(Path("ollama.yaml"))
    kept.play_on(runner, kept.exchanges[0])
"""

from __future__ import annotations

from rolecall.models.scripted.dialect import Dialect
from rolecall.models.scripted.exchanges import Exchange, Exchanges, load_exchanges
from rolecall.models.scripted.runner import Page, ScriptedRunner
from rolecall.models.scripted.script import Fault, FaultKind, Request, ScriptedReply
from rolecall.models.scripted.verbatim import Verbatim

__all__ = [
    "Dialect",
    "Exchange",
    "Exchanges",
    "Fault",
    "FaultKind",
    "Page",
    "Request",
    "ScriptedReply",
    "ScriptedRunner",
    "Verbatim",
    "load_exchanges",
]
