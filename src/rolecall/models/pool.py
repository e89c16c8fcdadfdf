"""Open models: one wire per model spec and event loop, opened once, checked once."""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from rolecall.config.schema import EMBEDDED, ModelSpec, Stack
from rolecall.errors import UnknownModel
from rolecall.models.context import ContextGuard
from rolecall.models.endpoint import Address, address_of, list_models, name_at, refuse_remote
from rolecall.models.identity import seen_before
from rolecall.models.limits import Limits
from rolecall.models.schema_modes import SchemaModes
from rolecall.models.wire import Wire, open_wire
from rolecall.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from rolecall.models.embedded.runner import EmbeddedRunner

_EMBEDDED_CONTEXT = 8192


@dataclass
class _Loop:
    """What belongs to one event loop: connections cannot cross loops."""

    wires: dict[str, Wire] = field(default_factory=dict)
    opening: dict[str, asyncio.Lock] = field(default_factory=dict)


class ModelPool:
    """Opens the models of a stack on demand.

    Args:
        stack: whose models these are.
        progress: shows the pull and the start of embedded models.
    """

    def __init__(self, stack: Stack, progress: Progress | None = None) -> None:
        self._stack = stack
        self._progress = progress or SilentProgress()
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = (
            weakref.WeakKeyDictionary()
        )
        self._limits: dict[tuple[str, str], Limits] = {}
        self._runner: EmbeddedRunner | None = None
        self.context = ContextGuard()
        self.schemas = SchemaModes()

    async def wire(self, spec: ModelSpec) -> Wire:
        """The open wire of a model.

        Raises:
            RemoteEndpoint, UnknownModel, RunnerFailed, DownloadFailed, ConfigError
        """
        here, key = self._here(), _key(spec)
        if key in here.wires:
            return here.wires[key]
        async with here.opening.setdefault(key, asyncio.Lock()):
            if key not in here.wires:
                named = spec
                if spec.endpoint == EMBEDDED:
                    address = await asyncio.to_thread(self._ensure_embedded, spec)
                else:
                    await refuse_remote(spec)
                    address = address_of(spec)
                    spec = await _as_listed(spec, address)
                here.wires[key] = open_wire(spec, address, await seen_before(named, address))
            return here.wires[key]

    def limits(self, spec: ModelSpec) -> Limits:
        """What the model is given at a time at its endpoint, over all roles that name it."""
        key = (spec.endpoint, spec.id)
        if key not in self._limits:
            same = [spec, *self._same(spec)]
            rates = [s.requests_per_minute for s in same if s.requests_per_minute is not None]
            limits = Limits(
                max(other.max_concurrency for other in same),
                max(other.max_queue for other in same),
                min(rates, default=None),
            )
            self._limits.setdefault(key, limits)
        return self._limits[key]

    def spread(self, candidates: list[ModelSpec]) -> list[ModelSpec]:
        """The candidates in order of preference, endpoints of the same model by least load."""
        if len(candidates) == 1:
            return candidates
        places: dict[str, int] = {}
        for spec in candidates:
            places.setdefault(spec.id, len(places))
        return sorted(candidates, key=lambda spec: (places[spec.id], self.limits(spec).load))

    def _same(self, spec: ModelSpec) -> list[ModelSpec]:
        return [
            other
            for candidates in self._stack.models.values()
            for other in candidates
            if (other.endpoint, other.id) == (spec.endpoint, spec.id)
        ]

    def forget(self, spec: ModelSpec) -> None:
        """Let a model's connections go; the next call opens (and starts) it again.

        They are closed when the last call that still uses them has ended.
        """
        self._here().wires.pop(_key(spec), None)

    async def close(self) -> None:
        """Close this event loop's connections. Embedded servers stay up for the next command."""
        for key in list(self._here().wires):
            await self._drop(key)

    async def _drop(self, key: str) -> None:
        wire = self._here().wires.pop(key, None)
        if wire is not None:
            await wire.close()

    def _here(self) -> _Loop:
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            # Connections know their loop and would keep it alive: asyncio.run leaves closed ones.
            for other in [other for other in list(self._loops) if other.is_closed()]:
                self._loops.pop(other, None)
            self._loops[loop] = _Loop()
        return self._loops[loop]

    def _ensure_embedded(self, spec: ModelSpec) -> Address:
        from rolecall.models.embedded.runner import EmbeddedRunner

        if self._runner is None:
            self._runner = EmbeddedRunner(self._progress)
        same = self._same(spec) or [spec]
        server = self._runner.ensure(
            spec.id,
            context_length=max(other.context_length or _EMBEDDED_CONTEXT for other in same),
            parallel=max(other.max_concurrency for other in same),
        )
        return Address(server.base_url, server.api_key)


def _key(spec: ModelSpec) -> str:
    """Equal specs share a wire, whichever role names them."""
    return spec.model_dump_json(exclude={"role", "tools"})


async def _as_listed(spec: ModelSpec, address: Address) -> ModelSpec:
    """The spec under the name that the server has for it.

    Some runners answer with whatever model they have: they are asked first what that is.
    """
    try:
        offered = await list_models(address)
    except (httpx.HTTPError, OSError):
        return spec  # the call itself will tell what is wrong, and retry
    if offered is None:
        return spec
    name = name_at(offered, spec.id)
    if name is not None:
        return spec if name == spec.id else spec.model_copy(update={"id": name})
    listed = ", ".join(sorted(offered)[:20]) or "no model"
    raise UnknownModel(
        f"{spec.endpoint} has no model {spec.id!r}. It has: {listed}. "
        "Load it there, or put one of these as id into the stack file."
    )
