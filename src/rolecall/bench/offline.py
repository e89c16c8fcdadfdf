"""Suites as LangSmith experiments that stay on this machine: no key, nothing uploaded."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rolecall.bench.cases import Case
from rolecall.bench.checks import Mark, check_label, check_text
from rolecall.bench.code import check_code
from rolecall.bench.sandbox import Sandbox, find_sandbox
from rolecall.bench.suites import Suite, chosen
from rolecall.errors import UsageError

if TYPE_CHECKING:
    from langsmith.evaluation import ExperimentResults

_IN_WORDS = frozenset({"answer", "must", "tests", "label", None})


def evaluate_offline(
    answer: Callable[[str], str],
    suite: str | Suite,
    *,
    quick: bool = False,
    limit: int | None = None,
) -> ExperimentResults:
    """Ask a suite of anything that answers a prompt, with ``langsmith.evaluate``, offline.

    Args:
        answer: gives the text of an answer, such as ``lambda q: assistant.ask(q).text``; for the
            suite ``router``, the label.
        suite: the name of a built-in suite, or one made by ``suites.from_file`` or ``from_set``.
        quick: the cases of ``--quick`` only.
        limit: at most so many cases.

    Returns:
        LangSmith's results: iterate over them, or ``to_pandas()``. Each example has the evaluator
        ``right`` with a score from 0 to 1, ``None`` where the case expects no answer, and why as
        its comment.

    Raises:
        UsageError: there is no such suite, or its answers are no texts (tools, structured).
        SandboxMissing: the suite runs code and this machine cannot confine it.
    """
    from langsmith import Client, evaluate
    from langsmith.schemas import Example

    found = chosen([suite])[0] if isinstance(suite, str) else suite
    cases = found.sample(quick, limit)
    if any(case.kind not in _IN_WORDS for case in cases):
        raise UsageError(f"the answers of suite {found.name} are no texts; use rolecall bench")
    sandbox = find_sandbox() if any(case.tests for case in cases) else None
    by_id = {str(uuid.uuid5(uuid.NAMESPACE_OID, case.digest)): case for case in cases}
    examples = [
        Example(
            id=uuid.UUID(name),
            inputs={"prompt": "\n\n".join([*case.context, case.prompt]), "case": name},
            outputs=case.model_dump(mode="json", exclude_defaults=True, exclude={"prompt"}),
        )
        for name, case in by_id.items()
    ]

    def ask(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"answer": answer(inputs["prompt"])}

    def right(inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
        mark = _mark(by_id[inputs["case"]], str(outputs.get("answer", "")), sandbox)
        return {"key": "right", "score": mark.score, "comment": mark.why}

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'upload_results' parameter is in beta")
        return evaluate(
            ask,
            data=examples,
            evaluators=[right],
            experiment_prefix=f"rolecall-{found.name}",
            max_concurrency=1,
            client=Client(auto_batch_tracing=False, info={}),  # a batching one asks the service
            upload_results=False,
        )


def _mark(case: Case, text: str, sandbox: Sandbox | None) -> Mark:
    if case.label is not None:
        return check_label(case, text.strip())
    if case.tests is not None and sandbox is not None:
        return check_code(case, text, sandbox)
    return check_text(case, text)
