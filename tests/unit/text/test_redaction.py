"""Secrets are blotted out, code and prose are not, and a stream gives what the whole gives."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolecall.models.text.redaction import Redactor

BODY = "MIIEowIBAAKCAQEA0123456789abcdefghijklmnopqrstuvwxyz+/ABCDEFGHIJ\n" * 4
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}QUJD==\n-----END RSA PRIVATE KEY-----"
R = "[redacted]"
SECRET = [
    (PEM, R),
    (PEM.replace("\n", "\\n"), R),
    (PEM[:150], R),
    ("AKIA" + "Z7" * 8, R),
    ("ghp_" + "a1" * 18, R),
    ("github_pat_" + "a1_" * 10, R),
    ("glpat-" + "a1" * 10, R),
    ("xoxb-12345678-abcdef", R),
    ("sk-proj-" + "a1B2" * 8, R),
    ("AIza" + "b3_-" * 9, R),
    ("sk_live_" + "a1" * 12, R),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF123_-x", R),
    ("Authorization: Bearer abcdefghij0123456789", f"Authorization: Bearer {R}"),
    ("postgres://bob:hunter2@db/x", f"postgres://{R}@db/x"),
    ("password=hunter2", f"password={R}"),
    ("DB_PASSWORD: s3cr3t-value", f"DB_PASSWORD: {R}"),
    ('"api_key": "abcdefgh"', f'"api_key": "{R}"'),
    ("client_secret = 'abcd-efgh-ijkl'", f"client_secret = '{R}'"),
    ('os.environ["API_KEY"] = "abc-123-def"', f'os.environ["API_KEY"] = "{R}"'),
    ("dbPassword = 'abcd1234efgh'", f"dbPassword = '{R}'"),
    ("aws_secret_access_key=wJalrXUtnFEMIK7MDENGbPxRfiCY", f"aws_secret_access_key={R}"),
]
HARMLESS = [
    "password = input()", "password: str", 'os.environ["API_KEY"]', "password = getpass.getpass()",
    "api_key=os.environ.get('X1')", "password = config.db2.password", "password: Optional[str1]",
    "password: string", '"password": "string"', 'api_key="YOUR_API_KEY"', 'api_key="<your key>"',
    'password="${DB_PASSWORD}"', "token = tokenizer.encode(text1)", "max_tokens=100000000000",
    "bearer token authentication", "https://localhost:8080/a", "a sk-learn-is-a-great-library-too",
    "The password is long.", "-----BEGIN PRIVATE KEY----- starts it", "-----BEGIN CERTIFICATE-----",
    "task-force-number-one-of-all", "git@example.org:me/repo", "", "A plan: - one",
]  # fmt: skip


def streamed(redactor: Redactor, chunks: list[str]) -> str:
    stream = redactor.stream()
    return "".join([stream.feed(chunk) for chunk in chunks]) + stream.close()


@pytest.mark.parametrize(("text", "expected"), SECRET)
def test_a_secret_is_redacted(text: str, expected: str) -> None:
    assert Redactor().redact(f"See: {text} and") == f"See: {expected} and"
    assert Redactor().redact(text) == expected
    assert streamed(Redactor(), list(text)) == expected


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor().redact(text) == text
    assert streamed(Redactor(), list(text)) == text


@pytest.mark.parametrize(
    ("patterns", "text", "expected"),
    [
        (["(?i)acme"], "At ACME now", f"At {R} now"),
        (["(?x) acme # the customer"], "At acme", f"At {R}"),
        ([r"\bcat\b", "a+b"], "cat cats aab", f"{R} cats {R}"),
        ([r"(\w)\1", "o"], "boo o", f"b{R}{R} {R}"),
        (["a.*z"], "a z b z c", f"{R} c"),
        (["foo$"], "foo\nfoo\n", f"foo\n{R}\n"),
        (["(?m)foo$"], "foo\nfoo x\n", f"{R}\nfoo x\n"),
        ([r"(?<=id: )\d+"], "id: 12 13", f"id: {R} 13"),
        (["x*"], "axxb", f"a{R}b"),
        (["(a+)+b"], "a" * 30, "a" * 30),
        ([r"x\B"], "x xy", f"x {R}y"),
    ],
)
def test_patterns_of_the_user(patterns: list[str], text: str, expected: str) -> None:
    redactor = Redactor(patterns, secrets=False)
    assert redactor.redact(text) == expected
    for size in (1, 2, 3):
        chunks = [text[at : at + size] for at in range(0, len(text), size)]
        assert streamed(redactor, chunks) == expected


def test_prose_goes_out_in_the_call_in_which_it_came() -> None:
    stream = Redactor().stream()
    for chunk in ("The", " password", " is", " a", " secret", " token", ".", "\n", "Bearer"):
        assert stream.feed(chunk) == chunk


def test_what_may_be_a_value_waits_for_the_end_of_its_word() -> None:
    stream = Redactor().stream()
    assert [stream.feed(chunk) for chunk in ("password: ", "le", "ft", " empty")] == [
        "password: ",
        "",
        "",
        "left empty",
    ]


def test_without_patterns_nothing_is_touched() -> None:
    redactor = Redactor(secrets=False)
    assert redactor.redact(PEM) == PEM
    assert redactor.stream().feed("AK") == "AK"


def test_a_stream_holds_back_a_bounded_amount() -> None:
    stream = Redactor(["(?s)<.*>"], secrets=False).stream()
    shown = "".join([stream.feed("<" + "x" * 999) for _ in range(20)])
    assert len(shown) > 9_000


PARTS = st.sampled_from(
    [text for text, _ in SECRET]
    + HARMLESS
    + ["password", ": ", "=", '"', "AK", "sk-", "://", ":",
     "eyJ", " ", "\n", "prose ", "secret_", "token", "Bearer ", "-----", "x1y2z3w4", "@", "-"]
)  # fmt: skip


@settings(deadline=None, max_examples=120)
@given(st.lists(PARTS, max_size=8).map("".join), st.integers(0, 9999))
def test_a_stream_gives_what_the_whole_gives(text: str, seed: int) -> None:
    random = Random(seed)
    bounds = [0, *sorted(random.randint(0, len(text)) for _ in range(8)), len(text)]
    for redactor in (Redactor(), Redactor([r"\bprose\b", r"x\d.*w", "(?i)SEE$"])):
        whole = redactor.redact(text)
        assert streamed(redactor, [text[a:b] for a, b in pairwise(bounds)]) == whole
        assert streamed(redactor, list(text)) == whole
