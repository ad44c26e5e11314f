"""Memory of MMGCN. Factors count tensors of the shape that they are multiplied with."""

from __future__ import annotations

from rigsl.memory.cgs import speaker_embedding
from rigsl.memory.stage import Sizes, Stage, linear
from rigsl.model.backbones.mmgcn import DROPOUT, HIDDEN_WIDTH, LAYERS, NODE_WIDTH


def mmgcn_stages(s: Sizes) -> list[Stage]:
    """A dense similarity graph of wide nodes, and many narrow layers on it."""
    return [_similarity(s), _layers(s)]


def _similarity(s: Sizes) -> Stage:
    """Projection, unit vectors, and the graph with its two normalisations."""
    node, padded = s.node / s.d * NODE_WIDTH, s.padded / s.d * NODE_WIDTH
    narrow = s.node / s.d * HIDDEN_WIDTH
    saved = 4 * node + 4 * padded + 5 * s.pair + 6 * s.cross + narrow
    projection = s.modalities * linear(s.d, NODE_WIDTH) + speaker_embedding(s, NODE_WIDTH)
    return Stage(
        saved=saved,
        forward=saved + 2 * node,
        backward=saved + 4 * s.pair,
        inference=2 * node + 4 * padded + 4 * s.pair,
        output=node + narrow + s.pair + s.cross,
        weights=projection + linear(NODE_WIDTH, HIDDEN_WIDTH),
    )


def _layers(s: Sizes) -> Stage:
    """A layer keeps result and mask of its dropout, two padded copies, the product's input, and its ReLU."""
    node, padded = s.node / s.d * HIDDEN_WIDTH, s.padded / s.d * HIDDEN_WIDTH
    weights = 2 * HIDDEN_WIDTH * HIDDEN_WIDTH
    saved = (2 + s.mask(DROPOUT) + 2 * s.half) * node + 2 * s.half * padded + s.cross + s.cast(weights)
    wide = node / HIDDEN_WIDTH * (NODE_WIDTH + HIDDEN_WIDTH)
    return Stage(
        saved=saved,
        forward=saved + 2 * wide,
        backward=saved + 2 * wide,
        inference=4 * padded + 2 * node,
        output=-s.pair - s.cross,
        weights=weights,
        layers=LAYERS,
    )
