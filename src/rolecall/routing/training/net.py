"""all-MiniLM-L6-v2 in PyTorch, and the net that it is fine-tuned in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel

from rolecall.routing.encoder.artefact import WIDTH
from rolecall.routing.encoder.inputs import Inputs
from rolecall.routing.encoder.surface import NAMES
from rolecall.routing.examples import LABELS

LAYERS = 6
_HEADS = 12
_DROPOUT = 0.1


class RoutingNet(nn.Module):
    """The encoder with the head that it is trained under.

    Args:
        weights: ``model.safetensors`` of all-MiniLM-L6-v2.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.below = open_minilm(weights)
        *below, self.last = self.below.encoder.layer
        self.below.encoder.layer = nn.ModuleList(below)
        self.drop = nn.Dropout(_DROPOUT)
        self.out = nn.Linear(2 * WIDTH + len(NAMES), len(LABELS))

    def forward(
        self, ids: Tensor, segments: Tensor, mask: Tensor, shape: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits ``(n, 3)`` and, of length 1, means over the messages ``(n, 384)``."""
        hidden = self.below(
            input_ids=ids, token_type_ids=segments, attention_mask=mask
        ).last_hidden_state
        mean = mean_over(hidden, (segments == 0) & (mask == 1))
        joined = [self.drop(self._class_vector(hidden, mask)), self.drop(mean), shape]
        return self.out(torch.cat(joined, dim=1)), functional.normalize(mean, dim=1)

    def encoder(self) -> BertModel:
        """The encoder with all its layers; the net is of no use afterwards."""
        self.below.encoder.layer.append(self.last)
        return self.below

    def _class_vector(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """The last layer for the class token only: nothing reads it for another."""
        first, own = hidden[:, :1], self.last.attention.self
        query, key, value = (
            part.unflatten(-1, (_HEADS, -1)).transpose(1, 2)
            for part in (own.query(first), own.key(hidden), own.value(hidden))
        )
        mixed = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask[:, None, None].bool(),
            dropout_p=_DROPOUT if self.training else 0.0,
        )
        attended = self.last.attention.output(mixed.transpose(1, 2).flatten(2), first)
        return self.last.output(self.last.intermediate(attended), attended)[:, 0]


def open_minilm(weights: Path) -> BertModel:
    """all-MiniLM-L6-v2 from its ``model.safetensors``."""
    config = BertConfig(
        vocab_size=30522,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=_HEADS,
        intermediate_size=1536,
        max_position_embeddings=512,
        hidden_dropout_prob=_DROPOUT,
        attention_probs_dropout_prob=_DROPOUT,
    )
    model = BertModel(config, add_pooling_layer=False)
    state = load_file(weights)
    skipped = ("pooler", "position_ids")
    model.load_state_dict({k: v for k, v in state.items() if not any(s in k for s in skipped)})
    return model


def mean_over(hidden: Tensor, counted: Tensor) -> Tensor:
    """The mean over the tokens where ``counted``, ``(n, t)``, is true; shape ``(n, 384)``."""
    weights = counted.float().unsqueeze(-1)
    return (hidden * weights).sum(1) / weights.sum(1)


def padded(items: Sequence[Inputs]) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, segments and mask of a batch, each ``(n, longest)``."""
    longest = max(len(item.ids) for item in items)
    ids = torch.zeros(len(items), longest, dtype=torch.long)
    segments, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, item in enumerate(items):
        n = len(item.ids)
        ids[row, :n] = torch.tensor(item.ids)
        segments[row, :n] = torch.tensor(item.segments)
        mask[row, :n] = 1
    return ids, segments, mask
