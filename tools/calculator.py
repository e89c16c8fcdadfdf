"""The tool that calculates. Exact where arithmetic is exact: 0.1 + 0.2 is 0.3."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from typing import cast

import simpleeval

from rolecall.tools.failure import failure, shortened
from rolecall.tools.notation import python_arithmetic

Number = Fraction | float
MAX_BITS = 13_000  # about 3,900 digits: below the length up to which Python prints an integer
MAX_FACTORIAL = 1000
_MAX_CHOICES = 10_000
_MAX_PLACES = 300
_DIGITS = 15  # what a float is good for; it blots out 0.30000000000000004


def calculator(expression: str) -> str:
    """Calculate an arithmetic expression exactly. Use it for every calculation.

    Knows + - * / // % ** ( ), percentages such as 15% of 80, pi, e, sqrt, cbrt, exp, ln, log
    (natural, or log(x, base)), log10, log2, sin, cos, tan (radians), asin, acos, atan, atan2,
    degrees, radians, floor, ceil, round, abs, min, max, sum, hypot, factorial, comb, perm, gcd
    and lcm.

    Args:
        expression: What to calculate, such as (3 + 4) * 2 ** 0.5. Numbers only, no variables.
    """
    source = python_arithmetic(expression, _ONE_ARGUMENT, _MORE_ARGUMENTS, _NAMES)
    shown = shortened(expression.strip(), 80)
    try:
        return _written(_bounded(_EVALUATOR.eval(source, ast.parse(source, mode="eval").body)))
    except ZeroDivisionError:
        raise failure(f"{shown} divides by zero: check the divisor.") from None
    except OverflowError:
        raise failure(f"{shown} gets too large: calculate with smaller numbers.") from None
    except (RecursionError, MemoryError):
        raise failure(f"{shown} is nested too deeply: calculate it in parts.") from None
    except SyntaxError:
        raise failure(
            f"{shown} is not a complete expression: check its operators and parentheses."
        ) from None
    except (ValueError, TypeError, simpleeval.InvalidExpression) as error:
        raise failure(f"cannot calculate {shown}: {error}.") from None


def _written(value: Number) -> str:
    """Integers in full, other exact numbers to six decimals at least, floats to 15 digits."""
    if isinstance(value, Fraction) and value.denominator == 1:
        return str(value.numerator)
    if isinstance(value, Fraction):
        whole_digits = len(str(abs(int(value))))
        digits = max(_DIGITS, whole_digits + 6)
        numerator, denominator = Decimal(value.numerator), Decimal(value.denominator)
        rounded = Context(prec=digits).divide(numerator, denominator)
    else:
        digits = _DIGITS
        rounded = Context(prec=digits).create_decimal_from_float(value)
    rounded = rounded.normalize(Context(prec=digits))
    if not rounded:
        return "0"
    return f"{rounded:f}" if -_DIGITS < rounded.adjusted() < digits else f"{rounded:e}"


# --- every step is bounded, so that the whole is ------------------------------------------------


def _bounded(value: object) -> Number:
    """Each value on the way: a real number of a size that is quick to calculate with."""
    if isinstance(value, int):
        value = Fraction(value)
    if isinstance(value, Fraction):
        if max(value.numerator.bit_length(), value.denominator.bit_length()) <= MAX_BITS:
            return value
        if value.denominator == 1:
            raise OverflowError
        value = value.numerator / value.denominator
    if isinstance(value, complex):
        raise ValueError("the result is not a real number")
    if not isinstance(value, float):
        raise TypeError("write a function with its arguments, such as sqrt(2)")
    if not math.isfinite(value):
        raise OverflowError
    return value


def _step(function: Callable[..., object]) -> Callable[..., Number]:
    def bounded(*arguments: object) -> Number:
        return _bounded(function(*map(_bounded, arguments)))

    return bounded


def _constant(node: ast.Constant) -> Number:
    # the digits as written, not the binary float nearest to them
    return _bounded(Fraction(repr(node.value)))


def _power(base: Number, exponent: Number) -> object:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        power = exponent.numerator
        if base in (1, -1):
            return base ** (power % 2)
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if bits * abs(power) <= 2 * MAX_BITS:
            return base**power
    return float(base) ** float(exponent)


def _whole(value: Number, what: str, limit: int | None = None) -> int:
    if value != int(value) or (limit is not None and not -limit <= value <= limit):
        up_to = "" if limit is None else f" up to {limit}"
        raise ValueError(f"{what} must be a whole number{up_to}")
    return int(value)


def _square_root(value: Number) -> Number:
    if isinstance(value, Fraction) and value >= 0:
        root = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
        if root**2 == value:
            return root
    return math.sqrt(value)


def _cube_root(value: Number) -> float:
    return math.copysign(abs(float(value)) ** (1 / 3), float(value))


def _logarithm(value: Number, base: Number | None = None) -> float:
    if base is None:
        return math.log(value)
    if base == 2:
        return math.log2(value)
    return math.log10(value) if base == 10 else math.log(value) / math.log(base)


def _round(value: Number, places: Number = Fraction(0)) -> Number:
    return value.__round__(_whole(places, "the number of places", _MAX_PLACES))


def _near_zero(function: Callable[[float], float]) -> Callable[[Number], float]:
    """sin(pi) is 1.2e-16 only because pi is rounded."""

    def rounded(value: Number) -> float:
        result = function(float(value))
        return 0.0 if abs(result) < 1e-15 and abs(float(value)) > 1 else result

    return rounded


def _tangent(value: Number) -> float:
    if abs(math.cos(value)) < 1e-15:
        raise ValueError("tan is undefined there")
    return _near_zero(math.tan)(value)


def _factorial(value: Number) -> int:
    return math.factorial(_whole(value, "the argument of factorial", MAX_FACTORIAL))


def _comb(n: Number, k: Number) -> int:
    return math.comb(*(_whole(x, "arguments of comb", _MAX_CHOICES) for x in (n, k)))


def _perm(n: Number, k: Number) -> int:
    return math.perm(*(_whole(x, "arguments of perm", MAX_FACTORIAL) for x in (n, k)))


def _of_integers(function: Callable[..., int]) -> Callable[..., int]:
    def checked(*values: Number) -> int:
        return function(*(_whole(value, "each argument") for value in values))

    return checked


def _smallest(*values: Number) -> Number:
    return min(values)


def _largest(*values: Number) -> Number:
    return max(values)


def _total(*values: Number) -> Number:
    return sum(values, start=Fraction(0))


_ONE: dict[str, Callable[..., object]] = {
    "sqrt": _square_root, "cbrt": _cube_root, "exp": math.exp, "ln": math.log,
    "log10": math.log10, "log2": math.log2, "sin": _near_zero(math.sin),
    "cos": _near_zero(math.cos), "tan": _tangent, "asin": math.asin, "acos": math.acos,
    "atan": math.atan, "sinh": math.sinh, "cosh": math.cosh, "tanh": math.tanh,
    "degrees": math.degrees, "radians": math.radians, "floor": math.floor, "ceil": math.ceil,
    "trunc": math.trunc, "abs": abs, "factorial": _factorial,
}  # fmt: skip
_MORE: dict[str, Callable[..., object]] = {
    "log": _logarithm, "round": _round, "min": _smallest, "max": _largest, "sum": _total,
    "pow": _power, "hypot": math.hypot, "atan2": math.atan2, "comb": _comb, "perm": _perm,
    "gcd": _of_integers(math.gcd), "lcm": _of_integers(math.lcm),
}  # fmt: skip
_CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau}
_OPERATORS: dict[type, Callable[..., object]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.Pow: _power, ast.USub: operator.neg, ast.UAdd: operator.pos,
}  # fmt: skip
_ONE_ARGUMENT, _MORE_ARGUMENTS = frozenset(_ONE), frozenset(_MORE)
_NAMES = {*_ONE, *_MORE, *_CONSTANTS}


def _evaluator() -> simpleeval.SimpleEval:
    evaluator = simpleeval.SimpleEval(
        operators={kind: _step(function) for kind, function in _OPERATORS.items()},
        functions={name: _step(function) for name, function in {**_ONE, **_MORE}.items()},
        names=dict(_CONSTANTS),
    )
    nodes = cast("dict[type, Callable[..., object]]", evaluator.nodes)
    kept = (ast.BinOp, ast.UnaryOp, ast.Call, ast.Name)
    evaluator.nodes = {kind: nodes[kind] for kind in kept} | {ast.Constant: _constant}
    return evaluator


# once: building it touches the process-wide warning filters
_EVALUATOR = _evaluator()
