"""The strategy ``llm``: the router model picks one label, scored by log-probability.

A small model writes poor JSON and worse confidences. So it is asked for a single letter, and the
letters' log-probabilities become the probabilities; the decision JSON is ours to write. What the
model says for an empty message shows its leaning towards a letter, which is taken out
(contextual calibration: Zhao et al. 2021, arXiv 2102.09690). A runner that gives no
log-probabilities is asked for JSON under a schema, with one repair.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from rolecall.config.schema import ModelRole, Role
from rolecall.errors import DownloadFailed, ModelCallFailed, NoModelReachable, RunnerFailed
from rolecall.models.calls import CallRecord, OnCall
from rolecall.models.client import LocalLLMClient
from rolecall.models.wire import CallOptions
from rolecall.routing.decision import Decision, Routed, default_role
from rolecall.routing.leaning import LeaningFile

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_EMPTY_MESSAGES = ("", "...", "N/A")
_UNSEEN = -12.0  # a label that is not among the 20 likeliest tokens
_HEAD_CHARS, _TAIL_CHARS = 1500, 700
_CONTEXT_CHARS = 200
_FOLLOW_UP_WORDS = 4  # "now in Rust": only such a message needs what was said before
_LONGEST_JSON_TOKENS = 256
# What a template or our own prompt would read as the end of the message.
_FRAMES = re.compile(r"<\|(?=[\w/])|\[(?=/?(?:INST|SYS))|<(?=/?(?:s>|start_of_turn|end_of_turn))")
_OWN_LABELS = re.compile(r"^(\s*(?:message|letter))\s*:", re.IGNORECASE | re.MULTILINE)
_UNSCORED_CONFIDENCE = 0.5  # the label came as JSON: there is no probability to report

Message = dict[str, Any]


class LlmStrategy:
    """Asks the router model.

    Args:
        client: calls it.
        roles: the roles it chooses from, the router among them.
        leanings: keeps what was measured; by default in ``ROLECALL_HOME``.
    """

    def __init__(
        self, client: LocalLLMClient, roles: Sequence[Role], leanings: LeaningFile | None = None
    ) -> None:
        self._client = client
        self._file = leanings or LeaningFile()
        self._roles = list(roles)
        self._letters = list(_LETTERS[: len(roles)])
        self._leanings: dict[str, dict[str, float]] = {}

    async def decide(
        self, question: str, context: Sequence[str] = (), *, on_call: OnCall | None = None
    ) -> Routed:
        """Decide who answers. Never raises for a model that fails: then the default role does."""
        message = _shown(question, context)
        try:
            scored = await self._scores(message, on_call)
            if scored is not None:
                return self._from_scores(await self._calibrated(*scored, on_call))
            role = await self._from_json(message, on_call)
        except (NoModelReachable, ModelCallFailed, RunnerFailed, DownloadFailed) as error:
            why = str(error).splitlines()[0]
            return self._default(f"the router model could not be asked ({why})")
        if role is None:
            return self._default("the router model gave no usable label twice")
        reason = f"the router model chose {role.label}"
        return Routed(Decision.for_role(role.name, _UNSCORED_CONFIDENCE, reason), "llm")

    async def probabilities(
        self, question: str, context: Sequence[str] = (), on_call: OnCall | None = None
    ) -> dict[str, float] | None:
        """The probability of each label, for use beside other evidence.

        A label that came as JSON has no score; it gets half of the probability.

        Returns:
            Probabilities by label; ``None`` when the model gave no usable label.

        Raises:
            NoModelReachable, ModelCallFailed, RunnerFailed, DownloadFailed: it cannot be asked.
        """
        message = _shown(question, context)
        scored = await self._scores(message, on_call)
        if scored is not None:
            return self._shares(await self._calibrated(*scored, on_call))
        role = await self._from_json(message, on_call)
        if role is None:
            return None
        rest = (1.0 - _UNSCORED_CONFIDENCE) / max(len(self._roles) - 1, 1)
        return {r.label: _UNSCORED_CONFIDENCE if r is role else rest for r in self._roles}

    # --- one letter, by log-probability -----------------------------------------------------

    async def _scores(
        self, message: str, on_call: OnCall | None
    ) -> tuple[dict[str, float], str] | None:
        """The letters' log-probabilities, and the model that gave them."""
        if len(self._roles) > len(_LETTERS):
            return None
        model = ""

        def noted(record: CallRecord) -> None:
            nonlocal model
            model = f"{record.model} {record.endpoint}"
            if on_call is not None:
                on_call(record)

        found = await self._client.label_logprobs(
            ModelRole.ROUTER, self._prompt(message), self._letters, on_call=noted
        )
        if found is None:
            return None
        return {letter: max(found.get(letter, _UNSEEN), _UNSEEN) for letter in self._letters}, model

    async def _calibrated(
        self, scores: dict[str, float], model: str, on_call: OnCall | None
    ) -> dict[str, float]:
        leaning = self._leanings.get(model) or self._file.get(model, self._prompt(""))
        if leaning is None or set(leaning) != set(self._letters):
            leaning = await self._measured(model, on_call)
            if leaning is None:
                return scores
            self._file.put(model, self._prompt(""), leaning)
        self._leanings[model] = leaning
        return {letter: score - leaning[letter] for letter, score in scores.items()}

    async def _measured(self, model: str, on_call: OnCall | None) -> dict[str, float] | None:
        """What the model says for an empty message; ``None`` when it does not tell."""
        try:
            found = [await self._scores(text, on_call) for text in _EMPTY_MESSAGES]
        except (NoModelReachable, ModelCallFailed):
            return None
        seen = [entry[0] for entry in found if entry is not None and entry[1] == model]
        if not seen:
            return None
        return {
            letter: sum(entry[letter] for entry in seen) / len(seen) for letter in self._letters
        }

    def _shares(self, scores: dict[str, float]) -> dict[str, float]:
        top = max(scores.values())
        weights = {letter: math.exp(score - top) for letter, score in scores.items()}
        total = sum(weights.values())
        return {
            role.label: weights[letter] / total
            for letter, role in zip(self._letters, self._roles, strict=True)
        }

    def _from_scores(self, scores: dict[str, float]) -> Routed:
        probabilities = self._shares(scores)
        best = max(self._roles, key=lambda role: probabilities[role.label])
        ranked = sorted(probabilities.items(), key=lambda item: -item[1])
        listed = ", ".join(f"{label} {value:.2f}" for label, value in ranked)
        reason = f"the router model's label probabilities: {listed}"
        decision = Decision.for_role(best.name, round(probabilities[best.label], 4), reason)
        return Routed(decision, "llm", probabilities)

    def _prompt(self, message: str) -> list[Message]:
        kinds = "\n".join(
            f"{letter}: {role.description or role.name}"
            for letter, role in zip(self._letters, self._roles, strict=True)
        )
        prompt: list[Message] = [
            {
                "role": "system",
                "content": "Decide who answers the user's message. Reply with one letter.\n"
                + kinds,
            }
        ]
        # round robin, so that no letter stands in a block of its own
        longest = max(len(role.examples) for role in self._roles)
        for index in range(longest):
            for letter, role in zip(self._letters, self._roles, strict=True):
                if index < len(role.examples):
                    prompt += [
                        {"role": "user", "content": _asked(role.examples[index])},
                        {"role": "assistant", "content": letter},
                    ]
        return [*prompt, {"role": "user", "content": _asked(message)}]

    # --- JSON under a schema, where there are no log-probabilities ---------------------------

    async def _from_json(self, message: str, on_call: OnCall | None) -> Role | None:
        labels = [role.label for role in self._roles]
        kinds = "\n".join(f"{role.label}: {role.description or role.name}" for role in self._roles)
        schema = {
            "type": "object",
            "properties": {"label": {"type": "string", "enum": labels}},
            "required": ["label"],
            "additionalProperties": False,
        }
        prompt: list[Message] = [
            {
                "role": "system",
                "content": 'Sort the user\'s message. Reply with JSON: {"label": "…"}, one of\n'
                + kinds,
            },
            {"role": "user", "content": message},
        ]
        options = CallOptions(max_tokens=_LONGEST_JSON_TOKENS, temperature=0.0, schema=schema)
        for _ in range(2):
            reply = await self._client.achat(
                ModelRole.ROUTER, prompt, options=options, on_call=on_call
            )
            role = self._parse(reply.text)
            if role is not None:
                return role
            prompt += [
                {"role": "assistant", "content": reply.text or "{}"},
                {"role": "user", "content": f"Reply with JSON, the label one of {labels}."},
            ]
        return None

    def _parse(self, text: str) -> Role | None:
        start, end = text.find("{"), text.rfind("}")
        try:
            label = str(json.loads(text[start : end + 1])["label"]).strip()
        except (ValueError, KeyError, TypeError):
            return None
        return next((role for role in self._roles if role.label == label.upper()), None)

    def _default(self, why: str) -> Routed:
        role = default_role(self._roles)
        return Routed(Decision.for_role(role, 0.0, f"{why}; default"), "llm")


def _asked(message: str) -> str:
    return f"Message: {message}\nLetter:"


def _shown(question: str, context: Sequence[str]) -> str:
    if len(question) > _HEAD_CHARS + _TAIL_CHARS:
        question = f"{question[:_HEAD_CHARS]} … {question[-_TAIL_CHARS:]}"
    if context and len(question.split()) <= _FOLLOW_UP_WORDS:
        before = context[-1][:_CONTEXT_CHARS]
        question = f"{question}\n(said after: {before})"
    return _OWN_LABELS.sub(r"\1 -", _FRAMES.sub(lambda found: f"{found[0]} ", question))
