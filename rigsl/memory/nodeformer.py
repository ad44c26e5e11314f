"""Memory of NodeFormer. Factors count tensors of the shape that they are multiplied with."""

from __future__ import annotations

from rigsl.memory.stage import Sizes, Stage, linear


def nodeformer_stages(s: Sizes) -> list[Stage]:
    """Its input, its layers, and with `use_jk_nodeformer` the map of all their outputs."""
    stages = [_input(s), _layers(s)]
    return [*stages, _jump(s)] if s.config.use_jk_nodeformer else stages


def _kept_in(s: Sizes) -> float:
    """How a node's result of a norm counts: CUDA's autocast normalises in full precision."""
    return 1.0 if s.cuda else s.half


def _input(s: Sizes) -> Stage:
    """What norm, ELU and dropout read, and the result."""
    saved = _kept_in(s) * (3 + s.mask(s.config.nodeformer_dropout)) * s.node
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
    """A layer by its fullest moments.

    relation: [B, H, N, N]; feature: [B, H, N, M_f]; sample: [B, H, N, K], zero without Gumbel noise;
    head: [M U, H d]; spread: [B, H, N, d], padding included.
    """
    config, half, d = s.config, s.half, s.d
    places = s.place / d * config.nodeformer_heads
    relation, feature = places * s.modalities * s.load.longest, places * config.nb_features_dim
    sample = places * config.gumbel_k if config.use_gumbel else 0.0
    head, spread = s.node * config.nodeformer_heads, s.place * config.nodeformer_heads
    link = relation / s.modalities  # the diagonal blocks, of which the link loss takes the logarithm

    weights = 3 * linear(d, d * config.nodeformer_heads) + linear(d * config.nodeformer_heads, d) + 2 * d
    casts = s.cast(weights) + (3 * s.cast(s.node) if s.cuda else 0.0)
    nodes = casts + _kept_in(s) * (2 + s.mask(config.nodeformer_dropout)) * s.node
    # Queries and keys: rows before padding, scaled vectors, and three steps of the kernel.
    kernel = nodes + 2 * half * head + 2 * spread + 6 * feature
    # Similarity and attention; with noise also the weights' two factors' product, and it averaged.
    kept = (3 if config.use_gumbel else 1) * relation + half * relation + link + 2 * sample
    saved = kernel + kept + half * (2 * head + spread)
    drawing = 5 * relation + link + 5 * sample if config.use_gumbel else 2 * (relation + link)
    outputs = config.num_K * s.node
    return Stage(
        saved=saved,
        forward=max(
            nodes + half * (2 * head + 2 * spread) + 3 * spread + 9 * feature,
            kernel + half * 2 * spread + 2 * relation,
            kernel + drawing,
            saved + half * (4 * spread + relation),
        ),
        backward=max(
            saved + half * (2 * spread + relation),
            kernel + 6 * relation + link + 2 * sample,
            kernel + 3 * relation + link + 6 * sample,
            kernel + 2 * feature,
        ),
        inference=outputs
        + max(
            3 * spread + 5 * feature,
            4 * spread + 2 * feature,
            2 * spread + 2 * feature + 2 * relation,
            relation + 2 * link,
            relation + 4 * spread + head,
        ),
        output=outputs if config.use_jk_nodeformer else 0.0,
        weights=weights,
        layers=config.num_K,
    )
