"""Escalation: does a low mean log-probability tell wrong answers of a small model from right ones?

Asks the embedded router model for facts, and shows what share of the right and of the wrong
answers each threshold of ``routing.escalate_below`` would give to the reasoning model.
"""

from __future__ import annotations

import asyncio

import numpy as np
from sklearn.metrics import roc_auc_score

from rolecall import LocalLLMClient, load_stack
from rolecall.cli.progress import RichProgress
from rolecall.models.wire import CallOptions

_THRESHOLDS = (-0.2, -0.3, -0.4, -0.5, -0.7, -1.0)
_OPTIONS = CallOptions(logprobs=True, max_tokens=40, temperature=0.0)

# A question, and what a right answer contains (one of).
FACTS = (
    ("What is the capital of France?", "paris"),
    ("What is the capital of Australia?", "canberra"),
    ("What is the capital of Mongolia?", "ulaan"),
    ("What is the capital of Burkina Faso?", "ouagadougou"),
    ("What is the capital of Bhutan?", "thimphu"),
    ("What is the capital of Peru?", "lima"),
    ("What is the capital of Slovenia?", "ljubljana"),
    ("What is the capital of Kazakhstan?", "astana"),
    ("What is the chemical symbol of gold?", "au"),
    ("What is the chemical symbol of tungsten?", "w"),
    ("What is the chemical symbol of potassium?", "k"),
    ("What is the atomic number of carbon?", "6"),
    ("What is the atomic number of iron?", "26"),
    ("How many legs has a spider?", "8|eight"),
    ("How many bones has an adult human?", "206"),
    ("Who wrote Hamlet?", "shakespeare"),
    ("Who wrote Faust?", "goethe"),
    ("Who wrote The Trial?", "kafka"),
    ("Who wrote Don Quixote?", "cervantes"),
    ("Who painted the Mona Lisa?", "leonardo"),
    ("Who painted Guernica?", "picasso"),
    ("Who painted The Night Watch?", "rembrandt"),
    ("Year of the moon landing?", "1969"),
    ("Year the Berlin wall fell?", "1989"),
    ("Year of the battle of Hastings?", "1066"),
    ("Year the Titanic sank?", "1912"),
    ("Largest planet?", "jupiter"),
    ("Planet with the most famous rings?", "saturn"),
    ("Longest river of Europe?", "volga"),
    ("Highest mountain of Africa?", "kilimanjaro"),
    ("Largest desert of the world?", "antarctic"),
    ("Currency of Japan?", "yen"),
    ("Currency of Poland?", "zloty|złoty"),
    ("Currency of Vietnam?", "dong"),
    ("German for dog?", "hund"),
    ("French for bread?", "pain"),
    ("Spanish for window?", "ventana"),
    ("Italian for milk?", "latte"),
    ("Plural of mouse?", "mice"),
    ("Past tense of go?", "went"),
    ("Opposite of scarce?", "abundant|plenti"),
    ("Author of Frankenstein?", "shelley"),
    ("Inventor of the telephone?", "bell"),
    ("Who discovered penicillin?", "fleming"),
    ("Square root of 144?", "12"),
    ("Boiling point of water in Fahrenheit?", "212"),
    ("Number of players in a football team on the pitch?", "11|eleven"),
    ("First president of the USA?", "washington"),
    ("Composer of the Ninth Symphony with the Ode to Joy?", "beethoven"),
    ("Composer of The Magic Flute?", "mozart"),
    ("Composer of Boléro?", "ravel"),
    ("Smallest prime number?", "2|two"),
    ("Freezing point of water in kelvin?", "273"),
    ("Which gas do plants take in?", "carbon"),
    ("Language of Brazil?", "portuguese"),
    ("Which organ makes insulin?", "pancreas"),
    ("Capital of Canada?", "ottawa"),
    ("Capital of Turkey?", "ankara"),
    ("Capital of Nigeria?", "abuja"),
    ("Capital of New Zealand?", "wellington"),
)


def main() -> None:
    """Print the figures."""
    asyncio.run(_measured())


async def _measured() -> None:
    client = LocalLLMClient(load_stack("embedded"), progress=RichProgress())
    right: list[bool] = []
    means: list[float] = []
    for question, accepted in FACTS:
        messages = [("system", "You answer briefly."), ("user", question)]
        reply = await client.achat("router", messages, options=_OPTIONS)
        right.append(any(word in reply.text.lower() for word in accepted.split("|")))
        means.append(reply.response_metadata["mean_logprob"])
    await client.aclose()
    correct, mean = np.asarray(right), np.asarray(means)
    print(
        f"{len(right)} facts, {correct.mean():.2f} right, AUROC {roc_auc_score(correct, mean):.2f}"
    )
    for threshold in _THRESHOLDS:
        print(
            f"escalate_below {threshold}: {(mean < threshold).mean():.2f} of all answers, "
            f"{(mean[correct] < threshold).mean():.2f} of the right, "
            f"{(mean[~correct] < threshold).mean():.2f} of the wrong"
        )


if __name__ == "__main__":
    main()
