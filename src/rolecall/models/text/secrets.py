"""What a secret looks like. Each begins with literal characters, so that prose costs nothing.

The formats of tokens are those that their issuers document for secret scanning. Assignments must
carry a value that looks real: code that reads a secret from somewhere is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Secret:
    """A kind of secret: it begins with one of ``starts``, then matches ``joint`` and ``rest``.

    With ``keeps_start`` only what ``rest`` matches is secret.
    """

    starts: tuple[str, ...]
    rest: str
    joint: str = ""
    keeps_start: bool = False
    ignore_case: bool = False
    whole_word: bool = True


# Bounded, so that a text full of beginnings costs no more than its length.
_HAS_DIGIT = r"(?=[A-Za-z_.~+/=!@#%^*?-]{0,64}+[0-9])"
_PLACEHOLDER = (
    r"(?![<$%{*]|\.{3}|x{3}|(?i:your|insert|enter|replace|example|redacted|placeholder)"
    r"|(?i:string|number|boolean|integer|password|passphrase|secret|required|optional|hidden"
    r"|change-?me|undefined)[\"']|[A-Z]++(?:_[A-Z0-9]++)++[\"'])"
)
_PLAIN = r"[A-Za-z0-9_\-+/=.!@#%^*~?]"
_ATTRIBUTE = r"(?![A-Za-z_]\w*+\.[A-Za-z_])"
# Atomic, so that where the value begins never moves back.
_ASSIGN = r"[\"']?+\]?+\s{0,3}+(?>:=|={1,3}+>?+|:)\s{0,3}+[\"']?+"


def _value(least: int) -> str:
    return (
        rf"(?:(?<=\")(?=[^\"\s]{{{least}}}){_PLACEHOLDER}[^\"\s]++(?=\")"
        rf"|(?<=')(?=[^'\s]{{{least}}}){_PLACEHOLDER}[^'\s]++(?=')"
        rf"|(?<![\"'])(?={_PLAIN}{{{least}}}){_PLACEHOLDER}{_ATTRIBUTE}{_HAS_DIGIT}{_PLAIN}++(?![(\[]))"
    )


SECRETS = (
    Secret(
        ("-----BEGIN ",),
        r"(?:(?!PRIVATE)[A-Z0-9]++ ){0,3}+PRIVATE KEY(?: BLOCK)?-----"
        r"(?:(?:\s|\\[nr])++(?:[A-Za-z][A-Za-z-]*+: [^\n\\]*+|[A-Za-z0-9+/=]{16,}+))++"
        r"(?:(?:(?:\s|\\[nr])++[A-Za-z0-9+/=]{1,15}+){0,3}+"
        r"(?:\s|\\[nr])*+-----END [A-Z0-9 ]++-----)?+",
        whole_word=False,
    ),
    Secret(("AKIA", "ASIA", "ABIA", "ACCA"), r"[A-Z0-9]{16}(?![A-Za-z0-9])"),
    Secret(("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"[A-Za-z0-9]{36,}+"),
    Secret(("github_pat_",), r"[A-Za-z0-9_]{22,}+"),
    Secret(("glpat-", "gldt-", "glrt-", "glptt-", "glcbt-"), r"[A-Za-z0-9_\-.]{20,}+"),
    Secret(("xoxa-", "xoxb-", "xoxe-", "xoxp-", "xoxr-", "xoxs-", "xapp-"), r"[\w.-]{10,}+"),
    Secret(("hooks.slack.com/services/",), r"[\w/]{20,}+"),
    Secret(("sk-",), r"(?=[A-Za-z_-]{0,64}+[0-9])[A-Za-z0-9_-]{20,}+"),
    Secret(("AIza",), r"[\w-]{35,}+"),
    Secret(("ya29.",), r"[\w-]{20,}+"),
    Secret(("GOCSPX-",), r"[\w-]{20,}+"),
    Secret(("sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"), r"[A-Za-z0-9]{16,}+"),
    Secret(("hf_", "npm_"), r"[A-Za-z0-9]{30,}+"),
    Secret(("eyJ",), r"[\w-]{8,}+\.eyJ[\w-]{8,}+\.[\w-]{8,}+"),
    Secret(("bearer ",), rf"{_HAS_DIGIT}[\w.~+/-]{{16,}}+=*+", keeps_start=True, ignore_case=True),
    Secret(
        ("://",),
        r"[^\s/:@\"'<>]{0,64}+:[^\s/@\"'<>${]{1,256}+(?=@)",
        keeps_start=True,
        whole_word=False,
    ),
    Secret(
        ("password", "passwd", "passphrase", "pwd", "api_key", "apikey", "api-key"),
        _value(6),
        joint=_ASSIGN,
        keeps_start=True,
        ignore_case=True,
    ),
    Secret(
        (
            *("secret", "secret_key", "secret_access_key", "private_key", "access_key"),
            *("access_token", "auth_token", "refresh_token", "token"),
        ),
        _value(12),
        joint=_ASSIGN,
        keeps_start=True,
        ignore_case=True,
    ),
    Secret(
        ("Password", "ApiKey", "Secret", "SecretKey", "AccessKey", "AccessToken", "AuthToken"),
        _value(12),
        joint=_ASSIGN,
        keeps_start=True,
        whole_word=False,
    ),
)
KEPT = tuple(secret for secret in SECRETS if secret.keeps_start)
MASKED = tuple(secret for secret in SECRETS if not secret.keeps_start)


def head_of(secret: Secret) -> str:
    """The regular expression of what stands before the secret part, in the syntax of ``regex``."""
    starts = "|".join(re.escape(start) for start in sorted(secret.starts, key=len, reverse=True))
    boundary = "(?<![A-Za-z0-9])" if secret.whole_word else ""
    return f"{boundary}{'(?i:' if secret.ignore_case else '(?:'}{starts}){secret.joint}"


def pattern_of(secret: Secret) -> str:
    """The regular expression of one kind, in the syntax of ``regex``."""
    head = head_of(secret)
    return f"{f'(?P<keep>{head})' if secret.keeps_start else head}{secret.rest}"


def trigger_of(secrets: Sequence[Secret]) -> str:
    """Matches where a secret may begin, also one of which the end cuts off the start.

    In the syntax of ``re``, and wider than needed: its quick no spares prose the thorough search.
    """
    words = [secret for secret in secrets if secret.whole_word]
    starts = [start for secret in words for start in secret.starts]
    first = {start[0] for start in starts}
    first |= {start[0].upper() for secret in words if secret.ignore_case for start in secret.starts}
    rests = _any_or_end([start[1:].lower() for start in starts])
    others = _any_or_end(
        [start for secret in secrets if not secret.whole_word for start in secret.starts]
    )
    return rf"[{''.join(sorted(first))}](?<![A-Za-z0-9].)(?i:{rests}|\Z)|{others}"


def _any_or_end(starts: Sequence[str]) -> str:
    """Any of the starts, or a part of one at the end of the text; nothing is tried twice."""
    branches: dict[str, list[str]] = {}
    for start in starts:
        branches.setdefault(start[0], []).append(start[1:])
    patterns = []
    for char, rests in branches.items():
        more = "" if "" in rests else rf"(?:{_any_or_end(rests)}|\Z)"
        patterns.append(re.escape(char) + more)
    return "|".join(patterns)
