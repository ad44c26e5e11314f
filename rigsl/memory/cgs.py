"""Memory of CGS on GCN, GAT and M3Net. Factors count tensors of the shape that they are multiplied with."""

from __future__ import annotations

from typing import NamedTuple

from rigsl.config import SPARSIFIERS
from rigsl.memory.stage import Sizes, Stage, linear
from rigsl.modalities import TEXT
from rigsl.model.backbones.m3net import HYPERGRAPH_LAYERS, OFFICIAL_HYPEREDGES, OFFICIAL_NODES
from rigsl.registry import require_same_names


class EdgeMemory(NamedTuple):
    """Tensors with one number per edge: kept for the backward pass, alive in it, alive without gradients."""

    saved: float
    backward: float
    inference: float


class GateMemory(NamedTuple):
    """Tensors with one number per edge: kept for the backward pass, alive while the gates are computed, and
    alive without gradients (None: as many as `EdgeMemory` says)."""

    saved: float
    forward: float
    inference: float | None


#: The values of the edges, besides their gates. GCN keeps the product of both ends' normalisers, M3Net
#: this, its tanh, and what that is multiplied with; GAT its softmax, the two steps before it, and the gate.
GCN_EDGES = EdgeMemory(saved=1.0, backward=2.0, inference=5.5)
M3NET_EDGES = EdgeMemory(saved=3.0, backward=2.0, inference=5.5)
GAT_EDGES = EdgeMemory(saved=4.0, backward=3.0, inference=6.0)
#: A hard-concrete gate keeps its sigmoid, its result and the penalty's sigmoid, a sparsemax only its result.
GATES = {
    "hard_concrete": GateMemory(saved=3.0, forward=8.5, inference=None),
    "sparsemax": GateMemory(saved=1.0, forward=12.0, inference=11.0),
}
require_same_names("sparsifier", {"rigsl.config.SPARSIFIERS": SPARSIFIERS, "rigsl.memory.cgs.GATES": GATES})


def gcn_stages(s: Sizes) -> list[Stage]:
    """The layers."""
    return [_layers(s, GCN_EDGES, dropout=s.config.denoise_dropout, pair=0)]


def gat_stages(s: Sizes) -> list[Stage]:
    """The layers."""
    pair = linear(2 * s.d, 1, bias=False)
    return [_layers(s, GAT_EDGES, dropout=s.config.denoise_dropout, pair=pair)]


def m3net_stages(s: Sizes) -> list[Stage]:
    """fc1, the layers, the hypergraph branch."""
    dropout = 0.0 if s.config.official_quirks else s.config.denoise_dropout
    layers = _layers(s, M3NET_EDGES, dropout=dropout, pair=linear(2 * s.d, 1))
    return [_m3net_input(s), layers, _hypergraph(s)]


def _layers(s: Sizes, edges: EdgeMemory, *, dropout: float, pair: int) -> Stage:
    """The layers of message passing; `pair`: parameters of the map of a pair of nodes to one number."""
    config, node, edge = s.config, s.node, s.edge
    # A list of edges has the normaliser of both ends of each, and messages without padding or copies.
    ends, padded = (2, 0.0) if s.sparse else (0, s.padded)
    gate = GATES[config.sparsifier]
    inference = edges.inference if gate.inference is None else gate.inference
    weights = linear(s.d, s.d, bias=False) + linear(s.d, s.d) + 3 * linear(2 * s.d, 1) + pair
    nodes = (s.mask(dropout) + 2 * s.half) * node + s.cast(weights)
    slots = s.half * padded  # the nodes, in slots of dialogues
    saved = nodes + slots + edge * (gate.saved + edges.saved + ends + s.half)
    results = config.num_L * node  # of all layers, until the last one is done
    return Stage(
        saved=saved,
        forward=results + max(nodes + node + gate.forward * edge, saved + 2 * edge + 3 * s.half * padded),
        backward=saved + edges.backward * edge + 2 * padded + 2 * node,
        inference=results + node + max(inference * edge, 3 * (edge + padded), 2 * edge + 4 * padded),
        output=node,
        weights=weights,
        layers=config.num_L,
    )


def _m3net_input(s: Sizes) -> Stage:
    """fc1: its input with the speaker embedding, and its output, which the hypergraph branch pads."""
    return Stage(
        saved=2 * s.node,
        forward=3 * s.node,
        backward=4 * s.node,
        inference=3 * s.node,
        output=s.node,
        weights=speaker_embedding(s, s.d) + linear(s.d, s.d),
    )


def speaker_embedding(s: Sizes, width: int) -> int:
    """Parameters of the speaker embedding; 0 without one."""
    return s.schema.n_speakers * width if s.config.use_speaker and TEXT in s.config.modalities else 0


def _hypergraph(s: Sizes) -> Stage:
    """A layer keeps the numerators of its divisions and the input of its leaky ReLU."""
    tables = s.modalities + s.modalities + 1
    if s.config.official_quirks:
        tables = OFFICIAL_NODES + OFFICIAL_HYPEREDGES
    saved = HYPERGRAPH_LAYERS * (2 + 1 / s.modalities) * s.padded + s.cast(2 * s.node)
    return Stage(
        saved=saved,
        forward=saved + 3 * s.padded,
        backward=saved + 3 * s.padded,
        inference=4 * s.padded,
        output=-s.node,
        weights=tables + HYPERGRAPH_LAYERS * s.d,
    )
