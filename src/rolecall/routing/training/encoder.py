"""Fine-tunes the encoder on the shipped examples.

Needs PyTorch and transformers (``pip install "rolecall[train]"``), which nothing else does. The
weights of several runs are averaged (Wortsman et al. 2022, arXiv 2203.05482), then a linear map
brings the mean over a message as near as it can to the vector of the original sentence encoder.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import BertModel

from rolecall.routing.encoder.artefact import WIDTH
from rolecall.routing.encoder.inputs import InputBuilder
from rolecall.routing.examples import Example
from rolecall.routing.training.net import mean_over, open_minilm, padded
from rolecall.routing.training.run import Material, Recipe, Weights, run

_BATCH = 64
_RIDGE = 1e-3

_Told = tuple[int, int, float]


@dataclass(frozen=True)
class FineTuned:
    """What fine-tuning gives.

    Attributes:
        encoder: the weights.
        to_sentence: maps the mean over a message to its sentence vector, shape ``(384, 384)``.
    """

    encoder: BertModel
    to_sentence: NDArray[np.float32]


def fine_tune(
    examples: Sequence[Example],
    weights: Path,
    tokenizer: Path,
    recipe: Recipe,
    on_step: Callable[[int, int, float], None],
) -> FineTuned:
    """Fine-tune the encoder; the same examples and recipe give the same weights on a machine.

    Args:
        weights: ``model.safetensors`` of all-MiniLM-L6-v2.
        on_step: told ``(step, of, loss)``, over all runs.
    """
    originals = _sentences(examples, open_minilm(weights), tokenizer, layer=-1)
    material = Material(examples, weights, tokenizer, originals.numpy())
    encoder = averaged(_side_by_side(material, recipe, on_step), open_minilm(weights))
    means = _sentences(examples, encoder, tokenizer, layer=-2)
    return FineTuned(encoder, map_to(originals, means))


def averaged(runs: Sequence[Weights], encoder: BertModel) -> BertModel:
    """An encoder with the mean of several weights."""
    mean = {
        name: torch.from_numpy(np.mean([one[name] for one in runs], axis=0)).to(value.dtype)
        for name, value in encoder.state_dict().items()
    }
    encoder.load_state_dict(mean)
    return encoder.eval()


def map_to(originals: Tensor, means: Tensor) -> NDArray[np.float32]:
    """The linear map of least squared error, shape ``(384, 384)``, with a little ridge."""
    squares = means.T @ means
    ridge = _RIDGE * squares.diagonal().mean() * torch.eye(len(squares))
    return np.asarray(torch.linalg.solve(squares + ridge, means.T @ originals), np.float32)


def _sentences(
    examples: Sequence[Example], encoder: BertModel, tokenizer: Path, layer: int
) -> Tensor:
    """Means over the messages after a layer, of length 1, shape ``(n, 384)``."""
    encoder.eval()
    builder = InputBuilder(tokenizer)
    inputs = [builder.build(example.prompt) for example in examples]
    order = sorted(range(len(examples)), key=lambda i: len(inputs[i].ids))
    found = torch.zeros(len(examples), WIDTH)
    with torch.no_grad():
        for start in range(0, len(order), _BATCH):
            some = order[start : start + _BATCH]
            ids, segments, mask = padded([inputs[i] for i in some])
            read = encoder(
                input_ids=ids,
                token_type_ids=segments,
                attention_mask=mask,
                output_hidden_states=True,
            )
            found[some] = functional.normalize(
                mean_over(read.hidden_states[layer], mask == 1), dim=1
            )
    return found


def _side_by_side(
    material: Material, recipe: Recipe, on_step: Callable[[int, int, float], None]
) -> list[Weights]:
    """The runs, each in a process of its own and on one thread.

    So the weights do not depend on the number of cores, and two runs take less time than one after
    the other on both.
    """
    context = multiprocessing.get_context("spawn")
    worker = _Worker(context.Queue(), context.Event())
    pool = ProcessPoolExecutor(
        min(len(recipe.seeds), os.cpu_count() or 1), context, _begin, (worker,)
    )
    with pool, ExitStack() as leaving:
        leaving.callback(worker.stop.set)
        runs = [pool.submit(_work, material, recipe, seed) for seed in recipe.seeds]
        done = 0
        while not all(one.done() for one in runs):
            for one in runs:
                if one.done():
                    one.result()  # one that failed ends the others
            with suppress(queue.Empty):
                _, steps, loss = worker.told.get(timeout=1.0)
                done += 1
                on_step(done, len(recipe.seeds) * steps, loss)
        return [one.result() for one in runs]


@dataclass(frozen=True)
class _Worker:
    """What a process that trains shares with the one that waits for it."""

    told: multiprocessing.Queue[_Told]
    stop: Event

    def tell(self, step: int, of: int, loss: float) -> None:
        if self.stop.is_set():
            raise InterruptedError("nobody waits for this run any more")
        self.told.put((step, of, loss))


_worker: _Worker


def _begin(worker: _Worker) -> None:
    """Make this process a worker, which lasts no longer than the process that waits for it.

    Ctrl-C is for that one.
    """
    global _worker
    _worker = worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _work(material: Material, recipe: Recipe, seed: int) -> Weights:
    return run(material, recipe, seed, _worker.tell)
