"""Memory of NodeFormer. Factors count tensors of the shape that they are multiplied with."""

from __future__ import annotations

from rigsl.memory.stage import Sizes, Stage, linear
from rigsl.model.linear_attention import COLUMNS


def nodeformer_stages(s: Sizes) -> list[Stage]:
    """Its input, its layers, and with `use_jk_nodeformer` the map of the outputs of all layers."""
    stages = [_input(s), _layers(s)]
    return [*stages, _jump(s)] if s.config.use_jk_nodeformer else stages


def _norm_size(s: Sizes) -> float:
    """Size of a normalised number: CUDA's autocast normalises in full precision."""
    return 1.0 if s.cuda else s.half


def _input(s: Sizes) -> Stage:
    """The inputs of norm, ELU and dropout, and the result."""
    saved = _norm_size(s) * (3 + s.mask(s.config.nodeformer_dropout)) * s.node
    return Stage(
        saved=saved,
        forward=saved + 2 * s.node,
        backward=saved + 2 * s.node,
        inference=3 * s.node,
        output=s.node,
        weights=linear(s.d, s.d) + 2 * s.d,
    )


def _jump(s: Sizes) -> Stage:
    outputs = (s.config.num_K + 1) * s.node
    saved = s.half * outputs + s.node
    return Stage(
        saved=saved,
        forward=saved + outputs,
        backward=saved + outputs + s.node,
        inference=outputs + s.node,
        output=s.node - outputs,
        weights=linear((s.config.num_K + 1) * s.d, s.d),
    )


def _layers(s: Sizes) -> Stage:
    """A layer, by the moments at which the most numbers are alive.

    relation: [B, H, N, N]; feature: [B, H, N, M_f]; sample: [B, H, N, K], zero without Gumbel noise;
    head: [M U, H d]; padded: [B, H, N, d].
    """
    if s.sparse:
        return _linear_layers(s)
    config, half, d = s.config, s.half, s.d
    slots = s.padded / d * config.nodeformer_heads  # [B, H, N]
    relation, feature = slots * s.modalities * s.batch.longest, slots * config.nb_features_dim
    sample = slots * config.gumbel_k if config.use_gumbel else 0.0
    head, padded = s.node * config.nodeformer_heads, s.padded * config.nodeformer_heads
    link = relation / s.modalities  # the diagonal blocks, whose logarithm the link loss takes

    weights = _layer_weights(s)
    casts = s.cast(weights) + (3 * s.cast(s.node) if s.cuda else 0.0)
    nodes = casts + _norm_size(s) * (2 + s.mask(config.nodeformer_dropout)) * s.node
    # Queries and keys: rows before padding, and their random features.
    kernel = nodes + 2 * head + 2 * feature
    # Attention; with noise also its factor and their product. A cast copy of the last one.
    kept = (2 * relation + half * relation + 2 * sample) if config.use_gumbel else relation
    if half < 1 and not config.use_gumbel:
        kept += half * relation
    saved = kernel + kept + half * (2 * head + padded)
    outputs = config.num_K * s.node
    return Stage(
        saved=saved,
        forward=max(
            nodes + 3 * head + 6 * feature,
            kernel + 3 * feature + relation,
            kernel + kept + 2 * link + 3 * sample,
            saved + half * (4 * padded + relation),
        ),
        backward=max(
            saved + half * (2 * padded + relation),
            kernel + kept + 2 * relation + 2 * link + 2 * sample,
            kernel + 4 * relation + 4 * feature,
        ),
        inference=outputs
        + max(
            3 * padded + 5 * feature,
            4 * padded + 2 * feature,
            2 * padded + 2 * feature + 2 * relation,
            relation + 2 * link,
            relation + 4 * padded + head,
        ),
        output=outputs if config.use_jk_nodeformer else 0.0,
        weights=weights,
        layers=config.num_K,
    )


def _layer_weights(s: Sizes) -> int:
    """Parameters of a layer and its norm."""
    heads = s.d * s.config.nodeformer_heads
    return 3 * linear(s.d, heads) + linear(heads, s.d) + 2 * s.d


def _linear_layers(s: Sizes) -> Stage:
    """A layer with linear attention. Samples of the noise and the steps of the random features are computed
    again in the backward pass.

    head: [M U, H d]; feature: [M U, H, M_f]; sample: [M U, H, K]; shared: [M U, columns] of a head's samples.
    """
    config = s.config
    head = s.node * config.nodeformer_heads
    nodes, heads = s.node / s.d, config.nodeformer_heads
    feature = nodes * heads * config.nb_features_dim
    sample = nodes * heads * config.gumbel_k if config.use_gumbel else 0.0
    samples = min(config.gumbel_k, max(1, COLUMNS // config.nb_features_dim)) if config.use_gumbel else 1
    shared = nodes * config.nb_features_dim * samples
    weights = _layer_weights(s)
    rows = s.cast(weights) + _norm_size(s) * (2 + s.mask(config.nodeformer_dropout)) * s.node
    # Queries, keys, values; values and results in the order of the heads; features; logarithms of the links.
    saved = rows + 3 * s.half * head + (3 + s.half) * head + 2 * feature + heads * s.edge + 2 * sample
    outputs = config.num_K * s.node
    return Stage(
        saved=saved,
        forward=saved + max(4 * feature, 4 * shared),
        backward=saved + 2 * head + 4 * feature + 4 * shared,
        inference=outputs + 4 * head + 4 * feature + 3 * s.edge,
        output=outputs if config.use_jk_nodeformer else 0.0,
        weights=weights,
        layers=config.num_K,
    )
