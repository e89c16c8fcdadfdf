"""Fine-tunes the encoder on the shipped examples.

Needs PyTorch and transformers (``pip install "rolecall[train]"``), which nothing else does. The
loss is cross-entropy against the share of annotators behind each label, plus the cosine distance
of the message's mean to the vector of the original sentence encoder, so that the fine-tuned encoder
still knows what a message is about. Lower layers learn more slowly (Howard and Ruder 2018, arXiv
1801.06146). The weights of several runs are averaged (Wortsman et al. 2022, arXiv 2203.05482), then
a linear map brings the mean as near as it can to the original vector.
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
_RIDGE = 1e-3


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
class FineTuned:
    """What fine-tuning gives.

    Attributes:
        encoder: the weights.
        to_sentence: maps the mean over a message to its sentence vector, shape ``(384, 384)``.
    """

    encoder: BertModel
    to_sentence: NDArray[np.float32]


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
    """The class vector, and the mean over the message before the last layer, each ``(n, 384)``.

    So the last layer is needed for one token only.
    """
    hidden = encoder(
        input_ids=ids, token_type_ids=segments, attention_mask=mask, output_hidden_states=True
    ).hidden_states
    return hidden[-1][:, 0], _mean(hidden[-2], (segments == 0) & (mask == 1))


def _mean(hidden: Tensor, counted: Tensor) -> Tensor:
    weights = counted.float().unsqueeze(-1)
    return (hidden * weights).sum(1) / weights.sum(1)


def fine_tune(
    examples: Sequence[Example],
    weights: Path,
    tokenizer: Path,
    recipe: Recipe,
    on_step: Callable[[int, int, float], None],
) -> FineTuned:
    """Fine-tune the encoder; the same examples, recipe and machine give the same weights.

    Args:
        weights: ``model.safetensors`` of all-MiniLM-L6-v2.
        on_step: told ``(step, of, loss)``, over all runs.
    """
    builder = InputBuilder(tokenizer)
    originals = _sentences(examples, open_minilm(weights), builder, layer=-1)
    runs = []
    for number, seed in enumerate(recipe.seeds):

        def told(step: int, steps: int, loss: float, before: int = number) -> None:
            on_step(before * steps + step, len(recipe.seeds) * steps, loss)

        run = _run(examples, weights, builder, originals, recipe, seed, told)
        runs.append(run.state_dict())
    encoder = averaged(runs, open_minilm(weights))
    return FineTuned(encoder, map_to(originals, _sentences(examples, encoder, builder, layer=-2)))


def averaged(runs: Sequence[dict[str, Tensor]], encoder: BertModel) -> BertModel:
    """An encoder with the mean of several weights."""
    mean = {
        name: torch.stack([run[name].float() for run in runs]).mean(0).to(value.dtype)
        for name, value in encoder.state_dict().items()
    }
    encoder.load_state_dict(mean)
    return encoder.eval()


def map_to(originals: Tensor, means: Tensor) -> NDArray[np.float32]:
    """The linear map of least squared error, shape ``(384, 384)``, with a little ridge."""
    squares = means.T @ means
    ridge = _RIDGE * squares.diagonal().mean() * torch.eye(len(squares))
    return np.asarray(torch.linalg.solve(squares + ridge, means.T @ originals), np.float32)


def _run(
    examples: Sequence[Example],
    weights: Path,
    builder: InputBuilder,
    originals: Tensor,
    recipe: Recipe,
    seed: int,
    on_step: Callable[[int, int, float], None],
) -> BertModel:
    torch.manual_seed(recipe.seeds[0])  # all runs begin alike, or their mean would mean nothing
    net = RoutingNet(weights)
    torch.manual_seed(seed)
    chance = random.Random(seed)  # noqa: S311 - not for secrets
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
            on_step(step, steps, loss.item())
    return net.encoder


def _target(example: Example) -> NDArray[np.float32]:
    votes = example.votes or (example.label,)
    share = np.asarray([votes.count(label) / len(votes) for label in LABELS], np.float32)
    return np.asarray(share * (1 - _SMOOTHING) + _SMOOTHING / len(LABELS), np.float32)


def _sentences(
    examples: Sequence[Example], encoder: BertModel, builder: InputBuilder, layer: int
) -> Tensor:
    """Means over the messages, of length 1, shape ``(n, 384)``."""
    encoder.eval()
    found = torch.zeros(len(examples), _WIDTH)
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].prompt))
    with torch.no_grad():
        for start in range(0, len(order), 2 * _BATCH):
            some = order[start : start + 2 * _BATCH]
            ids, segments, mask = _padded([builder.build(examples[i].prompt) for i in some])
            read = encoder(
                input_ids=ids,
                token_type_ids=segments,
                attention_mask=mask,
                output_hidden_states=True,
            )
            means = _mean(read.hidden_states[layer], mask == 1)
            found[some] = functional.normalize(means, dim=1)
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
