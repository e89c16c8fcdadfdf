"""Shows one turn as it happens: who answers and why, the answer as markdown, a status line."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markdown import Markdown
from rich.padding import Padding
from rich.spinner import Spinner
from rich.text import Text

from rolecall.cli.output import printable, seconds, write
from rolecall.reply import Part, Reply

_REFRESH_S = 0.12
_REASONING_LINES = 4


class TurnView:
    """Renders the parts of one turn.

    On a terminal: finished paragraphs are printed for good, the growing one is redrawn. Anywhere
    else: the bare text.
    """

    def __init__(self, console: Console, notes: Console) -> None:
        self._console = console
        self._notes = notes
        self._fancy = console.is_terminal
        self._text = ""
        self._printed = 0
        self._reasoning = ""
        self._status = "working"
        self._drawn_at = 0.0
        self._live: Live | None = None

    def __enter__(self) -> TurnView:
        if self._fancy:
            self._live = Live(
                console=self._console, auto_refresh=False, transient=True, redirect_stderr=False
            )
            self._live.start()
            self._draw(force=True)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.update(Text(""), refresh=True)
            self._live.stop()
            self._live = None
            rest = self._text[self._printed :]
            if rest.strip():
                self._console.print(Markdown(rest))
        elif self._text and not self._text.endswith("\n"):
            write("\n")

    def show(self, part: Part) -> None:
        """Show one part."""
        part = Part(part.type, printable(part.data)) if self._fancy else part
        data = part.data
        if part.type == "decision":
            self._decided(data)
        elif part.type == "text":
            self._status = f"{data['role']} answers"
            self._add_text(part.text)
        elif part.type == "reasoning":
            self._reasoning += part.text
            self._status = f"{data['role']} is thinking"
        elif part.type == "tool_started":
            arguments = ", ".join(f"{k}={v!r}" for k, v in data["arguments"].items())
            self._end_text()
            self._note(f"  {data['name']}({arguments})", "cyan")
            self._status = f"running {data['name']}"
        elif part.type == "tool_finished":
            self._note(
                f"  = {_first_line(data['result'])}",
                "cyan" if data["status"] in {"success", "journaled"} else "red",
            )
        elif part.type == "call" and data["call"]["status"] == "error":
            self._note(f"  {data['call']['error']}", "yellow")
        elif part.type == "note":
            self._note(f"  {data['note']}", "yellow")
        elif part.type == "replaced":
            self._text, self._printed = part.text, 0
            self._note(f"  the answer was replaced: {data['why']}", "yellow")
        self._draw()

    def _decided(self, data: dict[str, Any]) -> None:
        decision = data["decision"]
        role = (decision["target_model"] or "router").lower()
        self._status = f"{role} answers"
        how = "escalated" if data["strategy"] == "escalation" else data["strategy"]
        if data["strategy"] == "fixed":
            self._note(f"{role}: {decision['reason']}", "dim")
        else:
            self._note(f"{role} ({how} {decision['confidence']:.2f}): {decision['reason']}", "dim")

    def _add_text(self, text: str) -> None:
        self._text += text
        if not self._fancy:
            write(text)
            return
        end = _last_paragraph_end(self._text, self._printed)
        if end > self._printed and self._live is not None:
            self._live.console.print(Markdown(self._text[self._printed : end]))
            self._printed = end
            self._draw(force=True)

    def _end_text(self) -> None:
        """What follows is another reply: what stands so far was said before a tool call."""
        if self._fancy and self._live is not None and self._text[self._printed :].strip():
            self._live.console.print(Markdown(self._text[self._printed :]))
        elif self._text and not self._fancy:
            write("\n")
        self._text, self._printed = "", 0

    def _note(self, text: str, style: str) -> None:
        if self._live is not None:
            self._live.console.print(Text(text, style=style))
        elif not self._console.is_terminal and self._notes.is_terminal:
            self._notes.print(Text(text, style=style))

    def _draw(self, *, force: bool = False) -> None:
        if self._live is None:
            return
        now = time.monotonic()
        if not force and now - self._drawn_at < _REFRESH_S:
            return
        self._drawn_at = now
        parts: list[RenderableType] = []
        if self._reasoning and not self._text:
            tail = "\n".join(self._reasoning.splitlines()[-_REASONING_LINES:])
            parts.append(Padding(Text(tail, style="dim italic"), (0, 0, 0, 2)))
        rest = self._text[self._printed :]
        if rest.strip():
            parts.append(Markdown(rest))
        parts.append(Spinner("dots", Text(self._status, style="dim")))
        self._live.update(Group(*parts), refresh=True)


def status_line(reply: Reply) -> str:
    """Who answered, with what model, why, how long it took, where it is kept.

    A model of another role stands in where the stack names that one as a fallback.
    """
    answered = next((c for c in reversed(reply.calls) if c["status"] == "ok"), None)
    decision = reply.decision or {}
    meant = (decision.get("target_model") or "router").lower()
    pieces = [meant]
    if answered is not None:
        role = str(answered["role"])
        stands_in = bool(decision) and role != meant
        pieces = [f"{role} in place of {meant}" if stands_in else role, answered["model"]]
    if reply.strategy:
        fixed = reply.strategy == "fixed"
        pieces.append("fixed" if fixed else f"{reply.strategy} {decision['confidence']:.2f}")
    pieces.append(seconds(reply.timings_ms.get("total")))
    if answered is not None and answered["output_tokens"]:
        pieces.append(f"{answered['output_tokens']} tokens")
    if reply.finish_reason == "length":
        pieces.append("cut at the token limit")
    pieces.append(f"thread {reply.thread_id}")
    return " · ".join(pieces)


def _last_paragraph_end(text: str, start: int) -> int:
    """Where the last finished paragraph ends, never inside a fenced code block."""
    end, fenced = start, False
    position = start
    for line in text[start:].splitlines(keepends=True):
        position += len(line)
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
            if not fenced and line.endswith("\n"):
                end = position
        elif not fenced and not line.strip() and line.endswith("\n"):
            end = position
    return end


def _first_line(text: str) -> str:
    line = next((line for line in text.splitlines() if line.strip()), "")
    more = len(text.splitlines()) > 1 or len(line) > 100
    return line[:100] + (" …" if more else "")
