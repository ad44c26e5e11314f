"""From dialogues of a corpus to the tensors of one batch; utterances stay unpadded rows wherever possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rigsl.data.corpus import Corpus
from rigsl.data.gather import PaddedIndex, permuted
from rigsl.modalities import check_modals, read_modals

Indices = NDArray[np.int64]

#: Batches in a bucket: the dialogues of a bucket are sorted by length before they are cut into batches.
BUCKET_BATCHES = 8


@dataclass(frozen=True)
class Packing:
    """Sequences of utterances in the order in which a packed recurrent network reads them.

    order: [U] the utterance at each packed position; inverse: [U] the packed position of each utterance;
    sequence, position: [U] sequence and step of each utterance (for networks over padding);
    sizes: [longest] sequences still running at each step (on the CPU, as PyTorch requires).
    """

    order: Tensor
    inverse: Tensor
    sequence: Tensor
    position: Tensor
    sizes: Tensor

    def pack(self, rows: Tensor) -> PackedSequence:
        """[U, d] -> the packed sequences."""
        return PackedSequence(permuted(rows[None], self.order, self.inverse)[0], self.sizes)

    def unpack(self, packed: PackedSequence) -> Tensor:
        """The packed sequences -> [U, d]."""
        return permuted(packed.data[None], self.inverse, self.order)[0]


@dataclass(frozen=True)
class Batch:
    """B dialogues with U utterances in total; the longest dialogue has T.

    features: modality -> [U, width] ("l": [U, views, width]); label, speaker: [U];
    lengths: utterances of each dialogue; sizes: [B] the same on the device;
    rows: [U] the utterances' rows in the corpus; at: [U] the same on the device;
    dialogues, speakers: the packings of whole dialogues and of each speaker's turns in them.
    """

    features: dict[str, Tensor]
    label: Tensor
    speaker: Tensor
    lengths: tuple[int, ...]
    sizes: Tensor
    dialogues: Packing
    speakers: Packing
    rows: Indices
    at: Tensor
    _padded_indices: dict[tuple[int, int], PaddedIndex] = field(default_factory=dict, repr=False)

    @property
    def longest(self) -> int:
        """T, the utterances of the longest dialogue."""
        return max(self.lengths)

    def pad(self, rows: Tensor, groups: int = 1) -> Tensor:
        """[groups * U, ...] -> [B, groups, T, ...], zero after the end of a dialogue; group: modality."""
        padded = self._padded_index(groups, 1).pad(rows)
        return padded.reshape(len(self.lengths), groups, self.longest, *rows.shape[1:])

    def unpad(self, padded: Tensor) -> Tensor:
        """[B, groups, T, ...] -> [groups * U, ...], the inverse of `pad`."""
        return self._padded_index(padded.shape[1], 1).unpad(padded.flatten(0, 2))

    def slots(self, rows: Tensor, groups: int) -> Tensor:
        """`pad` inside of operators that have a written-out gradient."""
        padded = self._padded_index(groups, 1).slots(rows)
        return padded.view(len(self.lengths), groups, self.longest, *rows.shape[1:])

    def from_slots(self, padded: Tensor) -> Tensor:
        """`unpad` inside of such operators."""
        return self._padded_index(padded.shape[1], 1).from_slots(padded.flatten(0, 2))

    def pad_heads(self, rows: Tensor, groups: int) -> Tensor:
        """[groups * U, heads, d] -> [B, heads, groups * T, d], like `pad`, with the heads in front."""
        heads = rows.shape[1]
        padded = self._padded_index(groups, heads).pad(rows.flatten(0, 1))
        return padded.reshape(len(self.lengths), heads, groups * self.longest, -1)

    def unpad_heads(self, padded: Tensor, groups: int) -> Tensor:
        """[B, heads, groups * T, d] -> [groups * U, heads, d], the inverse of `pad_heads`."""
        heads = padded.shape[1]
        rows = self._padded_index(groups, heads).unpad(padded.flatten(0, 2))
        return rows.reshape(-1, heads, rows.shape[-1])

    def _padded_index(self, groups: int, heads: int) -> PaddedIndex:
        """Between rows (group, utterance, head) and slots (dialogue, head, group, time); computed once."""
        if (groups, heads) not in self._padded_indices:
            self._padded_indices[groups, heads] = self._make_padded_index(groups, heads)
        return self._padded_indices[groups, heads]

    def _make_padded_index(self, groups: int, heads: int) -> PaddedIndex:
        size, longest, lengths = len(self.lengths), self.longest, np.array(self.lengths)
        real = np.arange(longest) < lengths[:, None]  # [B, T]
        utterance = np.cumsum(real.ravel()).reshape(size, 1, 1, longest) - 1
        group, head = np.arange(groups)[:, None], np.arange(heads)[:, None, None]
        row = (group * lengths.sum() + utterance) * heads + head  # [B, heads, groups, T]
        row[np.broadcast_to(~real[:, None, None], row.shape)] = -1
        row = row.ravel()
        occupied = np.flatnonzero(row >= 0)
        slot = np.empty_like(occupied)
        slot[row[occupied]] = occupied
        indices = (np.maximum(row, 0), slot, np.flatnonzero(row < 0))
        return PaddedIndex(*on_device(indices, self.label.device))


def on_device(arrays: Sequence[Indices], device: torch.device) -> list[Tensor]:
    """Index arrays as tensors on `device`. A GPU gets them in one copy, which does not wait for the GPU."""
    if device.type == "cpu":
        return [torch.from_numpy(array) for array in arrays]
    together = torch.from_numpy(np.concatenate(arrays)).pin_memory()
    return list(torch.split(together.to(device, non_blocking=True), [len(array) for array in arrays]))


class BatchSource:
    """Cuts batches of chosen modalities out of a corpus.

    On the CPU the rows of a batch are gathered from the corpus in place (it may be shared by many
    workers and is never written); with a GPU the features are copied there once.

    Raises:
        UserError: the corpus does not have one of the modalities.
    """

    def __init__(self, corpus: Corpus, modals: str, device: str = "cpu") -> None:
        check_modals(modals, corpus.features, f"the corpus {corpus.name}")
        self.corpus, self.device = corpus, torch.device(device)
        self._features = {key: corpus.features[key] for key in read_modals(modals)}
        self._resident: dict[str, Tensor] = {}
        if self.device.type != "cpu":
            for key, values in self._features.items():
                self._resident[key] = torch.from_numpy(np.array(values)).to(self.device)

    def batch(self, dialogues: Indices) -> Batch:
        """The dialogues with these indices as one batch, in this order."""
        offsets = self.corpus.offsets
        lengths = offsets[dialogues + 1] - offsets[dialogues]
        rows = self.corpus.rows(dialogues)
        sequence = np.repeat(np.arange(len(dialogues)), lengths)
        position = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        speaker = self.corpus.speakers[rows]
        turns = _turns(sequence, speaker)
        arrays = [
            lengths,
            rows,
            self.corpus.labels[rows],
            speaker,
            *_order(sequence, position),
            *_order(*turns),
        ]
        sizes, at, label, speakers, *orders = on_device(arrays, self.device)
        return Batch(
            features={key: self._gather(key, rows, at) for key in self._features},
            label=label,
            speaker=speakers,
            lengths=tuple(int(length) for length in lengths),
            sizes=sizes,
            dialogues=_packing(orders[:4], position),
            speakers=_packing(orders[4:], turns[1]),
            rows=rows,
            at=at,
        )

    def _gather(self, key: str, rows: Indices, at: Tensor) -> Tensor:
        """The features of these rows of the corpus; `at`: the rows, on the device."""
        if key in self._resident:
            return self._resident[key][at].float()
        return torch.from_numpy(np.take(self._features[key], rows, axis=0).astype(np.float32, copy=False))


def _order(sequence: Indices, position: Indices) -> tuple[Indices, ...]:
    """The indices of a `Packing` of the sequences that (sequence, position) of each utterance describe,
    longest first: order, inverse, sequence, position."""
    counts = np.bincount(sequence)
    rank = np.empty(len(counts), dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    order = np.lexsort((rank[sequence], position))
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return order, inverse, sequence, position


def _packing(orders: Sequence[Tensor], position: Indices) -> Packing:
    """The packing of what `_order` returned, on the device."""
    order, inverse, sequence, step = orders
    return Packing(order, inverse, sequence, step, torch.from_numpy(np.bincount(position)))


def _turns(dialogue: Indices, speaker: Indices) -> tuple[Indices, Indices]:
    """(sequence, position) of each utterance; a sequence is the turns of one speaker of one dialogue."""
    _, sequence = np.unique(dialogue * (speaker.max() + 1) + speaker, return_inverse=True)
    order = np.argsort(sequence, kind="stable")
    counts = np.bincount(sequence)
    position = np.empty_like(sequence)
    position[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return sequence, position


def shuffled_batches(
    lengths: Indices, dialogues: Indices, batch_size: int, generator: torch.Generator
) -> Iterator[Indices]:
    """Every dialogue once, in random batches of dialogues of similar length.

    The dialogues are shuffled and cut into buckets of `BUCKET_BATCHES` batches; each bucket is sorted by
    length and cut into batches; then the batches are shuffled. So there is little padding, and the
    batches are composed differently each time.
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
