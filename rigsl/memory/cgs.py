"""Memory of CGS on GCN, GAT and M3Net. Factors count tensors of the shape that they are multiplied with."""

from __future__ import annotations

from rigsl.memory.stage import Sizes, Stage, linear
from rigsl.model.backbones.m3net import HYPERGRAPH_LAYERS, OFFICIAL_HYPEREDGES, OFFICIAL_NODES

#: What an edge's value is made of, beside its gate: M3Net's tanh and what it is multiplied with; GAT's
#: softmax, its two steps before, and the gate itself.
MADE_OF = {"GCN": 0.0, "M3Net": 2.0, "GAT": 4.0}


def cgs_stages(s: Sizes) -> list[Stage]:
    """The layers; in M3Net fc1 before and the hypergraph branch after them."""
    if s.config.backbone != "M3Net":
        return [_layers(s)]
    return [_m3net_input(s), _layers(s), _hypergraph(s)]


def _layers(s: Sizes) -> Stage:
    """A hard-concrete gate keeps its sigmoid, what is clamped and the penalty's sigmoid, a sparsemax only its
    result; then there is the edge's value. Gates that are left are counted in a copy of 64-bit integers."""
    config, node, place = s.config, s.node, s.place
    edge = s.pair + s.cross
    sparsemax, gat = config.sparsifier == "sparsemax", config.backbone == "GAT"
    gating = 12.0 if sparsemax else 8.5
    alone = 11.0 if sparsemax else 6.0 if gat else 5.5  # without gradients
    quirks = config.official_quirks and config.backbone == "M3Net"
    mask = s.mask(0.0 if quirks else config.denoise_dropout)
    weights = _layer_weights(s)
    nodes = (mask + 2 * s.half) * node + s.cast(weights)
    places = (2 if s.modalities > 1 else 1) * s.half * place  # matmul and einsum keep a copy each
    saved = nodes + places + edge * ((1.0 if sparsemax else 3.0) + MADE_OF[config.backbone] + s.half)
    results = config.num_L * node  # of all layers, until the last is done
    return Stage(
        saved=saved,
        forward=results + max(nodes + node + gating * edge, saved + 2 * edge + 3 * s.half * place),
        backward=saved + (3 if gat else 2) * edge + 2 * place + 2 * node,
        inference=results + node + max(alone * edge, 3 * (edge + place), 2 * edge + 4 * place),
        output=node,
        weights=weights,
        layers=config.num_L,
    )


def _layer_weights(s: Sizes) -> int:
    d = s.d
    pair = {"GCN": 0, "M3Net": linear(2 * d, 1), "GAT": linear(2 * d, 1, bias=False)}
    gate = linear(d, d) + 3 * linear(2 * d, 1)
    return linear(d, d, bias=False) + gate + pair[s.config.backbone]


def _m3net_input(s: Sizes) -> Stage:
    """fc1: its input with the speakers, and its output, which the hypergraph branch pads."""
    return Stage(
        saved=2 * s.node,
        forward=3 * s.node,
        backward=4 * s.node,
        inference=3 * s.node,
        output=s.node,
        weights=speaker_embedding(s, s.d) + linear(s.d, s.d),
    )


def speaker_embedding(s: Sizes, width: int) -> int:
    """Parameters of the speaker embedding, if there is one."""
    return s.schema.n_speakers * width if s.config.use_speaker and "l" in s.config.modals else 0


def _hypergraph(s: Sizes) -> Stage:
    """A layer keeps the numerators of its divisions and what its leaky ReLU reads."""
    tables = s.modalities + s.modalities + 1
    if s.config.official_quirks:
        tables = OFFICIAL_NODES + OFFICIAL_HYPEREDGES
    saved = HYPERGRAPH_LAYERS * (2 + 1 / s.modalities) * s.place + s.cast(2 * s.node)
    return Stage(
        saved=saved,
        forward=saved + 3 * s.place,
        backward=saved + 3 * s.place,
        inference=4 * s.place,
        output=-s.node,
        weights=tables + HYPERGRAPH_LAYERS * s.d,
    )
