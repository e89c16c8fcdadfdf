"""One run of fine-tuning, on one thread.

The loss is cross-entropy against the share of annotators behind each label, plus the cosine
distance of the message's mean to the vector of the original sentence encoder, so that the
fine-tuned encoder still knows what a message is about. Lower layers learn more slowly (Howard and
Ruder 2018, arXiv 1801.06146).
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from rolecall.routing.encoder.inputs import InputBuilder, Inputs
from rolecall.routing.encoder.surface import surface
from rolecall.routing.examples import LABELS, Example
from rolecall.routing.training.augment import variant
from rolecall.routing.training.net import LAYERS, RoutingNet, padded

Weights = dict[str, NDArray[np.float32]]

_BATCH, _BUCKET = 32, 1024
_SMOOTHING = 0.06
_KEEP_SENTENCE = 0.5
_DECAY = 0.8
_WARM_UP = 0.06


@dataclass(frozen=True)
class Recipe:
    """What the shipped encoder was trained with."""

    epochs: int = 3
    learning_rate: float = 1e-4
    head_rate: float = 1e-3
    seeds: tuple[int, ...] = (0, 1)

    @property
    def line(self) -> str:
        """In words, for the model card."""
        seeds = ", ".join(str(seed) for seed in self.seeds)
        rate = f"learning rate {self.learning_rate:g}"
        return f"Mean of {len(self.seeds)} runs: {self.epochs} epochs, {rate}, seeds {seeds}."


@dataclass(frozen=True)
class Material:
    """What every run is trained on.

    Attributes:
        weights: ``model.safetensors`` of all-MiniLM-L6-v2.
        tokenizer: its ``tokenizer.json``.
        originals: the sentence vectors that it gives the examples, shape ``(n, 384)``.
    """

    examples: Sequence[Example]
    weights: Path
    tokenizer: Path
    originals: NDArray[np.float32]


@dataclass(frozen=True)
class _Variant:
    """A variant of the example ``row``, as the net reads it."""

    row: int
    inputs: Inputs
    shape: NDArray[np.float32]


def run(
    material: Material, recipe: Recipe, seed: int, on_step: Callable[[int, int, float], None]
) -> Weights:
    """Fine-tune the encoder once.

    Args:
        seed: of the order, the variants and the dropout; the head begins alike in all runs, or
            the mean of their weights would mean nothing.
        on_step: told ``(step, of, loss)``.
    """
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seeds[0])
    net = RoutingNet(material.weights)
    torch.manual_seed(seed)
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    examples, builder = material.examples, InputBuilder(material.tokenizer)
    originals = torch.from_numpy(material.originals)
    targets = torch.tensor(np.stack([_target(example) for example in examples]))
    steps = recipe.epochs * math.ceil(len(examples) / _BATCH)
    optimizer = torch.optim.AdamW(_groups(net, recipe), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / (_WARM_UP * steps)) * max(0.0, 1 - s / steps)
    )
    step = 0
    net.train()
    for _ in range(recipe.epochs):
        for batch in _batches(examples, builder, chance):
            rows = [one.row for one in batch]
            shape = torch.tensor(np.stack([one.shape for one in batch]))
            logits, mean = net(*padded([one.inputs for one in batch]), shape)
            loss = functional.cross_entropy(logits, targets[rows])
            loss = loss + _KEEP_SENTENCE * (1 - (mean * originals[rows]).sum(1)).mean()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            step += 1
            on_step(step, steps, loss.item())
    return {name: value.numpy() for name, value in net.encoder().state_dict().items()}


def _target(example: Example) -> NDArray[np.float32]:
    votes = example.votes or (example.label,)
    share = np.asarray([votes.count(label) / len(votes) for label in LABELS], np.float32)
    return np.asarray(share * (1 - _SMOOTHING) + _SMOOTHING / len(LABELS), np.float32)


def _batches(
    examples: Sequence[Example], builder: InputBuilder, chance: random.Random
) -> Iterator[list[_Variant]]:
    """Each example in one variant, in shuffled batches of messages of about one length."""
    order = list(range(len(examples)))
    chance.shuffle(order)
    for start in range(0, len(order), _BUCKET):
        bucket = []
        for row in order[start : start + _BUCKET]:
            said = variant(examples[row], examples, chance)
            bucket.append(_Variant(row, builder.build(*said), surface(*said)))
        bucket.sort(key=lambda one: len(one.inputs.ids))
        batches = [bucket[i : i + _BATCH] for i in range(0, len(bucket), _BATCH)]
        chance.shuffle(batches)
        yield from batches


def _groups(net: RoutingNet, recipe: Recipe) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = []
    for name, parameter in net.named_parameters():
        rate = recipe.learning_rate * _DECAY ** (LAYERS - _depth(name))
        if name.startswith("out"):
            rate = recipe.head_rate
        groups.append({"params": [parameter], "lr": rate})
    return groups


def _depth(name: str) -> int:
    """Of the layer that a parameter belongs to, counted from the embeddings, which are at 0."""
    layer = re.search(r"layer\.(\d+)\.", name)
    if name.startswith("last"):
        return LAYERS
    return int(layer[1]) + 1 if layer else 0
