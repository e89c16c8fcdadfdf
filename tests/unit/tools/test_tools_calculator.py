"""The calculator: right where it answers, and a message where it does not."""

from __future__ import annotations

import contextlib
import re
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.tools import ToolException

from rolecall.tools.calculator import calculator
from rolecall.tools.notation import MAX_CHARS

_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]\d+)?")


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("0.1+0.2", "0.3"),
        ("0.3-0.1-0.2", "0"),
        ("2**100", "1267650600228229401496703205376"),
        ("2^10", "1024"),
        ("3 × 4 =", "12"),
        ("12 ÷ 4 = ?", "3"),
        ("=1+1", "2"),
        ("8 − 3", "5"),
        ("3 x 4", "12"),
        ("17 mod 5", "2"),
        ("-7 % 3", "2"),
        ("-7 // 2", "-4"),
        ("1,234 * 2", "2468"),
        ("(1,234,567 + 1)", "1234568"),
        ("1_000 + 007", "1007"),
        ("max(100,200)", "200"),
        ("max(3)", "3"),
        ("sqrt(1,024)", "32"),
        ("15% of 80", "12"),
        ("100 - 15% of 80", "88"),
        ("200 * 15%", "30"),
        ("15%", "0.15"),
        ("10 % 3", "1"),
        ("5!", "120"),
        ("5! / 3!", "20"),
        ("5²", "25"),
        ("-2^2", "-4"),
        ("√16 + √(9)", "7"),
        ("math.sqrt(16)", "4"),
        ("SQRT(16)", "4"),
        ("sqrt(10**100)", "1" + "0" * 50),
        ("sqrt(2) ** 2", "2"),
        ("27 ** (1/3)", "3"),
        ("cbrt(-27)", "-3"),
        ("sin(pi)", "0"),
        ("cos(0)", "1"),
        ("ln(e)", "1"),
        ("log(8, 2)", "3"),
        ("log10(1000)", "3"),
        ("round(2.675, 2)", "2.68"),
        ("abs(-3.5)", "3.5"),
        ("factorial(20)", "2432902008176640000"),
        ("comb(49, 6)", "13983816"),
        ("gcd(12, 18)", "6"),
        ("sum(0.1, 0.2)", "0.3"),
        ("1/3", "0.333333333333333"),
        ("10**20/3", "33333333333333333333.333333"),
        ("12345678901234567890 * 10", "123456789012345678900"),
        ("10**-30", "1e-30"),
        ("1e5", "100000"),
        ("2*pi", "6.28318530717959"),
        ("`$15 * 3`", "45"),
        ("(-1)**99999999999", "-1"),
    ],
)
def test_it_calculates_what_small_models_write(expression: str, result: str) -> None:
    assert calculator(expression) == result


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("1/0", "divides by zero"),
        ("0**-1", "divides by zero"),
        ("2**100000", "too large"),
        ("9**9**9**9", "too large"),
        ("1e400", "too large"),
        ("exp(1000)", "too large"),
        ("factorial(100000)", "up to 1000"),
        ("factorial(2.5)", "whole number"),
        ("round(5, -1000000000)", "up to 300"),
        ("(-8)**(1/3)", "not a real number"),
        ("tan(pi/2)", "undefined"),
        ("log(0)", "domain"),
        ("2(3)", "write * to multiply"),
        ("8 / 2(2+2)", "write * to multiply"),
        ("1 000", "write * to multiply"),
        ("80 + 15%", "80 + 15% of 80"),
        ("10 % -3", "unclear"),
        ("(15)%", "number right before"),
        ("2^50%", "unclear"),
        ("10 / 50% of 4", "parentheses"),
        ("log(1,000)", "thousands separators"),
        ("max(1,234, 5)", "thousands separators"),
        ("1,23", "decimals with a point"),
        ("sqr(2)", "sqrt"),
        ("y + 1", "Put in its value"),
        ("sqrt", "with its arguments"),
        ("abs(sqrt)", "with its arguments"),
        ("min()", "cannot calculate"),
        ("1 +", "not a complete expression"),
        ("(((", "not a complete expression"),
        ("", "empty"),
        (" = ", "empty"),
        ("1" * (MAX_CHARS + 1), "in parts"),
        ("-" * 900 + "1", "nested too deeply"),
        ("1.2.3", "not arithmetic"),
    ],
)
def test_an_error_says_what_to_do(expression: str, hint: str) -> None:
    with pytest.raises(ToolException, match=re.escape(hint)):
        calculator(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('id')",
        "().__class__.__bases__",
        "(1).real",
        "sqrt.__globals__",
        "lambda: 1",
        "[x for x in (1,2)]",
        "'a' * 3",
        '"a"',
        "f'{1}'",
        "{1: 2}",
        "True",
        "None",
        "1j",
        "1 if 1 else 2",
        "1 < 2",
        "1 << 9999",
        "x := 5",
        "max(*(1, 2))",
        "round(1, ndigits=2)",
        "sqrt(2",
        "e(2)",
        "1;2",
        "1\n2",
        "...",
        "٣ + 1",
        "min",
        "\0",
        "\ud800",
    ],
)
def test_nothing_but_arithmetic_is_possible(expression: str) -> None:
    with pytest.raises(ToolException):
        calculator(expression)


_SYMBOLS = [*"0123456789+-*/%^()!,. =×²√$[]:_'xeE", "**", "//", "% of ", "__", "99999"]
_WORDS = ["sqrt", "max(", "log(", "factorial(", "comb(", "round(", "lcm(", "pi", "1e308", "import"]
_PIECES = st.sampled_from([*_SYMBOLS, *_WORDS])


@settings(max_examples=400, deadline=5000)
@given(st.lists(_PIECES, max_size=60).map("".join) | st.text(max_size=200))
def test_only_a_number_or_a_message_comes_out(expression: str) -> None:
    with contextlib.suppress(ToolException):
        assert _NUMBER.fullmatch(calculator(expression))


@given(st.integers(), st.integers(), st.integers(min_value=1))
def test_integers_are_exact(a: int, b: int, c: int) -> None:
    assert calculator(f"({a}) * ({b}) + ({a}) // {c}") == str(a * b + a // c)


@given(st.decimals(-1000, 1000, places=3), st.decimals(-1000, 1000, places=3))
def test_decimals_are_exact(a: object, b: object) -> None:
    assert Fraction(calculator(f"({a}) + ({b})")) == Fraction(str(a)) + Fraction(str(b))


@pytest.mark.parametrize(
    "expression",
    [
        "+".join(["comb(9999,4999)"] * 62),
        "+".join(["perm(1000,900)"] * 60),
        "*".join(["factorial(1000)"] * 50),
        "+".join(["1.0003**700"] * 80),
        "+".join(["gcd(10**3900,7**4000)"] * 40),
        "+".join(f"1/{9973 + 2 * i}" for i in range(120)),
        "9**" * 300 + "9",
        "(" * 499 + "1" + ")" * 499,
    ],
)
def test_the_dearest_expressions_end_soon(expression: str) -> None:
    started = time.monotonic()
    with contextlib.suppress(ToolException):
        calculator(expression)
    assert time.monotonic() - started < 5
