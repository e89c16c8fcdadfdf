"""Arithmetic as small models write it, turned into Python's.

What comes out holds numbers, operators, parentheses, commas and known names, and nothing else: no
strings, attributes, brackets or keywords can pass. What could be read in two ways is refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

from rolecall.tools.failure import failure, shortened

MAX_CHARS = 1000
_MAX_EXPONENT = 308
_SAME = str.maketrans(
    {
        "×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "−": "-", "–": "-", "^": "**",
        "²": "**2", "³": "**3", "π": " pi ", "√": " sqrt ", "\u00a0": " ", "\u202f": " ",
        "$": "", "€": "", "£": "", "`": "", "[": "(", "]": ")",
    }
)  # fmt: skip
_MODULE_PREFIX = re.compile(r"\b(?:math|np|numpy)\s*\.\s*(?=[A-Za-z])", re.IGNORECASE)
_EQUALS = re.compile(r"^\s*=|\s*=+\s*\??\s*$")
_TAIL = r"(?:\.\d*)?(?:[eE][+-]?\d+)?(?![\d.])"
_GROUPED = re.compile(rf"\d{{1,3}}(?:,\d{{2,3}})*,\d{{3}}(?!\d){_TAIL}", re.ASCII)
_PLAIN = re.compile(rf"(?:\d+(?:_\d+)*{_TAIL}|\.\d+(?:[eE][+-]?\d+)?(?![\d.]))", re.ASCII)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_OPERATOR = re.compile(r"\*\*|//|[-+*/%(),!]")
_TIMES = frozenset({"x", "X"})


class _Reader:
    """One pass over an expression."""

    def __init__(self, text: str, one: Collection[str], many: Collection[str], names: set[str]):
        self.text = text
        self.one_argument = one
        self.functions = {*one, *many}
        self.names = names
        self.out: list[str] = []
        self.depths: list[bool] = []  # per open parenthesis: does a comma separate arguments here?

    def read(self) -> str:
        at = 0
        while at < len(self.text):
            if self.text[at].isspace():
                at += 1
                continue
            at = self._token(at)
        return " ".join(self.out)

    def _token(self, at: int) -> int:
        arguments = bool(self.depths) and self.depths[-1]
        grouped = _GROUPED.match(self.text, at)
        if number := (None if arguments else grouped) or _PLAIN.match(self.text, at):
            if arguments and grouped and self._unclear(grouped.group()):
                raise failure(
                    f"{grouped.group()} inside a function can be one number or several: "
                    "write numbers without thousands separators."
                )
            self._number(number.group())
            return number.end()
        if name := _NAME.match(self.text, at):
            self._name(name.group())
            return name.end()
        if operator := _OPERATOR.match(self.text, at):
            self._operator(operator.group(), operator.end())
            return operator.end()
        raise failure(
            f"{shortened(self.text[at : at + 12])} is not arithmetic. Use numbers, + - * / // % "
            "** ( ) and functions such as sqrt(2)."
        )

    def _unclear(self, grouped: str) -> bool:
        # round(1,050) and max(1,234, 5): such commas are rarely meant to separate arguments
        return ",0" in grouped or re.search(r",\s", self.text) is not None

    def _last(self) -> str:
        return self.out[-1] if self.out else ""

    def _value_ended(self) -> bool:
        last = self._last()
        return last == ")" or _is_number(last) or (last in self.names - self.functions)

    def _starts_value(self, what: str) -> None:
        if self._value_ended():
            raise failure(
                f"an operator is missing between {self._last()} and {what}: write * to multiply."
            )

    def _number(self, text: str) -> None:
        self._starts_value(text)
        digits = text.replace(",", "").replace("_", "")
        mantissa, _, exponent = digits.lower().partition("e")
        if exponent and abs(int(exponent)) > _MAX_EXPONENT:
            raise failure(f"{shortened(text, 40)} is too large or too small to calculate with.")
        whole = mantissa.lstrip("0") or "0"
        value = f"{'0' if whole.startswith('.') else ''}{whole}{f'e{exponent}' if exponent else ''}"
        if self._last() == "sqrt":
            self.out += ["(", value, ")"]
        else:
            self.out.append(value)

    def _name(self, word: str) -> None:
        name = word.lower()
        if word in _TIMES and self._value_ended():
            self.out.append("*")
        elif name == "mod" and self._value_ended():
            self.out.append("%")
        elif name == "of" and self._last() == "%":
            self._percent_of()
        elif name in self.names:
            self._starts_value(word)
            self.out.append(name)
        else:
            near = difflib.get_close_matches(name, self.names, n=3, cutoff=0.5)
            hint = f"Did you mean {' or '.join(near)}?" if near else "Put in its value."
            known = ", ".join(sorted(self.names))
            raise failure(f"{shortened(word, 40)} is not known here. {hint} Known: {known}.")

    def _operator(self, symbol: str, end: int) -> None:
        if symbol == "(":
            self._starts_value("(")
            self.depths.append(self._last() in self.functions - set(self.one_argument))
        elif symbol == ")" and self.depths:
            self.depths.pop()
        elif symbol == "," and not (self.depths and self.depths[-1]):
            raise failure(
                "a comma stands where no arguments are: write decimals with a point and numbers "
                "without separators, such as 1234.5."
            )
        elif symbol == "!":
            number = self._number_before("!", "factorial(...)")
            self.out += ["factorial", "(", number, ")"]
            return
        elif symbol == "%" and self._ends_percent(end):
            number = self._number_before("%", "... / 100")
            if self._last() in {"+", "-"} and len(self.out) > 1:
                raise failure(
                    f"say what the {number}% is of: write 80 + {number}% of 80 to add it to 80, "
                    f"or {number}/100 for the bare fraction."
                )
            self.out += ["(", number, "/", "100", ")"]
            return
        self.out.append(symbol)

    def _number_before(self, symbol: str, instead: str) -> str:
        if not _is_number(self._last()):
            raise failure(f"{symbol} here needs a number right before it: write {instead} instead.")
        number = self.out.pop()
        if self._last() == "**":
            raise failure(f"{number}{symbol} after ** is unclear: write {instead} in parentheses.")
        return number

    def _ends_percent(self, end: int) -> bool:
        """Whether a % is "percent": no operand follows, so it cannot be the remainder."""
        following = self.text[end:].lstrip()
        if following.startswith(("+", "-")):
            raise failure(
                "% before + or - is unclear: write 10/100 for a percentage, or (-3) with "
                "parentheses for a remainder."
            )
        return not following or following[0] in "),*/%"

    def _percent_of(self) -> None:
        self.out.pop()
        number = self._number_before("% of", "... / 100 *")
        if self._last() in {"/", "//", "%"}:
            raise failure(f"{number}% of after {self._last()} is unclear: use parentheses.")
        self.out += ["(", number, "/", "100", ")", "*"]


def python_arithmetic(
    text: str, one_argument: Collection[str], more_arguments: Collection[str], names: set[str]
) -> str:
    """Turn ``text`` into an expression that Python reads the same way.

    Args:
        text: such as ``2^10``, ``3 × 4 =``, ``1,234 * 2``, ``15% of 80``, ``5!``, ``√16``.
        one_argument: functions of one argument; a comma inside is a thousands separator.
        more_arguments: other functions; a comma inside separates arguments.
        names: every function and constant that may occur.

    Raises:
        ToolException: anything else stands in it, or it can be read in two ways.
    """
    if len(text) > MAX_CHARS:
        raise failure(
            f"the expression has {len(text)} characters, at most {MAX_CHARS} are allowed: "
            "calculate it in parts."
        )
    cleaned = _MODULE_PREFIX.sub("", _EQUALS.sub("", text.translate(_SAME)))
    if not cleaned.strip():
        raise failure("the expression is empty: write one such as 2 * (3 + 4).")
    return _Reader(cleaned, one_argument, more_arguments, names).read()


def _is_number(token: str) -> bool:
    return token[:1].isdigit() or (token[:1] == "." and len(token) > 1)
