"""The built-in suites: small, each for one role, all checkable without a judge."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from rolecall.bench.cases import Case, read_cases
from rolecall.bench.public_sets import read_set, role_of
from rolecall.errors import UsageError

DATA = Path(__file__).with_name("data")
SEED = 0

Through = Literal["assistant", "client"]

_NEEDLE_TOKENS = (1000, 2000, 4000, 8000)
_NEEDLE_DEPTHS = (0.1, 0.5, 0.9)
_WORDS_PER_TOKEN = 0.75


@dataclass(frozen=True)
class Suite:
    """Cases of one kind.

    Attributes:
        role: whose model is asked; a case may name another one.
        max_tokens: of an answer, where the stack states none.
        quick: how many cases ``--quick`` takes.
        quick_about: it takes them of these groups only; of all, where there are none.
        quick_tokens: at most so many tokens an answer with ``--quick``.
        through: the whole assistant, or the client alone.
        bare: whether the model alone can be put beside it.
    """

    name: str
    role: str
    cases: Callable[[], list[Case]]
    max_tokens: int = 512
    quick: int = 8
    quick_tokens: int = 192
    through: Through = "assistant"
    bare: bool = True
    quick_about: tuple[str, ...] = ()

    def sample(self, quick: bool, limit: int | None) -> list[Case]:
        """The cases to ask: the same ones for every model, drawn with a fixed seed."""
        found = self.cases()
        if quick and self.quick_about:
            found = [case for case in found if case.about in self.quick_about]
        count = min(limit or len(found), self.quick if quick else len(found))
        if count >= len(found):
            return found
        drawn = random.Random(SEED).sample(range(len(found)), count)  # noqa: S311 - no secret
        return [found[index] for index in sorted(drawn)]


def _shipped(name: str) -> Callable[[], list[Case]]:
    return cache(lambda: read_cases(DATA / f"{name}.jsonl"))


def needles() -> list[Case]:
    """A fact in a long text, at several depths of texts of several lengths; always the same."""
    found: list[Case] = []
    for tokens in _NEEDLE_TOKENS:
        for depth in _NEEDLE_DEPTHS:
            chance = random.Random(f"{SEED}-{tokens}-{depth}")  # noqa: S311 - no secret
            word = "".join(chance.choices("BCDFGHJKLMNPQRSTVWXZ", k=4)) + str(
                chance.randrange(1000, 10_000)
            )
            lines: list[str] = []
            words = 0
            while words < tokens * _WORDS_PER_TOKEN:
                lines.append(_sentence(chance))
                words += len(lines[-1].split())
            lines.insert(int(depth * len(lines)), f"The code of the archive is {word}.")
            question = "What is the code of the archive? Answer with the code alone."
            found.append(
                Case(
                    id=f"needle-{tokens}-{depth:g}",
                    about=f"{tokens} tokens",
                    prompt=f"Read this text.\n\n{' '.join(lines)}\n\n{question}",
                    answer=[word],
                    match="contains",
                )
            )
    return found


def _sentence(chance: random.Random) -> str:
    who = chance.choice(("gardener", "pilot", "baker", "teacher", "sailor", "clerk", "nurse"))
    did = chance.choice(("walked", "waited", "slept", "read", "sang", "worked", "rested"))
    where = chance.choice(("the mill", "the old harbour", "a quiet street", "the station"))
    when = chance.choice(("in spring", "before noon", "on a Tuesday", "after the rain"))
    return f"The {who} {did} near {where} {when}."


def _speed() -> list[Case]:
    topics = ("a river that flows to the sea", "a walk through a city", "bread", "the night sky")
    return [
        Case(id=f"speed-{number}", prompt=f"Write about 150 words on {topic}.")
        for number, topic in enumerate(topics, 1)
    ]


SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite("router", "router", _shipped("router"), quick=24),
        Suite("coding", "coding", _shipped("coding"), quick=5, quick_tokens=320),
        Suite("reasoning", "reasoning", _shipped("reasoning"), quick=6),
        Suite("following", "reasoning", _shipped("following"), 256, quick_tokens=96),
        Suite("tools", "reasoning", _shipped("tools"), 256, 6, 96, "client"),
        Suite("structured", "reasoning", _shipped("structured"), 384, 5, 128, "client"),
        Suite(
            *("long_context", "reasoning", needles, 48, 2, 32, "client"),
            bare=False,
            quick_about=("1000 tokens", "2000 tokens"),
        ),
        Suite("speed", "reasoning", _speed, 128, 2, 64, "client", bare=False),
    )
}


def chosen(names: Sequence[str]) -> list[Suite]:
    """The suites of these names; all where there are none.

    Raises:
        UsageError: there is no such suite.
    """
    for name in names:
        if name not in SUITES:
            raise UsageError(f"there is no suite {name!r}; {', '.join(SUITES)}")
    return [SUITES[name] for name in dict.fromkeys(names)] if names else list(SUITES.values())


def from_file(path: Path, role: str) -> Suite:
    """The user's own cases as a suite named after the file. Raises ``DataError``."""
    cases = read_cases(path)
    return Suite(path.stem, role, lambda: cases, 1024)


def from_set(name: str, path: Path) -> Suite:
    """A public set as a suite. Raises ``DataError``."""
    cases = read_set(name, path)
    return Suite(name, role_of(name), lambda: cases, 1024)
