"""Utterance features -> node features: text mix, context network, speaker network (design section 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch, Packing
from rigsl.data.corpus import Schema
from rigsl.model.precision import full


class TextMix(nn.Module):
    """The text vectors of an utterance, normalised and averaged into one.

    `norm` (official ``model.py``, ``norm_strategy``): None -> the corpus's own way (first vector or
    mean); mean; LN / BN -> one LayerNorm / BatchNorm1d a vector, then mean; LN2 -> parameter-free
    LayerNorm over a dialogue's (utterance, feature) plane, then mean.

    Shapes: [U, views, width] -> [U, width]
    """

    def __init__(self, config: RIGSLConfig, schema: Schema) -> None:
        super().__init__()
        self.norm, self.first = config.norm, schema.text_default == "first"
        kinds = {"LN": nn.LayerNorm, "BN": nn.BatchNorm1d}
        count = schema.text_views if config.norm in kinds else 0
        self.norms = nn.ModuleList(kinds[config.norm](schema.widths["l"]) for _ in range(count))

    def forward(self, views: Tensor, batch: Batch) -> Tensor:
        if self.norm == "None" and self.first:
            return views[:, 0]
        if self.norm == "LN2":
            views = self._plane_norm(views, batch)
        elif self.norms:
            views = torch.stack([norm(views[:, index]) for index, norm in enumerate(self.norms)], dim=1)
        return views.mean(dim=1)

    @staticmethod
    def _plane_norm(views: Tensor, batch: Batch) -> Tensor:
        """Zero mean and unit variance over each dialogue's own utterances and features, per vector."""
        sizes = torch.tensor(batch.lengths, device=views.device, dtype=views.dtype)[:, None]
        mean = batch.pad(views.mean(dim=-1))[:, 0].sum(dim=1) / sizes  # [B, views]
        centred = views - mean[batch.dialogues.sequence][..., None]
        variance = batch.pad(centred.square().mean(dim=-1))[:, 0].sum(dim=1) / sizes
        return centred * (variance + 1e-5).rsqrt()[batch.dialogues.sequence][..., None]

    def over_padding(self, views: Tensor, batch: Batch) -> Tensor:
        """As the official code mixes: padded frames are normalised too. -> [B, T, width]"""
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


class Recurrent(nn.Module):
    """A bidirectional two-layer GRU or LSTM over ragged sequences: [U, d] -> [U, d].

    No frame of padding is read, so a sequence's result does not depend on the others.
    """

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__()
        kind = nn.GRU if config.base_model == "GRU" else nn.LSTM
        width = config.hidden_dim
        self.rnn = kind(width, width // 2, num_layers=2, bidirectional=True, dropout=config.dropout)

    def forward(self, rows: Tensor, packing: Packing) -> Tensor:
        with torch.autocast(rows.device.type, enabled=False):  # recurrences add up their rounding errors
            packed: Tensor = packing.unpack(self.rnn(packing.pack(full(rows)))[0])
        return packed

    def over_padding(self, padded: Tensor, packing: Packing) -> Tensor:
        """As the official code reads: every frame of [sequence, frame, d], padding included. -> [U, d]"""
        read: Tensor = self.rnn(padded.transpose(0, 1))[0][packing.position, packing.sequence]
        return read


class ModalityEncoder(nn.Module):
    """One modality's features -> node features: gated sum of context and speaker networks.

    u = Linear(x); e = Recurrent(u) over the dialogue (text; others with `av_using_lstm`) or u;
    p = Recurrent(u) over each speaker's own turns; out = sigmoid(W1 e) e + sigmoid(W2 p) p.

    Shapes: [U, width] -> [U, d]
    """

    def __init__(self, config: RIGSLConfig, width: int, *, context: bool) -> None:
        super().__init__()
        d = config.hidden_dim
        self.linear = nn.Linear(width, d)
        self.context = Recurrent(config) if context else None
        self.gate_context = nn.Linear(d, d)
        self.speaker = Recurrent(config) if config.use_speaker else None
        self.gate_speaker = nn.Linear(d, d) if config.use_speaker else None
        for layer in (self.linear, self.gate_context, self.gate_speaker):
            if layer is not None:
                nn.init.xavier_uniform_(layer.weight)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        u = self.linear(rows)
        e = u if self.context is None else self.context(u, batch.dialogues)
        p = None if self.speaker is None else self.speaker(u, batch.speakers)
        return self._gated(e, p)

    def over_padding(self, padded: Tensor, batch: Batch) -> Tensor:
        """The official reading: [B, T, width] with its padded frames -> [U, d]."""
        frames = self.linear(padded)  # [B, T, d], the bias in padded frames
        u = frames[batch.dialogues.sequence, batch.dialogues.position]
        e = u if self.context is None else self.context.over_padding(frames, batch.dialogues)
        if self.speaker is None:
            return self._gated(e, None)
        turns = u.new_zeros(int(batch.speakers.sequence.max()) + 1, batch.longest, u.shape[1])
        turns = turns.index_put((batch.speakers.sequence, batch.speakers.position), u)
        return self._gated(e, self.speaker.over_padding(turns, batch.speakers))

    def _gated(self, e: Tensor, p: Tensor | None) -> Tensor:
        out: Tensor = torch.sigmoid(self.gate_context(e)) * e
        if p is not None and self.gate_speaker is not None:
            out = out + torch.sigmoid(self.gate_speaker(p)) * p
        return out


class Encoder(nn.Module):
    """All modalities' node features, modality after modality: batch -> [modalities * U, d]."""

    def __init__(self, config: RIGSLConfig, schema: Schema) -> None:
        super().__init__()
        self.quirks = config.official_quirks
        self.mix = TextMix(config, schema) if "l" in config.modals else None
        self.modality = nn.ModuleDict(
            {
                letter: ModalityEncoder(
                    config, schema.widths[letter], context=letter == "l" or config.av_using_lstm
                )
                for letter in config.modals
            }
        )

    def forward(self, batch: Batch) -> Tensor:
        return torch.cat([self._encode(letter, batch) for letter in self.modality])

    def _encode(self, letter: str, batch: Batch) -> Tensor:
        encoder, rows = self.modality[letter], batch.features[letter]
        assert isinstance(encoder, ModalityEncoder)
        if self.quirks:
            mixed = self.mix is not None and letter == "l"
            padded = self.mix.over_padding(rows, batch) if mixed and self.mix else batch.pad(rows)[:, 0]
            return encoder.over_padding(padded, batch)
        if letter == "l" and self.mix is not None:
            rows = self.mix(rows, batch)
        encoded: Tensor = encoder(rows, batch)
        return encoded
