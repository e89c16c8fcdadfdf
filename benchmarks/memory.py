"""Memory: what of a conversation's beginning a small model still knows when it has left the window.

Twelve turns with a window of 300 tokens, once for each ``memory.summary``; then the embedded model
is asked about each fact, each time in a fork of its own. The answers of the twelve turns are
scripted, so that nothing but the memory differs; the embedded model writes the summaries.
``window`` asks with a window that holds everything: what the model could know at most.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

from rolecall import bridge
from rolecall.assistant import Assistant
from rolecall.memory.summary import as_text
from rolecall.models.scripted import ScriptedRunner
from rolecall.threads.checkpoints import thread_config

_STACK = """
models:
  router: &model
    id: {model}
    endpoint: embedded
    context_length: 8192
    timeout_s: 300
    tools: []
    sampling: {{temperature: 0.0}}
  reasoning: {{id: scripted, endpoint: "{scripted}", tools: []}}
settings:
  routing: {{strategy: fixed, role: reasoning, escalate_below: null}}
  memory: {{window_tokens: {window}, summary: "{mode}", summary_deadline_s: {deadline}}}
"""

# What the user says; the facts stand in the first five turns.
TURNS = (
    "Hello! My name is Marta Kovač, I live in Ljubljana and I work as a bee keeper. "
    "My dog is called Bruno and he is 7 years old.",
    "I am planning a trip to Lisbon in June. The budget for the trip is 1200 euros, "
    "and we will be 4 people. My sister Petra comes along.",
    "Remember that I am allergic to peanuts and that I never eat meat. My favourite dish is "
    "mushroom risotto. I prefer trains to planes.",
    "Let's go with the hotel Aurora in the street Rua Augusta 27. We arrive on 14 June. "
    "My phone number ends in 4471.",
    "For my shop I decided to use PostgreSQL on port 5433, and the server is named heron. "
    "The deadline for the shop is 3 September. My accountant is called Dragan.",
    "What is the capital of Peru?",
    "Please explain in two sentences how rain is made.",
    "Write a short poem about the sea.",
    "What is the difference between a violin and a viola?",
    "Name five trees that grow in Canada.",
    "How does a bicycle stay upright? Two sentences, please.",
    "Tell me something interesting about the planet Saturn.",
)

ANSWERS = (
    "Hello Marta! Nice to meet you and Bruno.",
    "That sounds wonderful. Lisbon is warm in June, and the trams are fun for a group.",
    "Thank you, I will keep that in mind when I suggest restaurants or ways to travel.",
    "A good choice: it lies in the centre, a few steps from the river.",
    "That is a solid choice. Remember to make backups of the database every day.",
    "The capital of Peru is Lima.",
    "The sun warms water, which rises as vapour. Up high it cools, forms clouds and falls as rain.",
    "The sea is wide, the sea is deep, it sings the tired sun to sleep.",
    "A violin is smaller and sounds higher; a viola is larger and has a warm, low C string.",
    "Maple, white spruce, balsam fir, paper birch and red cedar.",
    "The rider steers slightly into each fall. The wheels' trail helps the front wheel follow.",
    "Saturn is less dense than water: in a large enough bath it would float.",
)

# A question, and what a right answer contains (one of).
FACTS = (
    ("What is my name?", "marta"),
    ("In which town do I live?", "ljubljana"),
    ("What is my profession?", "bee"),
    ("What is my dog called?", "bruno"),
    ("How old is my dog?", "7|seven"),
    ("Which city do I plan to travel to?", "lisbon"),
    ("In which month is my trip?", "june"),
    ("What is the budget for my trip?", "1200|1,200"),
    ("How many people go on the trip?", "4|four"),
    ("What is the name of my sister?", "petra"),
    ("What am I allergic to?", "peanut"),
    ("Which food do I never eat?", "meat"),
    ("What is my favourite dish?", "risotto"),
    ("Do I prefer trains or planes?", "train"),
    ("Which hotel did I choose?", "aurora"),
    ("In which street is my hotel?", "augusta"),
    ("On which day do we arrive?", "14"),
    ("What does my phone number end in?", "4471"),
    ("Which database did I decide to use for my shop?", "postgres"),
    ("Which port does the database of my shop use?", "5433"),
    ("What is the server of my shop named?", "heron"),
    ("What is the deadline for my shop?", "september"),
    ("What is my accountant called?", "dragan"),
    ("Who comes along on my trip?", "petra|sister"),
)

Facts = tuple[tuple[str, str], ...]

MODES = ("window", "off", "extractive", "model")


def main() -> None:
    """Print, for each mode, how many facts are still known and what the summaries took."""
    parser = argparse.ArgumentParser(prog="benchmarks memory", description=__doc__)
    parser.add_argument("--model", default="qwen2.5-coder-0.5b")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--deadline", type=float, default=10.0, help="summary_deadline_s")
    parser.add_argument("--facts", type=int, default=len(FACTS), help="how many are asked for")
    parser.add_argument("--verbose", action="store_true", help="print summaries and answers")
    wanted = parser.parse_args()
    for mode in wanted.modes:
        facts = FACTS[:: max(len(FACTS) // wanted.facts, 1)]
        _measure(mode, wanted.model, wanted.deadline, wanted.verbose, facts)


def _told(assistant: Assistant, thread: str) -> str:
    """The summary as the models get it, in lower case."""
    state = bridge.run(assistant._open.opened.graph.aget_state(thread_config(thread)))
    summary = state.values.get("summary")
    return as_text(summary).lower() if summary else ""


def _measure(mode: str, model: str, deadline: float, verbose: bool, facts: Facts) -> None:
    script = iter(ANSWERS)
    with ScriptedRunner(models=["scripted"]) as runner:
        runner.default = lambda _: next(script)
        _asked(mode, model, deadline, verbose, facts, runner.endpoint)


def _asked(
    mode: str, model: str, deadline: float, verbose: bool, facts: Facts, scripted: str
) -> None:
    stack = _STACK.format(
        model=model,
        scripted=scripted,
        window=6000 if mode == "window" else 300,
        mode="off" if mode == "window" else mode,
        deadline=deadline,
    )
    thread = f"memory-{mode}-{os.getpid()}"
    waits: list[float] = []
    asked: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.yaml"
        path.write_text(stack, encoding="utf-8")
        with Assistant.open(path) as assistant:
            for text in TURNS:
                assistant.ask(text, thread=thread)
                began = time.perf_counter()
                assistant.settle(deadline + 30)  # the user reads and types
                waits.append(time.perf_counter() - began)
            known, told = 0, ""
            if verbose:
                print(f"  {mode}: waits {[round(wait, 1) for wait in waits]}", flush=True)
            for number, (question, right) in enumerate(facts):
                fork = assistant.fork(thread, new=f"{thread}-{number}")
                began = time.perf_counter()
                answer = assistant.ask(f"{question} Be brief.", fork, "router").text
                asked.append(time.perf_counter() - began)
                hit = any(word in answer.lower() for word in right.split("|"))
                known += hit
                if not told:
                    told = _told(assistant, fork)
                    print(told, flush=True) if verbose else None
                if verbose:
                    print(
                        f"    {'+' if hit else '-'} {question} {' '.join(answer.split())[:90]}",
                        flush=True,
                    )
                assistant.delete(fork)
    in_prompt = sum(any(word in told for word in right.split("|")) for _, right in FACTS)
    written = [wait for wait in waits if wait > 0.2]
    print(
        f"{mode:10}  {known:2} of {len(facts)} facts known, {in_prompt:2} of {len(FACTS)} told   "
        f"answers {median(asked):.1f} s (median)   "
        f"summaries {len(written)} in {len(TURNS)} turns"
        + (f", {median(written):.1f} s each (median)" if written else ""),
        flush=True,
    )


if __name__ == "__main__":
    main()
