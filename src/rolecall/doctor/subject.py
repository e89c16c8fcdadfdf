"""One model at one endpoint, ready to be asked: bare, and through our own client."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from langchain_core.messages import AIMessage, AIMessageChunk

from rolecall.config.schema import ModelSpec, Settings, Stack
from rolecall.doctor.dialogue import PATHS, Ask, Said, read, request
from rolecall.errors import RolecallError
from rolecall.models.calls import CallRecord
from rolecall.models.capabilities import WireApi
from rolecall.models.client import LocalLLMClient
from rolecall.models.context import OLLAMA_CONTEXT
from rolecall.models.endpoint import Address
from rolecall.models.reply import final
from rolecall.models.server_facts import OLLAMA, ServerFacts
from rolecall.models.wire import CallOptions

_STATUS = re.compile(r"HTTP (\d{3})")
_TO_THINK = 512  # tokens that a model that reasons is given more


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {' '.join(text.split())[:200]}")
        self.status = status


@dataclass
class Subject:
    """A model that is being examined.

    Attributes:
        spec: the model as the stack names it.
        name: its name at the server.
        thinks: it was seen to reason, so it needs more tokens and time.
    """

    spec: ModelSpec
    address: Address
    name: str
    facts: ServerFacts
    http: httpx.AsyncClient
    thinks: bool = False
    client: LocalLLMClient = field(init=False)

    def __post_init__(self) -> None:
        if self.facts.runner == OLLAMA and self.spec.context_length is None:
            # one length in all requests: Ollama loads a model anew for another
            usual = min(self.facts.max_context_length or OLLAMA_CONTEXT, OLLAMA_CONTEXT)
            length = max(self.facts.context_length or 0, usual)
            self.spec = self.spec.model_copy(update={"context_length": length})
        update: dict[str, Any] = {"timeout_s": 120.0}
        if "tool_check" in ModelSpec.model_fields:
            update["tool_check"] = "never"  # the model's own behaviour is wanted
        models = {str(api): [self.spec.model_copy(update={**update, "api": api})] for api in PATHS}
        stack = Stack("doctor", Path("doctor"), "", models, {}, Settings())
        self.client = LocalLLMClient(stack)

    def tokens(self, wanted: int) -> int:
        """The limit for an answer of so many tokens."""
        return wanted + _TO_THINK if self.thinks else wanted

    async def say(self, api: WireApi, ask: Ask) -> Said:
        """Put a bare request.

        Raises:
            Refused: the server answered with an error.
            ValueError: what it answered is not of the API.
            httpx.HTTPError: the connection failed.
        """
        body = request(api, self.name, ask, self.spec.context_length)
        return read(api, (await self.post(PATHS[api], body)).json())

    async def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Post to the server; raises as :meth:`say`."""
        url = self.address.root + path
        reply = await self.http.post(url, json=body, headers=self.address.headers)
        if reply.status_code != httpx.codes.OK:
            raise Refused(reply.status_code, reply.text)
        return reply

    async def ask(
        self, api: WireApi, text: str, options: CallOptions
    ) -> tuple[AIMessage, CallRecord]:
        """Ask through our client; the record is that of the last attempt.

        Raises:
            Refused: the server answered with an error.
            RolecallError: as the client does.
        """
        records: list[CallRecord] = []
        chunks: list[AIMessageChunk] = []
        messages: Sequence[tuple[str, str]] = [("user", text)]
        stream = self.client.astream(api, messages, options=options, on_call=records.append)
        try:
            async with aclosing(stream):
                async for chunk in stream:
                    chunks.append(chunk)
        except RolecallError as error:
            status = _STATUS.search(records[-1].error or "") if records else None
            if status is None:
                raise
            raise Refused(int(status[1]), str(error)) from error
        return final(chunks), records[-1]
