"""Questions with answers that can be checked: the least a model must know for a role.

Few and easy on purpose. They tell a model that cannot do the work from one that may; they do not
rank good models.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

Check = Callable[[str], bool]

MOST_TOKENS = 32
_CODE_TOKENS = 48


@dataclass(frozen=True)
class Question:
    """A question and the check of its answer (without reasoning)."""

    text: str
    right: Check
    max_tokens: int = MOST_TOKENS


@dataclass(frozen=True)
class Score:
    """How many of the questions asked were answered rightly; ``missed`` are the others."""

    right: int
    asked: int
    missed: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.right / self.asked if self.asked else 0.0


def says(*words: str) -> Check:
    """One of the words stands in the answer, as a whole word, in any case."""
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(w)}(?!\w)" for w in words), re.IGNORECASE)
    return lambda answer: pattern.search(answer) is not None


def is_exactly(*words: str) -> Check:
    """The answer is one of the words and nothing else, quotes and a full stop aside."""
    wanted = {word.casefold() for word in words}
    return lambda answer: answer.strip().strip("'\"`*.!").casefold() in wanted


def number(value: int) -> Check:
    """The last number of the answer is this one."""

    def check(answer: str) -> bool:
        found = re.findall(r"\d+(?:\.\d+)?", answer.replace(",", ""))
        return bool(found) and float(found[-1]) == value

    return check


def _three_on_a_line(answer: str) -> bool:
    parts = [part.strip() for part in answer.strip().rstrip(".").split(",")]
    return len(parts) == 3 and all(parts) and "\n" not in answer.strip()


def _north_then_south(answer: str) -> bool:
    lines = [line.strip(" .").casefold() for line in answer.strip().splitlines() if line.strip()]
    return lines == ["north", "south"]


def _shouted(answer: str) -> bool:
    return answer.strip().strip("'\"`*.!") == "LANTERN"


def _ends_with_done(answer: str) -> bool:
    return answer.strip().rstrip(".!*\"'").endswith("DONE")


def _reverses(answer: str) -> bool:
    squeezed = re.sub(r"\s", "", answer)
    return any(form in squeezed for form in ("xs[::-1]", "reversed(xs)"))


def _doubles(answer: str) -> bool:
    """A function ``double`` of one argument whose body multiplies or adds. Never run."""
    fenced = re.search(r"```(?:python)?\n(.*?)(?:```|\Z)", answer, re.DOTALL)
    code = fenced[1] if fenced else answer
    try:
        tree = ast.parse(code.strip())
    except (SyntaxError, ValueError):
        return False
    found = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "double"]
    return any(
        len(function.args.args) == 1
        and any(
            isinstance(node, ast.Return)
            and isinstance(node.value, ast.BinOp)
            and isinstance(node.value.op, ast.Mult | ast.Add | ast.LShift)
            for node in ast.walk(function)
        )
        for function in found
    )


QUESTIONS: dict[str, tuple[Question, ...]] = {
    "following": (
        Question("Answer with one word: which colour is fresh snow?", is_exactly("white")),
        Question("Write the word lantern in capital letters and nothing else.", _shouted),
        Question("Answer only YES or NO: is 9 larger than 4?", is_exactly("yes")),
        Question(
            "Name three animals on one line, separated by commas, nothing else.", _three_on_a_line
        ),
        Question("Name one metal. The last word of your reply must be DONE.", _ends_with_done),
        Question("Write two lines: the word north, then the word south.", _north_then_south),
    ),
    "everyday": (
        Question("What is the capital of Portugal?", says("Lisbon", "Lisboa")),
        Question("Translate 'good night' into Spanish.", says("buenas noches")),
        Question("How many minutes are there in two hours?", says("120")),
        Question("What is the opposite of 'early'?", says("late")),
        Question("Which month comes after October?", says("November")),
        Question("Which is the largest ocean on Earth?", says("Pacific")),
        Question("What is 15 plus 28? Answer with the number.", number(43)),
    ),
    "reasoning": (
        Question(
            "Ana is older than Ben. Ben is older than Carl. Who is the youngest? "
            "Answer with the name alone.",
            is_exactly("Carl"),
        ),
        Question(
            "A bus leaves at 14:40 and arrives at 16:05. How many minutes does it take? "
            "Answer with the number alone.",
            number(85),
        ),
        Question(
            "A coat costs 40 euros. Its price falls by 25 percent. What does it cost now? "
            "Answer with the number alone.",
            number(30),
        ),
        Question(
            "All glips are tarns. No tarn is blue. Can a glip be blue? Answer only yes or no.",
            is_exactly("no"),
        ),
        Question(
            "Three boxes hold 12 pens each. Seven pens are taken away. How many are left? "
            "Answer with the number alone.",
            number(29),
        ),
        Question(
            "Today is Wednesday. Which day of the week is it in ten days? Answer with one word.",
            is_exactly("Saturday"),
        ),
        Question(
            "Which number comes next: 2, 6, 18, 54? Answer with the number alone.", number(162)
        ),
    ),
    "coding": (
        Question("What does this Python code print? print(len('abc') * 2)", number(6)),
        Question("Which SQL keyword removes duplicate rows from a SELECT?", says("DISTINCT")),
        Question(
            "Write a Python expression that reverses the list xs. Only the expression.", _reverses
        ),
        Question(
            "Write a Python function double(n) that returns two times n. Only code.",
            _doubles,
            _CODE_TOKENS,
        ),
        Question(
            "What is the value of this Python expression? [n * n for n in range(4)]",
            lambda answer: "0,1,4,9" in re.sub(r"\s", "", answer),
            _CODE_TOKENS,
        ),
        Question("Which exception does Python raise for {}['a']?", says("KeyError")),
        Question("Which HTTP status code means 'not found'?", says("404")),
    ),
}


def in_turn(kinds: Sequence[str]) -> Iterator[tuple[str, Question]]:
    """The questions of several kinds, one of each in turn: where time runs out, none is missing."""
    for row in zip_longest(*(QUESTIONS[kind] for kind in kinds)):
        for kind, question in zip(kinds, row, strict=True):
            if question is not None:
                yield kind, question
