"""The encoder: MiniLM (Wang et al. 2020, arXiv 2002.10957) fine-tuned for routing, int8, on ONNX
Runtime, one thread.

One pass gives two vectors. The summary was trained to tell who should answer: the class vector,
and the mean over the message before the last layer. The sentence vector is that mean, mapped to
near the one that the original sentence encoder gives, so that it says what a message is about (used
for the user's own roles and for the nearest examples).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rolecall.errors import ArtefactDamaged
from rolecall.routing.encoder.inputs import InputBuilder
from rolecall.routing.encoder.surface import surface

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Encoded:
    """What is known of one message.

    Attributes:
        summary: what the head reads, shape ``(768,)``.
        sentence: the sentence vector, shape ``(384,)``, length 1.
        surface: the surface features.
        n_tokens: how many tokens the encoder read.
    """

    summary: Array
    sentence: Array
    surface: Array
    n_tokens: int


class Encoder:
    """Encodes messages.

    Args:
        model: an ONNX file: ``input_ids, token_type_ids`` → ``summary, sentence``.
        tokenizer: its ``tokenizer.json``.
        words: the words that its spelling knows, the commonest first.

    Raises:
        ArtefactDamaged: a file is missing or is not what it should be.
    """

    def __init__(self, model: Path, tokenizer: Path, words: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # no arena: what a long message needed is given back
        options.enable_cpu_mem_arena = False
        # the graph is made as it should run; the joined operators that more would give are slower
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        try:
            self._inputs = InputBuilder(tokenizer, words)
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime and tokenizers raise classes of their own
            raise ArtefactDamaged(f"the router's encoder cannot be loaded: {error}") from error

    def encode(self, prompt: str, context: Sequence[str] = ()) -> Encoded:
        """Encode a message that was said after ``context`` (the user's messages, oldest first)."""
        inputs = self._inputs.build(prompt, context)
        summary, sentence = self._session.run(
            ["summary", "sentence"],
            {
                "input_ids": np.asarray([inputs.ids], np.int64),
                "token_type_ids": np.asarray([inputs.segments], np.int64),
            },
        )
        return Encoded(summary[0], sentence[0], surface(prompt, context), len(inputs.ids))
