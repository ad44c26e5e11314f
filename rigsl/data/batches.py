"""From dialogues of a corpus to the tensors of one batch, without padding what need not be padded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rigsl.data.corpus import Corpus
from rigsl.data.gather import Places
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
    lengths: utterances of each dialogue;
    dialogues, speakers: the packings of whole dialogues and of each speaker's turns in them.
    """

    features: dict[str, Tensor]
    label: Tensor
    speaker: Tensor
    lengths: tuple[int, ...]
    dialogues: Packing
    speakers: Packing
    rows: Indices
    _known: dict[tuple[int, int], Places] = field(default_factory=dict, repr=False)

    @property
    def longest(self) -> int:
        """T, the utterances of the longest dialogue."""
        return max(self.lengths)

    def pad(self, rows: Tensor, groups: int = 1) -> Tensor:
        """[groups * U, ...] -> [B, groups, T, ...], zero where a dialogue has ended; groups: modalities."""
        padded = self._places(groups, 1).spread(rows)
        return padded.reshape(len(self.lengths), groups, self.longest, *rows.shape[1:])

    def unpad(self, padded: Tensor) -> Tensor:
        """[B, groups, T, ...] -> [groups * U, ...], the inverse of `pad`."""
        return self._places(padded.shape[1], 1).collect(padded.flatten(0, 2))

    def pad_heads(self, rows: Tensor, groups: int) -> Tensor:
        """[groups * U, heads, d] -> [B, heads, groups * T, d], as `pad`, with the heads in front."""
        heads = rows.shape[1]
        padded = self._places(groups, heads).spread(rows.flatten(0, 1))
        return padded.reshape(len(self.lengths), heads, groups * self.longest, -1)

    def unpad_heads(self, padded: Tensor, groups: int) -> Tensor:
        """[B, heads, groups * T, d] -> [groups * U, heads, d], the inverse of `pad_heads`."""
        heads = padded.shape[1]
        rows = self._places(groups, heads).collect(padded.flatten(0, 2))
        return rows.reshape(-1, heads, rows.shape[-1])

    def _places(self, groups: int, heads: int) -> Places:
        """Row (group, utterance, head) and place (dialogue, head, group, time) of each other."""
        if (groups, heads) not in self._known:
            self._known[groups, heads] = self._find_places(groups, heads)
        return self._known[groups, heads]

    def _find_places(self, groups: int, heads: int) -> Places:
        size, longest, lengths = len(self.lengths), self.longest, np.array(self.lengths)
        real = np.arange(longest) < lengths[:, None]  # [B, T]
        utterance = np.cumsum(real.ravel()).reshape(size, 1, 1, longest) - 1
        group, head = np.arange(groups)[:, None], np.arange(heads)[:, None, None]
        row = (group * lengths.sum() + utterance) * heads + head  # [B, heads, groups, T]
        row[np.broadcast_to(~real[:, None, None], row.shape)] = -1
        row = row.ravel()
        taken = np.flatnonzero(row >= 0)
        place = np.empty_like(taken)
        place[row[taken]] = taken
        found = (np.maximum(row, 0), place, np.flatnonzero(row < 0))
        return Places(*(torch.from_numpy(part).to(self.label.device, non_blocking=True) for part in found))


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
