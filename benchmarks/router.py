"""The encoder: accuracy on held-out styles, robustness, latency, load time and memory.

``ROLECALL_OUTSIDE=FOLDER`` also measures on wording that nobody of this project wrote (see
:mod:`benchmarks.outside`).
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.outside import outside
from rolecall.config.load import load_stack
from rolecall.routing.encoder.artefact import SHIPPED, load_artefact
from rolecall.routing.encoder.strategy import EncoderStrategy
from rolecall.routing.evaluation import Outcome, by, measure, outcomes
from rolecall.routing.examples import Example, shipped
from rolecall.routing.training.augment import with_typos

MAX_ERROR = 0.05

_ALONE = """
import sys, time
started = time.perf_counter()
from pathlib import Path
from rolecall.config.load import load_stack
from rolecall.routing.encoder.artefact import SHIPPED, load_artefact
imported = time.perf_counter()
artefact = load_artefact(SHIPPED)
loaded = time.perf_counter()
from rolecall.routing.encoder.classifier import Classifier
classifier = Classifier(artefact, [])
for text in sys.stdin.read().split("\\0"):
    classifier.classify(text)
import psutil
resident = psutil.Process().memory_info().rss / 2**20
print(imported - started, loaded - imported, resident)
"""


def main() -> None:
    """Print the figures."""
    roles = list(load_stack("embedded").roles.values())
    strategy = EncoderStrategy(roles, MAX_ERROR, load_artefact(SHIPPED))
    test = shipped("test")
    found = asyncio.run(outcomes(strategy, test))
    figures = _print("held-out styles", found)
    for name, row in by(found, lambda outcome: outcome.example.source).items():
        print(f"  {name:<22} n {row['n']:>4}  accuracy {row['accuracy']:.3f}  ECE {row['ece']:.3f}")
    followups = [o for o in found if o.example.kind == "followup"]
    print(f"  follow-ups with context: {statistics.mean(o.correct for o in followups):.3f}")
    _robustness(strategy, test, figures["accuracy"])
    _latency(found)
    _alone(test)
    folder = os.environ.get("ROLECALL_OUTSIDE")
    if not folder:
        print("outside wording: not measured, ROLECALL_OUTSIDE names no folder of public sets")
        return
    for title, examples in outside(Path(folder)):
        _print(title, asyncio.run(outcomes(strategy, examples)))


def _print(title: str, found: Sequence[Outcome]) -> dict[str, float]:
    figures = measure(found)
    at_80 = next(c["accuracy"] for c in figures["coverage"] if c["coverage"] == 0.8)
    low, high = figures["accuracy_interval"]
    print(
        f"{title}: n {figures['n']}, accuracy {figures['accuracy']:.3f} ({low:.3f} to {high:.3f}), "
        f"at 80 % coverage {at_80:.3f}, ECE {figures['ece']:.3f} "
        f"({figures['ece_interval'][0]:.3f} to {figures['ece_interval'][1]:.3f}), "
        f"AUROC {figures['auroc']:.3f}, shuffled control {figures['control_accuracy']:.3f}, "
        f"REASONING → HANDLE {figures['harmful_error']:.3f}, "
        f"HANDLE → REASONING {figures['cheap_error']:.3f}, cost {figures['cost']:.3f}; "
        f"sure of {1 - figures['abstained']:.0%} with error {figures['answered_error'] or 0:.3f}"
    )
    return figures


def _robustness(strategy: EncoderStrategy, test: Sequence[Example], clean: float) -> None:
    chance = random.Random(0)
    mistyped = [
        example.model_copy(update={"prompt": with_typos(example.prompt, 0.05, chance)})
        for example in test
    ]
    accuracy = measure(asyncio.run(outcomes(strategy, mistyped)))["accuracy"]
    print(f"5 % typos: accuracy {accuracy:.3f}, loss {100 * (clean - accuracy):.1f} points")


def _latency(found: Sequence[Outcome]) -> None:
    figures = measure(found)
    words = figures["words"]
    latency = figures["latency_ms"]
    print(
        f"latency, one thread: p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms "
        f"over prompts of {words['p50']:.0f} words (p95 {words['p95']:.0f})"
    )


def _alone(test: Sequence[Example]) -> None:
    texts = "\0".join(example.prompt.replace("\0", "") for example in test[:200])
    done = subprocess.run(
        [sys.executable, "-c", _ALONE], input=texts, capture_output=True, text=True, check=True
    )
    imported, loaded, resident = map(float, done.stdout.split())
    print(
        f"a process of its own: import {imported:.2f} s, load {loaded:.2f} s, "
        f"resident {resident:.0f} MB after 200 prompts"
    )


if __name__ == "__main__":
    main()
