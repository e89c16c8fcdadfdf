"""Writes the fine-tuned encoder as int8 ONNX: token and segment ids → class and sentence vector.

The graph is built node by node from the weights, not traced: one matrix product for query, key
and value, no mask (a message is encoded alone, without padding), none of the shape arithmetic that
tracing leaves, and of the last layer only what the class vector needs. Weights have one scale per
output, embeddings one per row. They use seven bits: processors without VNNI add two products in
sixteen bits, which eight bits would overflow, and a decision must not depend on the processor.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rolecall.routing.encoder.artefact import WIDTH

if TYPE_CHECKING:
    from rolecall.routing.training.encoder import FineTuned

Array = NDArray[np.float32]

_HEADS = 12
_SIZE = WIDTH // _HEADS
_WEIGHT_TOP, _ROW_TOP = 63, 127
_EPSILON = 1e-12  # BERT's, of its layer normalisations
_CONTRIB = "com.microsoft"


def export(made: FineTuned, target: Path) -> None:
    """Write the encoder; the same weights give the same bytes."""
    encoder = made.encoder
    weights = {
        name: np.asarray(value.detach().numpy(), np.float32)
        for name, value in encoder.state_dict().items()
        if value.is_floating_point()
    }
    graph = _Graph(weights)
    own = graph.node("Equal", "token_type_ids", graph.constant("message", np.asarray(0)))
    hidden = _embedded(graph)
    *layers, last = (f"encoder.layer.{i}" for i in range(encoder.config.num_hidden_layers))
    for layer in layers:
        hidden = _layer(graph, hidden, _attention(graph, hidden, layer), layer)
    mean = _mean(graph, hidden, own)
    mapped = graph.node("MatMul", mean, graph.constant("to_sentence", made.to_sentence))
    graph.node("LpNormalization", mapped, name="sentence", axis=-1, p=2)
    graph.node("Concat", _class_vector(graph, hidden, last), mean, name="summary", axis=-1)
    onnx.save(graph.model(), target)


class _Graph:
    """Nodes and constants under names of their own."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self.weights = weights
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self._constants[name] = numpy_helper.from_array(value, name)
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def node(
        self, kind: str, *inputs: str, name: str = "", domain: str = "", **options: Any
    ) -> str:
        return self.nodes(
            kind, *inputs, names=[name or self._name(kind)], domain=domain, **options
        )[0]

    def nodes(
        self, kind: str, *inputs: str, names: list[str], domain: str = "", **options: Any
    ) -> list[str]:
        title = self._name(kind)
        self._nodes.append(
            helper.make_node(kind, inputs, names, name=title, domain=domain, **options)
        )
        return names

    def rows(self, name: str, ids: str) -> str:
        """Rows of an embedding, kept as int8 with a scale each."""
        table = self.weights[name]
        scale = np.maximum(np.abs(table).max(axis=1, keepdims=True), _EPSILON) / _ROW_TOP
        whole = self.constant(f"{name}.int8", np.round(table / scale).astype(np.int8))
        picked = self.node("Cast", self.node("Gather", whole, ids), to=TensorProto.FLOAT)
        scales = self.constant(f"{name}.scale", scale.astype(np.float32))
        return self.node("Mul", picked, self.node("Gather", scales, ids))

    def linear(self, values: str, name: str, matrix: Array, bias: Array) -> str:
        """``values @ matrix + bias``; the matrix as int8, the values quantised as they come."""
        scale = np.maximum(np.abs(matrix).max(axis=0), _EPSILON) / _WEIGHT_TOP
        return self.node(
            "DynamicQuantizeMatMul",
            values,
            self.constant(f"{name}.int8", np.round(matrix / scale).astype(np.int8)),
            self.constant(f"{name}.scale", scale.astype(np.float32)),
            self.constant(f"{name}.zero", np.zeros(len(scale), np.int8)),
            self.constant(f"{name}.bias", bias),
            domain=_CONTRIB,
        )

    def dense(self, values: str, name: str) -> str:
        return self.linear(
            values, name, self.weights[f"{name}.weight"].T, self.weights[f"{name}.bias"]
        )

    def normalised(self, values: str, name: str) -> str:
        scale, shift = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node("LayerNormalization", values, scale, shift, axis=-1, epsilon=_EPSILON)

    def model(self) -> Any:
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, [1, "n_tokens"])
            for name in ("input_ids", "token_type_ids")
        ]
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width])
            for name, width in (("summary", 2 * WIDTH), ("sentence", WIDTH))
        ]
        graph = helper.make_graph(
            self._nodes, "encoder", inputs, outputs, list(self._constants.values())
        )
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(_CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        onnx.checker.check_model(model)
        return model

    def _name(self, kind: str) -> str:
        return f"{kind}.{len(self._nodes)}"


def _embedded(graph: _Graph) -> str:
    pre = "embeddings"
    zero, one = (graph.constant(name, np.asarray(i)) for name, i in (("zero", 0), ("one", 1)))
    length = graph.node("Squeeze", graph.node("Shape", "input_ids", start=1, end=2))
    positions = graph.node("Range", zero, length, one)
    words = graph.rows(f"{pre}.word_embeddings.weight", "input_ids")
    places = graph.rows(f"{pre}.position_embeddings.weight", positions)
    segments = graph.rows(f"{pre}.token_type_embeddings.weight", "token_type_ids")
    summed = graph.node("Add", graph.node("Add", words, segments), places)
    return graph.normalised(summed, f"{pre}.LayerNorm")


def _layer(graph: _Graph, hidden: str, attended: str, pre: str) -> str:
    """What follows the attention, for the tokens in ``hidden``."""
    attended = graph.dense(attended, f"{pre}.attention.output.dense")
    hidden = graph.normalised(
        graph.node("Add", attended, hidden), f"{pre}.attention.output.LayerNorm"
    )
    inner = graph.node("Gelu", graph.dense(hidden, f"{pre}.intermediate.dense"), domain=_CONTRIB)
    outer = graph.dense(inner, f"{pre}.output.dense")
    return graph.normalised(graph.node("Add", outer, hidden), f"{pre}.output.LayerNorm")


def _attention(graph: _Graph, hidden: str, pre: str) -> str:
    query, key, value = _projected(graph, hidden, pre, "query", "key", "value")
    return _mixed(graph, query, key, value)


def _projected(graph: _Graph, hidden: str, pre: str, *parts: str) -> list[str]:
    """Queries, keys or values by head, from one product."""
    own = f"{pre}.attention.self"
    matrices, biases = [], []
    for part in parts:
        shrunk = _SIZE**-0.5 if part == "query" else 1.0  # of the dot products, done beforehand
        matrices.append(graph.weights[f"{own}.{part}.weight"].T * np.float32(shrunk))
        biases.append(graph.weights[f"{own}.{part}.bias"] * np.float32(shrunk))
    product = graph.linear(
        hidden, f"{own}.{'.'.join(parts)}", np.concatenate(matrices, axis=1), np.concatenate(biases)
    )
    shape = graph.constant(f"apart.{len(parts)}", np.asarray([-1, len(parts) * _HEADS, _SIZE]))
    by_head = graph.node("Transpose", graph.node("Reshape", product, shape), perm=[1, 0, 2])
    if len(parts) == 1:
        return [by_head]
    names = [f"{own}.{part}" for part in parts]
    return graph.nodes("Split", by_head, names=names, axis=0, num_outputs=len(parts))


def _mixed(graph: _Graph, query: str, key: str, value: str) -> str:
    scores = graph.node("FusedMatMul", query, key, domain=_CONTRIB, transB=1)
    mixed = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), value)
    together = graph.constant("together", np.asarray([1, -1, WIDTH]))
    return graph.node("Reshape", graph.node("Transpose", mixed, perm=[1, 0, 2]), together)


def _mean(graph: _Graph, hidden: str, own: str) -> str:
    """The mean over the message, of length 1."""
    counted = graph.node("Unsqueeze", graph.node("Cast", own, to=TensorProto.FLOAT), "axis")
    graph.constant("axis", np.asarray([1]))
    summed = graph.node("Squeeze", graph.node("MatMul", counted, hidden), "axis")
    return graph.node("LpNormalization", summed, axis=-1, p=2)


def _class_vector(graph: _Graph, hidden: str, pre: str) -> str:
    """The last layer for the first token, which looks at all of them."""
    first = graph.node("Gather", hidden, graph.constant("first", np.asarray([0])), axis=1)
    (query,) = _projected(graph, first, pre, "query")
    key, value = _projected(graph, hidden, pre, "key", "value")
    vector = _layer(graph, first, _mixed(graph, query, key, value), pre)
    return graph.node("Squeeze", vector, "axis")
