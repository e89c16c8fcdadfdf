"""Sentences of a conversation, and how much each is worth remembering.

Extractive summarising by surface features, as in Edmundson, "New Methods in Automatic Extracting"
(1969): cue words, position, names and numbers. No model, no word lists of a language are needed
for most of it; the cue words are those of six languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

Speaker = Literal["user", "assistant"]

LONGEST = 240  # characters of one sentence
_HEAD, _TAIL = 12_000, 4_000  # characters of a message that are looked at
_WORTH_NOTHING = 0.0
_REMEMBERED = 512  # sentences whose words need not be looked up again

_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_MARKUP = re.compile(r"^\s*(?:[-*+•>#]+|\d{1,2}[.)])\s+|\*\*|__|`", re.MULTILINE)
_END = re.compile(r"(?<=[.!?…][\"')\]])\s+|(?<=[.!?…])\s+|(?<=[。！？])|\n+")
_ABBREVIATION = re.compile(r"(?:\b(?:[A-Za-z]|Mr|Mrs|Ms|Dr|St|vs|No|Nr|etc|z\.B|e\.g|i\.e))\.$")

_WORD = re.compile(r"\w[\w'’-]*")
_NUMBER = re.compile(r"\d")
_NAME = re.compile(r"(?<=[\w,;:'’\"“(] )[\"“(]?[A-ZÀ-ÖØ-ÞА-ЯΑ-Ω][\w'’-]+")
_QUOTED = re.compile(r"[\"“«„@_]|://|[a-z][A-Z]|\w[/\\]\w")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SMALL = _words(
    """
    I I'm I’m I've I’ve I'd I’d I'll I’ll Monday Tuesday Wednesday Thursday Friday
    """
)

# what people say of themselves, and words that announce what matters: en, de, fr, es, it, pt
_PERSONAL = _words(
    """
    i i'm i've i'd i'll my mine our ours we we're we've me us mein meine meinen meiner meinem unser
    unsere unseren ich wir mon ma mes notre nos je j'ai nous mi mis soy tengo nuestro nuestra mio
    mia miei sono meu minha sou tenho
    """
)
_CUES = _words(
    """
    remember note mind forget important prefer prefers preferred favourite favorite like likes love
    loves hate hates dislike always never must only allergic allergy decide decided let's agree
    agreed choose chose chosen settled deadline budget plan goal name named called password instead
    actually change changed changes now merk merke wichtig lieber bevorzuge immer nie entschieden
    vergiss heißt heiße heisse frist lieblings souviens préfère toujours jamais décidé recuerda
    prefiero siempre nunca decidido preferisco sempre mai lembre prefiro
    """
)
_CONCLUDING = _words(
    """
    answer total result therefore recommend recommended conclusion decided agreed will ergebnis also
    insgesamt donc résultat resultado quindi
    """
)
_EMPTY_TALK = re.compile(
    r"^(?:hi|hello|hey|thanks?|thank you|ok(?:ay)?|great|nice|cool|sure|certainly|of course|yes|no"
    r"|got it|understood|noted|you['’]re welcome|sorry|i['’]m sorry|i hope|let me know|feel free"
    r"|is there anything|how can i|as an ai|here (?:is|are)|please let|hallo|danke|gern\w*|bitte"
    r"|bonjour|merci|hola|gracias|ciao|grazie|olá|obrigad\w)\b[^0-9]{0,60}[.!?:]*$",
    re.IGNORECASE,
)


def sentences(text: str) -> Iterator[str]:
    """The sentences of a message without code and markup; of a long one its beginning and end."""
    if len(text) > _HEAD + _TAIL:
        text = f"{text[:_HEAD]}\n{text[-_TAIL:]}"
    plain = _MARKUP.sub("", _CODE.sub("\n", text))
    held = ""
    for part in _END.split(plain):
        held = f"{held} {part.strip()}".strip()
        if not held or (held[-1] == "." and _ABBREVIATION.search(held[-5:])):
            continue
        yield _short(held)
        held = ""
    if held:
        yield _short(held)


def worth(sentence: str, by: Speaker, first: bool) -> float:
    """How much a sentence is worth remembering; 0: nothing.

    Args:
        sentence: one sentence.
        by: who said it. What users say of themselves counts most.
        first: it is the message's first.
    """
    words = {word.lower().replace("’", "'") for word in _WORD.findall(sentence)}
    facts = min(len(_NUMBER.findall(sentence)), 3) * 0.4
    facts += min(len(names(sentence)), 3) * 0.5
    facts += 0.7 if _QUOTED.search(sentence) else 0.0
    if not facts and ((len(words) < 3 and len(sentence) < 12) or _EMPTY_TALK.match(sentence)):
        return _WORTH_NOTHING
    if by == "assistant":
        concludes = 0.0 if words.isdisjoint(_CONCLUDING) else 0.5
        return 0.2 + 0.5 * facts + concludes + (0.4 if first else 0.0)
    personal = 0.0 if words.isdisjoint(_PERSONAL) else 2.0
    cue = 0.0 if words.isdisjoint(_CUES) else 1.5
    if sentence.endswith(("?", "？")):  # a question asks for facts, it seldom holds any
        return 0.3 + 0.3 * (personal + cue) + 0.5 * facts
    return 1.0 + personal + cue + facts


def names(sentence: str) -> list[str]:
    """Words with a capital letter that do not begin the sentence."""
    found = (name.strip('"“(') for name in _NAME.findall(sentence))
    return [name.removesuffix("'s").removesuffix("’s") for name in found if name not in _SMALL]


@lru_cache(_REMEMBERED)
def facts_of(sentence: str) -> frozenset[str]:
    """What must not get lost of a sentence: words with digits, names; in lower case."""
    found = {word.lower() for word in _WORD.findall(sentence) if _NUMBER.search(word)}
    return frozenset(found | {name.lower() for name in names(sentence)})


@lru_cache(_REMEMBERED)
def words_of(sentence: str) -> frozenset[str]:
    """The words that carry a sentence's meaning: those of more than three letters, and numbers."""
    return frozenset(
        word.lower()
        for word in _WORD.findall(sentence)
        if len(word) > 3 or word[0].isdigit() or not word.isascii()
    )


def _short(sentence: str) -> str:
    line = " ".join(sentence.split())
    if len(line) <= LONGEST:
        return line
    return line[:LONGEST].rsplit(" ", 1)[0].rstrip(",;:") + " …"
