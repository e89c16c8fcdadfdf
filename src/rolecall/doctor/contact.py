"""First contact with the models of a stack: who is there, before anything is asked of a model.

Loads nothing, and is over within about two seconds when nothing is up.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import httpx

from rolecall.config.schema import EMBEDDED, ModelSpec, Stack
from rolecall.doctor.problems import Problem, not_offered, nothing_answers
from rolecall.doctor.verdict import Verdict
from rolecall.errors import ConfigError, RemoteEndpoint, RolecallError
from rolecall.models.capabilities import endpoint_key
from rolecall.models.endpoint import (
    KEY_REFUSED,
    Address,
    address_of,
    list_models,
    name_at,
    refuse_remote,
    refused_key,
)

_RESOLVE_S = 2.0
_CONNECT_S = 1.5
_ANSWER_S = 5.0


@dataclass
class Contact:
    """A model of the stack, once its endpoint has been looked at.

    Attributes:
        roles: the roles that name it, each with its place among the role's candidates.
        verdict: ``ok`` so far, else why it cannot be examined.
        offered: the models that the endpoint lists, if it does.
        name: the model's name there.
    """

    spec: ModelSpec
    roles: dict[str, int]
    verdict: Verdict = "ok"
    why: str = ""
    address: Address | None = None
    offered: list[str] = field(default_factory=list)
    name: str = ""
    problems: list[Problem] = field(default_factory=list)

    @property
    def reachable(self) -> bool:
        """Whether the endpoint answers, whatever it offers."""
        return self.verdict != "unreachable"

    @property
    def key(self) -> str:
        """Its endpoint: models of one are asked one after the other."""
        try:
            return endpoint_key(self.spec)
        except RolecallError:
            return self.spec.endpoint


async def contact_all(stack: Stack, role: str | None = None) -> list[Contact]:
    """Every model of the stack, or of one role; a model that several roles name comes once."""
    found: dict[tuple[str, str], Contact] = {}
    for name, candidates in stack.models.items():
        if role is not None and name != role:
            continue
        for place, spec in enumerate(candidates):
            one = found.setdefault((spec.endpoint, spec.id), Contact(spec, {}))
            one.roles.setdefault(name, place)
    contacts = list(found.values())
    await asyncio.gather(*(_look(one, stack) for one in contacts))
    return contacts


async def _look(one: Contact, stack: Stack) -> None:
    spec, roles = one.spec, list(one.roles)
    try:
        if spec.endpoint == EMBEDDED:
            await asyncio.to_thread(_look_embedded, one)
            return
        async with asyncio.timeout(_RESOLVE_S):
            await refuse_remote(spec)
        one.address = address_of(spec)
        offered = await _offered(one.address)
    except RemoteEndpoint as error:
        remedy = (
            f"models.{roles[0]}.allow_remote: true in {stack.source}, if it may be sent prompts"
        )
        _fail(one, "unfit", "not on this network", Problem(str(error), remedy))
    except ConfigError as error:
        variable = spec.api_key_env
        remedy = f"export {variable}=…" if variable else f"correct {stack.source}"
        _fail(one, "unfit", str(error), Problem(str(error), remedy))
    except (httpx.HTTPError, OSError):
        problem = nothing_answers(spec, stack, roles)
        _fail(one, "unreachable", "nothing answers there", problem)
    else:
        one.offered, one.name = offered or [], spec.id
        if offered is None:
            return
        name = name_at(offered, spec.id)
        if name is None:
            problem = not_offered(spec, offered, roles, stack)
            _fail(one, "unfit", "the endpoint has no such model", problem)
        else:
            one.name = name


async def _offered(address: Address) -> list[str] | None:
    timeout = httpx.Timeout(_ANSWER_S, connect=_CONNECT_S)
    async with (
        asyncio.timeout(_ANSWER_S),
        httpx.AsyncClient(
            verify=address.tls, trust_env=False, follow_redirects=False, timeout=timeout
        ) as client,
    ):
        # a machine that drops packets is told from a server that is slow to answer
        reply = await client.get(address.root + "/v1/models", headers=address.headers)
        if reply.status_code in KEY_REFUSED:
            raise ConfigError(refused_key(reply.status_code))
        return await list_models(address, client)


def _look_embedded(one: Contact) -> None:
    from rolecall.config.catalog import load_catalog
    from rolecall.models.embedded.weights import weights_path

    entry = load_catalog()[one.spec.id]
    one.offered, one.name = [entry.id], entry.id
    path = weights_path(entry)
    if path is None or not path.is_file():
        size = f" ({entry.size_bytes / 1e6:.0f} MB)" if entry.size_bytes else ""
        problem = Problem(
            f"the weights of {entry.id} are not on this machine{size}",
            f"rolecall models pull {entry.id}",
        )
        _fail(one, "unreachable", "its weights are not pulled yet", problem)


def _fail(one: Contact, verdict: Verdict, why: str, problem: Problem) -> None:
    one.verdict, one.why = verdict, why
    one.problems.append(problem)
