"""From dialogues of a corpus to the tensors of one batch, without padding what need not be padded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rigsl.data.corpus import Corpus
from rigsl.errors import UserError

Indices = NDArray[np.int64]

#: Batches whose dialogues are sorted by length among themselves before they are cut and shuffled.
BUCKET_BATCHES = 8


@dataclass(frozen=True)
class Packing:
    """Sequences of utterances in the order that a packed recurrent network reads them.

    order: [U] utterance at each packed place; place: [U] packed place of each utterance;
    backwards: [U] packed place of the same step of the reversed sequence (its own inverse);
    sizes: [longest] sequences still running at each step (on the CPU, as PyTorch wants it);
    sequence, position: [U] sequence and step of each utterance (for networks over padding).
    """

    order: Tensor
    place: Tensor
    backwards: Tensor
    sizes: Tensor
    sequence: Tensor
    position: Tensor

    def pack(self, rows: Tensor) -> PackedSequence:
        """[U, d] -> the packed sequences."""
        return PackedSequence(rows[self.order], self.sizes)

    def unpack(self, packed: PackedSequence) -> Tensor:
        """The packed sequences -> [U, d]."""
        return packed.data[self.place]


@dataclass(frozen=True)
class Batch:
    """B dialogues with U utterances together, the longest with T.

    features: modality -> [U, width] ("l": [U, views, width]); label, speaker: [U];
    lengths: utterances of each dialogue; slot: [U] place b * T + t of each utterance in [B, T];
    dialogues, speakers: the packings of whole dialogues and of each speaker's turns in them.
    """

    features: dict[str, Tensor]
    label: Tensor
    speaker: Tensor
    lengths: tuple[int, ...]
    slot: Tensor
    dialogues: Packing
    speakers: Packing
    rows: Indices

    @property
    def longest(self) -> int:
        """T, the utterances of the longest dialogue."""
        return max(self.lengths)

    def pad(self, rows: Tensor, groups: int = 1) -> Tensor:
        """[groups * U, ...] -> [B, groups, T, ...], zero where a dialogue has ended; groups: modalities."""
        size = len(self.lengths) * self.longest
        parts = rows.reshape(groups, -1, *rows.shape[1:])
        padded = rows.new_zeros(groups, size, *rows.shape[1:]).index_copy(1, self.slot, parts)
        return padded.reshape(groups, len(self.lengths), self.longest, *rows.shape[1:]).transpose(0, 1)

    def unpad(self, padded: Tensor) -> Tensor:
        """[B, groups, T, ...] -> [groups * U, ...], the inverse of `pad`."""
        groups, rest = padded.shape[1], padded.shape[3:]
        flat = padded.transpose(0, 1).reshape(groups, -1, *rest)
        return flat.index_select(1, self.slot).reshape(-1, *rest)


class BatchSource:
    """Cuts batches of chosen modalities out of a corpus.

    On the CPU the rows of a batch are gathered from the corpus where it lies (it may be shared
    by many workers and is never written); on a GPU the features move there once.

    Raises:
        UserError: a modality that the corpus does not have.
    """

    def __init__(self, corpus: Corpus, modals: str, device: str = "cpu") -> None:
        missing = [letter for letter in modals if letter not in corpus.features]
        if missing:
            raise UserError(
                f"modals = '{modals}': the corpus {corpus.name} has no modality '{missing[0]}', "
                f"only '{''.join(corpus.features)}'"
            )
        self.corpus, self.device = corpus, torch.device(device)
        self._features = {letter: corpus.features[letter] for letter in modals}
        self._resident: dict[str, Tensor] = {}
        if self.device.type != "cpu":
            for letter, values in self._features.items():
                self._resident[letter] = torch.from_numpy(np.array(values)).to(self.device)

    def batch(self, dialogues: Indices) -> Batch:
        """The dialogues with these indices as one batch, in this order."""
        offsets = self.corpus.offsets
        lengths = offsets[dialogues + 1] - offsets[dialogues]
        rows = self.corpus.rows(dialogues)
        sequence = np.repeat(np.arange(len(dialogues)), lengths)
        position = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        speaker = self.corpus.speakers[rows]
        return Batch(
            features={letter: self._gather(letter, rows) for letter in self._features},
            label=self._tensor(self.corpus.labels[rows]),
            speaker=self._tensor(speaker),
            lengths=tuple(int(length) for length in lengths),
            slot=self._tensor(sequence * int(lengths.max()) + position),
            dialogues=self._packing(sequence, position),
            speakers=self._packing(*_turns(sequence, speaker)),
            rows=rows,
        )

    def _gather(self, letter: str, rows: Indices) -> Tensor:
        if letter in self._resident:
            return self._resident[letter][torch.from_numpy(rows).to(self.device)].float()
        return torch.from_numpy(np.take(self._features[letter], rows, axis=0).astype(np.float32, copy=False))

    def _tensor(self, values: Indices) -> Tensor:
        return torch.from_numpy(np.array(values)).to(self.device, non_blocking=True)

    def _packing(self, sequence: Indices, position: Indices) -> Packing:
        """How sequences given by (sequence, position) of each utterance are packed: longest first."""
        counts = np.bincount(sequence)
        rank = np.empty(len(counts), dtype=np.int64)
        rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
        order = np.lexsort((rank[sequence], position))
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        reversed_order = np.lexsort((rank[sequence], counts[sequence] - 1 - position))
        return Packing(
            order=self._tensor(order),
            place=self._tensor(place),
            backwards=self._tensor(place[reversed_order]),
            sizes=torch.from_numpy(np.bincount(position)),
            sequence=self._tensor(sequence),
            position=self._tensor(position),
        )


def _turns(dialogue: Indices, speaker: Indices) -> tuple[Indices, Indices]:
    """(sequence, position) of each utterance when every speaker of every dialogue is a sequence."""
    _, sequence = np.unique(np.stack([dialogue, speaker]), axis=1, return_inverse=True)
    sequence = sequence.reshape(-1)
    order = np.argsort(sequence, kind="stable")
    counts = np.bincount(sequence)
    position = np.empty_like(sequence)
    position[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return sequence, position


def shuffled_batches(
    lengths: Indices, dialogues: Indices, batch_size: int, generator: torch.Generator
) -> Iterator[Indices]:
    """Every dialogue once, in random batches of dialogues of similar length.

    Dialogues are shuffled, sorted by length among `BUCKET_BATCHES` batches' worth of neighbours,
    cut into batches, and the batches shuffled: little padding, and another composition each time.
    """
    shuffled = dialogues[torch.randperm(len(dialogues), generator=generator).numpy()]
    width = batch_size * BUCKET_BATCHES
    batches: list[Indices] = []
    for start in range(0, len(shuffled), width):
        bucket = shuffled[start : start + width]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        batches += [bucket[at : at + batch_size] for at in range(0, len(bucket), batch_size)]
    for index in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[index]
