"""What equal shapes cost in padding, on MELD's dialogues: ``python -m benchmarks.gpu.batched.padding``.

CUDA graphs need few shapes, so that batches are padded to some of them; trainings with different seeds that
are stepped together need one shape a step, so that their batches are padded to the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from benchmarks.markdown import markdown
from rigsl.data.batches import shuffled_batches
from rigsl.data.corpus import Corpus
from rigsl.data.source import load_corpus

BATCH_SIZE, EPOCHS, SEEDS = 16, 40, (4, 8, 16)


@dataclass(frozen=True, order=True)
class Shape:
    """Utterances of the longest dialogue of a batch, and of all its dialogues."""

    longest: int
    utterances: int


Padding = Callable[[Shape], Shape]


def up(number: int, multiple: int) -> int:
    """The next multiple."""
    return -(-number // multiple) * multiple


def paddings(longest: int) -> dict[str, Padding]:
    """Name -> the shape that a shape is padded to."""

    def multiples(of_longest: int, of_utterances: int) -> Padding:
        return lambda shape: Shape(up(shape.longest, of_longest), up(shape.utterances, of_utterances))

    def slots(padded: Callable[[int], int]) -> Padding:
        return lambda shape: Shape(padded(shape.longest), BATCH_SIZE * padded(shape.longest))

    return {
        "none": lambda shape: shape,
        "longest to multiples of 4, utterances of 32": multiples(4, 32),
        "longest to multiples of 8, utterances of 64": multiples(8, 64),
        "longest to multiples of 4, all slots": slots(lambda number: up(number, 4)),
        "longest to powers of 2, all slots": slots(lambda number: max(4, 1 << (number - 1).bit_length())),
        "one shape": slots(lambda _: longest),
    }


def epoch(corpus: Corpus, seed: int) -> list[Shape]:
    """The shapes of an epoch's batches."""
    order = torch.Generator().manual_seed(seed)
    batches = shuffled_batches(corpus.lengths, corpus.dialogues("train"), BATCH_SIZE, order)
    lengths = [corpus.lengths[batch] for batch in batches]
    return [Shape(int(each.max()), int(each.sum())) for each in lengths]


def work(before: list[Shape], after: list[Shape]) -> list[str]:
    """How many times as many rows of utterances, and slots for pairs of them, as before."""
    rows = sum(shape.utterances for shape in after) / sum(shape.utterances for shape in before)
    pairs = sum(shape.longest**2 for shape in after) / sum(shape.longest**2 for shape in before)
    return [f"{rows:.2f}", f"{pairs:.2f}"]


def in_buckets(corpus: Corpus) -> Iterator[list[str]]:
    """A row for each padding."""
    shapes = [shape for seed in range(EPOCHS) for shape in epoch(corpus, seed)]
    for name, padding in paddings(int(corpus.lengths[corpus.dialogues("train")].max())).items():
        padded = [padding(shape) for shape in shapes]
        yield [name, str(len(set(padded))), *work(shapes, padded)]


def of_seeds(corpus: Corpus) -> Iterator[list[str]]:
    """A row for each number of seeds whose batches are padded to the largest one of each step."""
    for name, arranged in (("as drawn", list[Shape]), ("by length", sorted)):
        for count in SEEDS:
            before: list[Shape] = []
            after: list[Shape] = []
            for number in range(EPOCHS // 4):
                epochs = [arranged(epoch(corpus, 1_000 * seed + number)) for seed in range(count)]
                for step in zip(*epochs, strict=True):
                    before += step
                    largest = Shape(max(s.longest for s in step), max(s.utterances for s in step))
                    after += [largest] * count
            yield [f"{count} seeds, batches {name}", *work(before, after)]


def main() -> None:
    """Print the tables."""
    corpus = load_corpus("MELD", "open")
    print(markdown(("padding", "shapes", "rows", "pairs"), list(in_buckets(corpus))), "\n")
    print(markdown(("", "rows", "pairs"), list(of_seeds(corpus))))


if __name__ == "__main__":
    main()
