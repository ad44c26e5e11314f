"""Utterance features -> node features: text mix, context and speaker networks (docs/model.md, section 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch, Packing
from rigsl.data.corpus import Schema
from rigsl.modalities import TEXT, module_name
from rigsl.model.linear import Linear, gated
from rigsl.model.precision import full_precision
from rigsl.model.recurrent import bidirectional


class TextMix(nn.Module):
    """The text vectors of an utterance, normalised and averaged into one.

    `norm` (official ``model.py``, ``norm_strategy``; docs/model.md, section 1): None -> the corpus's default
    (the first vector, or the mean); mean; LN / BN -> a LayerNorm / BatchNorm1d for each vector, then the
    mean; LN2 -> parameter-free LayerNorm over a dialogue's (utterance, feature) plane, then the mean.

    Shapes: [U, views, width] -> [U, width]
    """

    def __init__(self, config: RIGSLConfig, schema: Schema) -> None:
        super().__init__()
        self.norm, self.first = config.norm, schema.text_default == "first"
        kinds = {"LN": nn.LayerNorm, "BN": nn.BatchNorm1d}
        count = schema.text_views if config.norm in kinds else 0
        self.norms = nn.ModuleList(kinds[config.norm](schema.widths[TEXT]) for _ in range(count))

    def forward(self, views: Tensor, batch: Batch) -> Tensor:
        if self.norm == "None" and self.first:
            return views[:, 0]
        if self.norm == "LN2":
            views = self._plane_norm(views, batch)
        elif self.norms:
            views = torch.stack([norm(views[:, index]) for index, norm in enumerate(self.norms)], dim=1)
        return views.mean(dim=1) if views.shape[1] > 1 else views[:, 0]

    @staticmethod
    def _plane_norm(views: Tensor, batch: Batch) -> Tensor:
        """Zero mean and unit variance over the utterances and features of each dialogue, per vector."""
        sizes = batch.sizes.to(views.dtype)[:, None]
        mean = batch.pad(views.mean(dim=-1))[:, 0].sum(dim=1) / sizes  # [B, views]
        centred = views - mean[batch.dialogues.sequence][..., None]
        variance = batch.pad(centred.square().mean(dim=-1))[:, 0].sum(dim=1) / sizes
        return centred * (variance + 1e-5).rsqrt()[batch.dialogues.sequence][..., None]

    def over_padding(self, views: Tensor, batch: Batch) -> Tensor:
        """The mix of the official code, which normalises padded frames, too. -> [B, T, width]"""
        padded = batch.pad(views)[:, 0]  # [B, T, views, width]
        if self.norm == "None" and self.first:
            return padded[:, :, 0]
        if self.norm == "LN2":
            padded = F.layer_norm(padded.transpose(1, 2), (padded.shape[1], padded.shape[3])).transpose(1, 2)
        elif self.norms:
            flat = padded.flatten(0, 1)
            mixed = torch.stack([norm(flat[:, index]) for index, norm in enumerate(self.norms)], dim=1)
            padded = mixed.reshape(padded.shape)
        return padded.mean(dim=2)


_CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"GRU": nn.GRU, "LSTM": nn.LSTM}


class Recurrent(nn.Module):
    """A bidirectional two-layer GRU or LSTM over ragged sequences: [U, d] -> [U, d].

    Padding is never read, so the result of a sequence does not depend on the other sequences.
    """

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__()
        width = config.hidden_dim
        self.rnn = _CELLS[config.base_model](
            width, width // 2, num_layers=2, bidirectional=True, dropout=config.dropout
        )

    def forward(self, rows: Tensor, packing: Packing) -> Tensor:
        states: Tensor = packing.unpack(self.rnn(packing.pack(rows))[0])
        return states

    def over_padding(self, padded: Tensor, packing: Packing) -> Tensor:
        """As in the official code, which reads padded frames, too: [sequence, frame, d] -> [U, d]"""
        states: Tensor = self.rnn(padded.transpose(0, 1))[0][packing.position, packing.sequence]
        return states


def run_side_by_side(
    networks: Sequence[Recurrent], rows: Sequence[Tensor], packings: Sequence[Packing]
) -> list[Tensor]:
    """The states of each network on its own rows. Shapes: each [U, d] -> each [U, d]

    In full precision, because a recurrence accumulates rounding errors. GRUs on the CPU take their time
    steps together; on a GPU cuDNN's own loop is faster.
    """
    if not networks:
        return []
    with torch.autocast(rows[0].device.type, enabled=False):
        inputs = [full_precision(part) for part in rows]
        grus = [network.rnn for network in networks if isinstance(network.rnn, nn.GRU)]
        if len(grus) == len(networks) and inputs[0].device.type == "cpu":
            return bidirectional(grus, inputs, packings)
        return [network(*own) for network, *own in zip(networks, inputs, packings, strict=True)]


class ModalityEncoder(nn.Module):
    """The encoder of one modality.

    u = Linear(x); e = context network of u over the dialogue (text; others with `av_using_lstm`) or
    u; p = speaker network of u over each speaker's own turns; out = sigmoid(W1 e) e + sigmoid(W2 p) p.
    """

    def __init__(self, config: RIGSLConfig, width: int, *, context: bool) -> None:
        super().__init__()
        d = config.hidden_dim
        self.linear = Linear(width, d)
        self.context = Recurrent(config) if context else None
        self.gate_context = Linear(d, d)
        self.speaker = Recurrent(config) if config.use_speaker else None
        self.gate_speaker = Linear(d, d) if config.use_speaker else None
        for layer in (self.linear, self.gate_context, self.gate_speaker):
            if layer is not None:
                nn.init.xavier_uniform_(layer.weight)

    def over_padding(self, padded: Tensor, batch: Batch) -> Tensor:
        """As in the official code: [B, T, width] with its padded frames -> [U, d]."""
        frames = self.linear(padded)  # [B, T, d], in padded frames the bias
        u = frames[batch.dialogues.sequence, batch.dialogues.position]
        e = u if self.context is None else self.context.over_padding(frames, batch.dialogues)
        if self.speaker is None or self.gate_speaker is None:
            return gated([self.gate_context], [e])[0]
        turns = u.new_zeros(int(batch.speakers.sequence.max()) + 1, batch.longest, u.shape[1])
        turns = turns.index_put((batch.speakers.sequence, batch.speakers.position), u)
        p = self.speaker.over_padding(turns, batch.speakers)
        return gated([self.gate_context, self.gate_speaker], [e, p]).sum(dim=0)


class Encoder(nn.Module):
    """Node features of all modalities, modality after modality: batch -> [modalities * U, d]."""

    def __init__(self, config: RIGSLConfig, schema: Schema) -> None:
        super().__init__()
        self.quirks = config.official_quirks
        self.mix = TextMix(config, schema) if TEXT in config.modalities else None
        self.keys = config.modalities
        self.modality = nn.ModuleDict(
            {
                module_name(key): ModalityEncoder(
                    config, schema.widths[key], context=key == TEXT or config.av_using_lstm
                )
                for key in config.modalities
            }
        )

    def forward(self, batch: Batch) -> Tensor:
        encoders = {key: self._modality(key) for key in self.keys}
        if self.quirks:
            return torch.cat(
                [encoder.over_padding(self._padded(key, batch), batch) for key, encoder in encoders.items()]
            )
        inputs = [encoder.linear(self._rows(key, batch)) for key, encoder in encoders.items()]
        networks = [encoder.context for encoder in encoders.values()]
        networks += [encoder.speaker for encoder in encoders.values()]
        packings = [batch.dialogues] * len(inputs) + [batch.speakers] * len(inputs)
        states = _run_present(networks, [*inputs, *inputs], packings)
        parts = [u if e is None else e for u, e in zip(inputs, states, strict=False)]
        parts += [p for p in states[len(inputs) :] if p is not None]
        gates = [encoder.gate_context for encoder in encoders.values()]
        gates += [gate for encoder in encoders.values() if (gate := encoder.gate_speaker) is not None]
        # [contexts and, with speakers, turns; nodes of all modalities; d]
        own = gated(gates, parts)
        return own.view(-1, len(inputs) * own.shape[1], own.shape[2]).sum(dim=0)

    def _modality(self, key: str) -> ModalityEncoder:
        encoder = self.modality[module_name(key)]
        assert isinstance(encoder, ModalityEncoder)
        return encoder

    def _rows(self, key: str, batch: Batch) -> Tensor:
        rows = batch.features[key]
        if key == TEXT and self.mix is not None:
            rows = self.mix(rows, batch)
        return rows

    def _padded(self, key: str, batch: Batch) -> Tensor:
        if key == TEXT and self.mix is not None:
            return self.mix.over_padding(batch.features[key], batch)
        return batch.pad(batch.features[key])[:, 0]


def _run_present(
    networks: Sequence[Recurrent | None], inputs: Sequence[Tensor], packings: Sequence[Packing]
) -> list[Tensor | None]:
    """The states of the networks, None where a modality has no network."""
    triples = zip(networks, inputs, packings, strict=True)
    present = [(network, rows, packing) for network, rows, packing in triples if network is not None]
    states = iter(run_side_by_side(*zip(*present, strict=True)) if present else ())
    return [None if network is None else next(states) for network in networks]
