"""Guards against a prompt that a server would cut in silence.

Before a call the conversation is brought down to what the model can read: the smaller of the
spec's ``context_length`` and what the server says, less room for the answer. After it, what the
server says it has read is held against what was sent: a runner that cuts the front of a prompt
answers 200 and tells nobody.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.messages.ai import UsageMetadata

from rolecall.config.schema import ModelSpec
from rolecall.errors import ModelCallFailed, RolecallError
from rolecall.models.context_report import Prompt, too_long
from rolecall.models.fitting import DoesNotFit, Fitted, fit
from rolecall.models.server_facts import UNKNOWN, FactsCache, ServerFacts
from rolecall.models.token_counts import (
    Key,
    Size,
    TokenEstimator,
    count_exactly,
    size_of,
    size_of_tools,
    total,
)
from rolecall.models.wire import CallOptions, Wire

OLLAMA_CONTEXT = 8192  # num_ctx where neither the stack, the model nor the server states one
_ANSWER_SHARE, _ANSWER_MOST = 0.25, 2048  # kept free for an answer without max_tokens
_SURELY_FITS = 1024  # tokens; no server that is in use reads less
_NEAR = 0.6  # of the room: from here on tokens are counted, not estimated
_ROUNDS = 4  # at most so many exact counts a call
_DENSER = 1.02
# Of what was sent the server has read less than this: Ollama leaves half of a full context.
_CUT_OF_COUNT, _CUT_OF_LEARNT, _CUT_OF_ESTIMATE = 0.7, 0.65, 0.5
_FULL = 0.8  # of the context: so much of an estimate may have been too much for it
_REFUSED_LESS = 0.75

Estimate = Callable[[Key, Size], int]

_OVERFLOW = re.compile(
    r"context (?:size|length|window|overflow)|too long|longer than|exceeds? the", re.I
)
_STATED_LIMIT = re.compile(r"context (?:size|length)\D{0,40}?(\d{3,7})", re.I)
_STATED_PROMPT = re.compile(
    r"request \((\d+) tokens|(\d+) in the messages|the first (\d+) tokens|requested (\d+) tokens",
    re.I,
)


class ContextGuard:
    """What is known in this process about how much each model can read, and its use."""

    def __init__(self) -> None:
        self._facts = FactsCache()
        self._estimator = TokenEstimator()
        self._seen: dict[Key, int] = {}  # limits that calls have shown
        self._loaded: dict[Key, int] = {}  # what Ollama was told to load

    async def prepare(
        self, wire: Wire, spec: ModelSpec, messages: list[BaseMessage], options: CallOptions
    ) -> Prompt:
        """The prompt of a call, brought down to what the model can read.

        Raises:
            ContextTooLong: what may not be left out does not fit.
        """
        key = (wire.address.root, wire.model_id)
        size = total(messages).plus(size_of_tools(options.tools))
        estimate = self._estimator.at_most(key, size)
        own = wire.api == "ollama"
        stated = spec.context_length
        reserve = options.max_tokens or spec.sampling.max_tokens
        wanted = estimate + (reserve or 0)
        small = estimate <= _SURELY_FITS and (stated is None or wanted <= _NEAR * stated)
        facts = UNKNOWN
        if not small or (own and stated is None and key not in self._loaded):
            facts = await self._facts.facts(wire.address, wire.model_id)
        if own:
            # Ollama reloads a model when it changes: it never shrinks, whichever role asks
            before = self._loaded.get(key)
            self._loaded[key] = loaded = max(before or 0, stated or before or _to_load(facts))
            options = replace(options, context_length=loaded)
            bounds = [stated or loaded, facts.max_context_length, self._seen.get(key)]
        else:
            bounds = [stated, facts.bound, self._seen.get(key)]
        limit = min((n for n in bounds if n), default=None)
        prompt = Prompt(messages, options, wire, key, size, limit, estimate)
        if limit is None:
            return prompt
        if reserve is None:
            reserve = min(int(limit * _ANSWER_SHARE), _ANSWER_MOST)
        room = limit - min(reserve, limit // 2)
        if estimate <= _NEAR * room:
            return prompt
        return await self._fitted(prompt, spec, facts, room)

    async def check(self, prompt: Prompt, usage: UsageMetadata | None) -> dict[str, Any]:
        """The call's report, with what the server says it has read.

        ``truncated`` is ``{"read": …, "sent": …}`` where the server has cut the prompt; the
        next prompt for that model is then brought down to what it did read.
        """
        report = prompt.report
        read = _read(usage)
        if read is None:
            return report
        limit = await self._cut(prompt, read)
        if limit is None:
            self._estimator.learn(prompt.key, prompt.size, read)
        else:
            self._seen[prompt.key] = limit
            report["truncated"] = {"read": read, "sent": prompt.sent}
        return report

    def refused(self, prompt: Prompt, failure: RolecallError) -> bool:
        """Whether a server refused a prompt as too long; the next try will be shorter.

        It takes the limit and the number of tokens from the server's words, where they are there.
        """
        if not isinstance(failure, ModelCallFailed) or failure.partial:
            return False
        text = str(failure)
        if failure.status not in {400, 413, 422, 500} or not _OVERFLOW.search(text):
            return False
        limit = next((int(n) for n in _STATED_LIMIT.findall(text)), None)
        tokens = next((int(n) for m in _STATED_PROMPT.findall(text) for n in m if n), None)
        if tokens is not None:
            self._estimator.learn(prompt.key, prompt.size, tokens)
        if limit is None and tokens is None and prompt.sent < _SURELY_FITS // 2:
            return False  # whatever it means, a shorter prompt will not help
        if limit is None or (prompt.limit is not None and limit >= prompt.limit and not tokens):
            limit = int(_REFUSED_LESS * min(prompt.sent, prompt.limit or prompt.sent))
        self._seen[prompt.key] = max(limit, 1)
        self._facts.forget(prompt.wire.address, prompt.wire.model_id)
        return True

    async def _fitted(
        self, prompt: Prompt, spec: ModelSpec, facts: ServerFacts, room: int
    ) -> Prompt:
        tools, key = size_of_tools(prompt.options.tools), prompt.key
        estimated: Estimate = self._estimator.at_most
        fitted = Fitted(prompt.messages)
        counted: int | None = 0
        for left in reversed(range(_ROUNDS)):
            size = total(fitted.messages).plus(tools)
            estimate = estimated(key, size)
            if counted is not None:  # else it cannot be counted
                counted = await self._count(prompt, facts, fitted.messages)
            sent = estimate if counted is None else counted
            if sent <= room or not left:
                break
            # what is left may be a little denser than the whole that was counted
            scale = 1.0 if counted is None else _DENSER * counted / max(estimate, 1)

            def tokens(part: Size, scale: float = scale, estimated: Estimate = estimated) -> float:
                return scale * estimated(key, part)

            try:
                fitted = fit(prompt.messages, room - tokens(tools), lambda m: tokens(size_of(m)))
            except DoesNotFit as error:
                if counted is not None or estimated == self._estimator.likely:
                    raise too_long(error, prompt, spec, facts, room) from None
                estimated = self._estimator.likely  # no reason to refuse what may well fit
        return replace(
            prompt,
            messages=fitted.messages,
            size=size,
            sent=sent,
            exact=counted is not None,
            dropped=fitted.dropped,
            shortened=fitted.shortened,
        )

    async def _count(
        self, prompt: Prompt, facts: ServerFacts, messages: list[BaseMessage]
    ) -> int | None:
        wire = prompt.wire
        return await count_exactly(
            wire.address, facts.runner, wire.model_id, messages, prompt.options.tools
        )

    async def _cut(self, prompt: Prompt, read: int) -> int | None:
        """The limit that a cut prompt shows; ``None`` when nothing was cut."""
        wire = prompt.wire
        if prompt.exact:
            return read if read < _CUT_OF_COUNT * prompt.sent else None
        # without the tools: not every chat template knows them
        likely = self._estimator.likely(prompt.key, total(prompt.messages))
        suspect = _CUT_OF_LEARNT if self._estimator.knows(prompt.key) else _CUT_OF_ESTIMATE
        if prompt.size.images or likely < _SURELY_FITS or read >= suspect * likely:
            return None
        # Only an estimate says so: ask again, now that the model is loaded.
        self._facts.forget(wire.address, wire.model_id)
        facts = await self._facts.facts(wire.address, wire.model_id)
        counted = await self._count(prompt, facts, prompt.messages)
        if counted is not None:
            return read if read < _CUT_OF_COUNT * counted else None
        if facts.context_length is not None:
            return facts.context_length if likely > _FULL * facts.context_length else None
        return max(read, _SURELY_FITS) if read < _CUT_OF_ESTIMATE * likely else None


def _to_load(facts: ServerFacts) -> int:
    """The context length that Ollama is asked for when the stack names none."""
    default = min(facts.max_context_length or OLLAMA_CONTEXT, OLLAMA_CONTEXT)
    # more, where the model is already loaded so or its Modelfile says so
    return max(facts.context_length or 0, default)


def _read(usage: UsageMetadata | None) -> int | None:
    """The prompt tokens that a server reports; ``None`` when it reports none."""
    if usage is None or not usage["input_tokens"]:
        return None
    read = usage["input_tokens"]
    cached = (usage.get("input_token_details") or {}).get("cache_read") or 0
    return read + cached if cached > read else read  # some count cached tokens apart
