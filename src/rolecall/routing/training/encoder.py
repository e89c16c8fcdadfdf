"""Fine-tunes the encoder on the shipped examples.

Needs PyTorch and transformers (``pip install "rolecall[train]"``), which nothing else does. The
loss is cross-entropy against the share of annotators behind each label, plus the cosine distance
of the sentence vector to that of the original sentence encoder, so that the fine-tuned encoder
still knows what a message is about. Lower layers learn more slowly (Howard and Ruder 2018, arXiv
1801.06146).
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
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel

from rolecall.routing.encoder.inputs import InputBuilder, Inputs
from rolecall.routing.encoder.surface import NAMES, surface
from rolecall.routing.examples import LABELS, Example
from rolecall.routing.training.augment import variant

_WIDTH, _BATCH, _BUCKET = 384, 32, 512
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
    seed: int = 0

    @property
    def line(self) -> str:
        """In words, for the model card."""
        return f"{self.epochs} epochs, learning rate {self.learning_rate:g}, seed {self.seed}."


class RoutingNet(nn.Module):
    """The encoder with the head that it is trained under."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.encoder = open_minilm(weights)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(2 * _WIDTH + len(NAMES), len(LABELS))

    def forward(
        self, ids: Tensor, segments: Tensor, mask: Tensor, shape: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits ``(n, 3)`` and sentence vectors ``(n, 384)`` of length 1."""
        summary, mean = vectors(self.encoder, ids, segments, mask)
        joined = torch.cat([self.drop(summary), self.drop(mean), shape], dim=1)
        return self.out(joined), functional.normalize(mean, dim=1)


def open_minilm(weights: Path) -> BertModel:
    """all-MiniLM-L6-v2 from its ``model.safetensors``."""
    config = BertConfig(
        vocab_size=30522,
        hidden_size=_WIDTH,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        max_position_embeddings=512,
    )
    model = BertModel(config, add_pooling_layer=False)
    state = load_file(weights)
    skipped = ("pooler", "position_ids")
    model.load_state_dict({k: v for k, v in state.items() if not any(s in k for s in skipped)})
    return model


def vectors(
    encoder: BertModel, ids: Tensor, segments: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """The class vector, and the mean over the message, each ``(n, 384)``."""
    hidden = encoder(input_ids=ids, token_type_ids=segments, attention_mask=mask).last_hidden_state
    own = ((segments == 0) & (mask == 1)).float().unsqueeze(-1)
    return hidden[:, 0], (hidden * own).sum(1) / own.sum(1)


def fine_tune(
    examples: Sequence[Example],
    weights: Path,
    tokenizer: Path,
    recipe: Recipe,
    on_step: Callable[[int, int, float], None],
) -> BertModel:
    """Fine-tune the encoder; the same examples, recipe and machine give the same weights.

    Args:
        weights: ``model.safetensors`` of all-MiniLM-L6-v2.
        on_step: told ``(step, of, loss)``.
    """
    torch.manual_seed(recipe.seed)
    chance = random.Random(recipe.seed)  # noqa: S311 - not for secrets
    builder = InputBuilder(tokenizer)
    net = RoutingNet(weights)
    originals = _original_sentences(examples, weights, builder)
    targets = torch.tensor(np.stack([_target(example) for example in examples]))
    steps = recipe.epochs * math.ceil(len(examples) / _BATCH)
    optimizer = torch.optim.AdamW(_groups(net, recipe), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / (_WARM_UP * steps)) * max(0.0, 1 - s / steps)
    )
    step = 0
    net.train()
    for _ in range(recipe.epochs):
        for batch in _batches(examples, chance):
            said = [variant(examples[i], examples, chance) for i in batch]
            ids, segments, mask = _padded([builder.build(*pair) for pair in said])
            shape = torch.tensor(np.stack([surface(*pair) for pair in said]))
            logits, sentence = net(ids, segments, mask, shape)
            loss = functional.cross_entropy(logits, targets[batch])
            loss = loss + _KEEP_SENTENCE * (1 - (sentence * originals[batch]).sum(1)).mean()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            step += 1
            on_step(step, steps, float(loss))
    return net.encoder.eval()


def _target(example: Example) -> NDArray[np.float32]:
    votes = example.votes or (example.label,)
    share = np.asarray([votes.count(label) / len(votes) for label in LABELS], np.float32)
    return np.asarray(share * (1 - _SMOOTHING) + _SMOOTHING / len(LABELS), np.float32)


def _original_sentences(
    examples: Sequence[Example], weights: Path, builder: InputBuilder
) -> Tensor:
    encoder = open_minilm(weights).eval()
    found = torch.zeros(len(examples), _WIDTH)
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].prompt))
    with torch.no_grad():
        for start in range(0, len(order), 2 * _BATCH):
            some = order[start : start + 2 * _BATCH]
            padded = _padded([builder.build(examples[i].prompt) for i in some])
            found[some] = functional.normalize(vectors(encoder, *padded)[1], dim=1)
    return found


def _batches(examples: Sequence[Example], chance: random.Random) -> Iterator[list[int]]:
    """Shuffled batches of messages of about one length."""
    order = list(range(len(examples)))
    chance.shuffle(order)
    for start in range(0, len(order), _BUCKET):
        bucket = sorted(order[start : start + _BUCKET], key=lambda i: len(examples[i].prompt))
        batches = [bucket[i : i + _BATCH] for i in range(0, len(bucket), _BATCH)]
        chance.shuffle(batches)
        yield from batches


def _padded(items: Sequence[Inputs]) -> tuple[Tensor, Tensor, Tensor]:
    longest = max(len(item.ids) for item in items)
    ids = torch.zeros(len(items), longest, dtype=torch.long)
    segments, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, item in enumerate(items):
        n = len(item.ids)
        ids[row, :n] = torch.tensor(item.ids)
        segments[row, :n] = torch.tensor(item.segments)
        mask[row, :n] = 1
    return ids, segments, mask


def _groups(net: RoutingNet, recipe: Recipe) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = []
    for name, parameter in net.named_parameters():
        layer = re.search(r"layer\.(\d+)\.", name)
        depth = int(layer[1]) + 1 if layer else 0
        rate = recipe.learning_rate * _DECAY ** (6 - depth)
        groups.append(
            {"params": [parameter], "lr": recipe.head_rate if name.startswith("out") else rate}
        )
    return groups
