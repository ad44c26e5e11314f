"""Memory of the encoder. Factors count tensors of the shape that they are multiplied with."""

from __future__ import annotations

from typing import NamedTuple

from rigsl.memory.stage import Sizes, Stage, linear
from rigsl.modalities import TEXT


class Recurrence(NamedTuple):
    """Tensors [U, d] of a bidirectional network of two layers: kept for the backward pass (without the mask
    of the dropout), temporary in training, and alive without gradients; stacked: whether there is a second,
    stacked copy of the weights."""

    saved: float
    temporary: float
    inference: float
    stacked: bool = False


#: ``recurrent.py``: a layer keeps its input, three gates, the previous state and the candidate.
PACKED_GRU = Recurrence(13, 8, 14, stacked=True)
#: PyTorch's own cells keep seven per layer, and inputs and outputs between the layers.
CELLS = Recurrence(17, 4, 8)
#: oneDNN's workspace for an LSTM over padded sequences: 22 per layer.
ONEDNN_LSTM = Recurrence(45, 4, 8)
#: cuDNN's reserve space, assumed to be five per layer and direction; this one is not measured.
CUDNN = Recurrence(13, 6, 8)


def encoder_stages(s: Sizes) -> list[Stage]:
    """Text mix and linear maps, context networks, speaker networks, gates."""
    config, batch = s.config, s.batch
    contexts = s.modalities if config.av_using_lstm else int(TEXT in config.modalities)
    speakers = s.modalities if config.use_speaker else 0
    return [
        _inputs(s, without_context=s.modalities - contexts),
        _recurrent(s, contexts, frames=batch.dialogues * batch.longest),
        _recurrent(s, speakers, frames=batch.speakers * batch.longest),
        _gates(s, 2 if speakers else 1, networks=contexts + speakers),
    ]


def _inputs(s: Sizes, *, without_context: int) -> Stage:
    config, schema = s.config, s.schema
    rows = float(s.batch.utterances)
    if config.official_quirks:  # inputs are padded first
        rows = s.batch.dialogues * s.batch.longest
    weights = sum(linear(schema.widths[key], s.d) for key in config.modalities)
    wide = rows * sum(schema.widths[key] for key in config.modalities)
    mixed = views = 0.0
    if TEXT in config.modalities:
        width, count = schema.widths[TEXT], schema.text_views
        if config.norm in ("LN", "BN"):
            weights += 2 * width * count
        if config.norm != "None" or schema.text_default != "first":
            mixed = rows * width
        copies = {"None": 0, "mean": 0, "LN": 2, "BN": 2, "LN2": 3}[config.norm] + config.official_quirks
        views = rows * width * count * copies
    saved = mixed + s.cast(wide + weights) + without_context * s.utterance
    return Stage(
        saved=saved,
        forward=saved + views + s.node,
        backward=saved + 2 * views,
        inference=mixed + views + s.node,
        output=s.node,
        weights=weights,
    )


def _recurrent(s: Sizes, networks: int, *, frames: int) -> Stage:
    """`networks` side by side; `frames`: steps that they read with `official_quirks`, padding included."""
    config = s.config
    gru, quirks = config.base_model == "GRU", config.official_quirks
    half_width = s.d // 2
    weights = networks * 4 * (3 if gru else 4) * half_width * (s.d + half_width + 2)
    kind = CUDNN if s.cuda else PACKED_GRU if gru and not quirks else CELLS
    if quirks and not gru and not s.cuda:
        kind = ONEDNN_LSTM
    rows = networks * s.d * (frames if quirks else s.batch.utterances)
    stacked = weights if kind.stacked else 0
    saved = (kind.saved + s.mask(config.dropout)) * rows + stacked
    return Stage(
        saved=saved,
        forward=saved + kind.temporary * rows,
        backward=saved + (kind.temporary + 2) * rows + stacked / 2,
        inference=kind.inference * rows + stacked / 2,
        output=networks * s.utterance,
        weights=weights,
    )


def _gates(s: Sizes, gates: int, *, networks: int) -> Stage:
    """A sigmoid for every gate, and the result, which replaces the inputs and the results of the networks."""
    weights = s.modalities * gates * linear(s.d, s.d)
    saved = (gates + 1) * s.node + s.cast(weights)
    return Stage(
        saved=saved,
        forward=saved + 2 * s.node,
        backward=saved + 2 * s.node,
        inference=4 * s.node,
        output=-networks * s.utterance,
        weights=weights,
    )
