"""Code in answers: taken out of fences, and run against a case's tests in the sandbox."""

from __future__ import annotations

import ast
import json
import re
import secrets

from rolecall.bench.cases import Case
from rolecall.bench.checks import UNSCORED, Mark
from rolecall.bench.sandbox import Sandbox

_FENCE = re.compile(
    r"^([ \t]*)(```+|~~~+)[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*\2|\Z)", re.M | re.S
)
_PYTHON = frozenset({"", "python", "py", "python3"})

# Runs inside of the sandbox. What the code prints goes nowhere; the verdict, with a word that the
# code was not told, goes to the real output. A program that ends early has said nothing.
_HARNESS = """
import io, json, os, sys, types
given = json.load(sys.stdin)
real = os.dup(1)
null = os.open(os.devnull, os.O_WRONLY)
os.dup2(null, 1)
os.dup2(null, 2)
sys.stdin = io.StringIO("")
def run(given):
    module = sys.modules["answer"] = types.ModuleType("answer")  # dataclasses look it up
    space = module.__dict__
    for text in (given["setup"], given["code"]):
        try:
            exec(compile(text, "<answer>", "exec"), space)
        except BaseException as error:
            return [f"{type(error).__name__}: {error}"] * len(given["tests"])
    found = []
    for test in given["tests"]:
        try:
            exec(compile(test, "<test>", "exec"), space)
            found.append(None)
        except BaseException as error:
            found.append(f"{type(error).__name__}: {error}")
    return found
said = json.dumps({"word": given.pop("word"), "faults": run(given)})
os.write(real, said.encode())
os._exit(0)
"""


def code_of(text: str, case: Case) -> str:
    """The Python of an answer: its fenced blocks, else all of it.

    Of several blocks the parsable ones count, in order, so that a later correction wins. Where the
    case gives a beginning (``preamble``) that the answer goes on with, it is put in front.
    """
    blocks = [
        re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)  # of a fence in a list
        for indent, _, language, body in _FENCE.findall(text)
        if language.casefold() in _PYTHON
    ]
    parts = [block for block in blocks if _parses(block)] or blocks
    code = "\n".join(parts) if parts else text
    if not case.preamble:
        return code
    if _defines(code, case.preamble):
        return f"{_imports(case.preamble)}\n{code}"
    return case.preamble + code


def check_code(case: Case, text: str, sandbox: Sandbox) -> Mark:
    """Marks code by its tests: right when all pass."""
    if case.tests is None:
        return UNSCORED
    word = secrets.token_hex(16)
    given = {
        "word": word,
        "setup": case.setup,
        "code": code_of(text, case),
        "tests": case.tests,
    }
    ran = sandbox.run(_HARNESS, given)
    try:
        said = json.loads(ran.output)
        if said["word"] != word:
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        why = {"timeout": "did not end", "output": "wrote too much", "memory": "too much memory"}
        return Mark(0.0, why.get(ran.ended, "ended before its tests"))
    faults = [fault for fault in said["faults"] if fault is not None]
    if not faults:
        return Mark(1.0)
    return Mark(0.0, f"{len(faults)} of {len(case.tests)} tests: {faults[0]}"[:200])


def _parses(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _defines(code: str, preamble: str) -> bool:
    names = re.findall(r"^def (\w+)", preamble, re.MULTILINE)
    return bool(names) and re.search(rf"^def {names[-1]}\b", code, re.MULTILINE) is not None


def _imports(preamble: str) -> str:
    """What stands before the last function of a beginning: imports and functions it needs."""
    return preamble[: preamble.rindex("\ndef ") + 1] if "\ndef " in preamble else ""
