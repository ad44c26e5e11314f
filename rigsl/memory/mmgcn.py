"""Memory of MMGCN. Factors count tensors of the shape that they are multiplied with."""

from __future__ import annotations

from rigsl.memory.cgs import speaker_embedding
from rigsl.memory.stage import Sizes, Stage, linear
from rigsl.model.backbones.mmgcn import DROPOUT, HIDDEN_WIDTH, LAYERS, NODE_WIDTH


def mmgcn_stages(s: Sizes) -> list[Stage]:
    """A similarity graph of wide nodes, and many narrow layers on it."""
    return [_similarity(s), _layers(s)]


def _similarity(s: Sizes) -> Stage:
    """Projection, unit vectors, and the graph with its two normalisations."""
    if s.sparse:
        return _listed_similarity(s)
    node, padded = s.node / s.d * NODE_WIDTH, s.padded / s.d * NODE_WIDTH
    narrow = s.node / s.d * HIDDEN_WIDTH
    saved = 4 * node + 4 * padded + 5 * s.pair + 6 * s.cross + narrow
    return Stage(
        saved=saved,
        forward=saved + 2 * node,
        backward=saved + 4 * s.pair,
        inference=2 * node + 4 * padded + 4 * s.pair,
        output=node + narrow + s.pair + s.cross,
        weights=_projection_weights(s),
    )


def _listed_similarity(s: Sizes) -> Stage:
    """The same for a list of edges, without padding."""
    node, narrow = s.node / s.d * NODE_WIDTH, s.node / s.d * HIDDEN_WIDTH
    saved = 6 * node + 7 * s.edge + narrow
    return Stage(
        saved=saved,
        forward=saved + 2 * node,
        backward=saved + 4 * s.edge + 2 * node,
        inference=4 * node + 5 * s.edge,
        output=node + narrow + s.edge,
        weights=_projection_weights(s),
    )


def _projection_weights(s: Sizes) -> int:
    """Parameters of the projections, the speaker embedding and the input of the layers."""
    projection = s.modalities * linear(s.d, NODE_WIDTH) + speaker_embedding(s, NODE_WIDTH)
    return projection + linear(NODE_WIDTH, HIDDEN_WIDTH)


def _layers(s: Sizes) -> Stage:
    """A layer keeps result and mask of its dropout, two padded copies, the product's input, and its ReLU."""
    node, padded = s.node / s.d * HIDDEN_WIDTH, s.padded / s.d * HIDDEN_WIDTH
    weights = 2 * HIDDEN_WIDTH * HIDDEN_WIDTH
    again = 0.0
    saved = (2 + s.mask(DROPOUT) + 2 * s.half) * node + 2 * s.half * padded + s.cross + s.cast(weights)
    if s.sparse:  # a layer keeps its input, and computes the rest again
        again, saved, padded = (6 * node) + 4 * s.edge, node, node
    wide = node / HIDDEN_WIDTH * (NODE_WIDTH + HIDDEN_WIDTH)
    return Stage(
        saved=saved,
        forward=saved + again + 2 * wide,
        backward=saved + again + 2 * wide,
        inference=4 * padded + 2 * node,
        output=-s.edge,
        weights=weights,
        layers=LAYERS,
    )
