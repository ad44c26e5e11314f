"""Operators of a step of K trainings together: ``python -m benchmarks.gpu.batched.operators``.

An operator is about one kernel of a GPU. From its bytes and multiplications follows how long an H100 needs
for it at least: an estimate, made without a GPU (docs/design-batched-trainings.md). The CPU's own time is
that of launching operators where the tensors are tiny.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.corpora import meld_dialogues, open_meld, synthetic_corpus
from benchmarks.gpu.batched.group import Group
from benchmarks.gpu.speed import SPACE
from benchmarks.markdown import markdown
from rigsl.config import RIGSLConfig
from rigsl.data.batches import shuffled_batches
from rigsl.data.corpus import Corpus
from rigsl.model import linear
from rigsl.official.presets import preset
from rigsl.training.trainer import Training
from search.space.space import read_space

#: Not marked as views, and yet without a kernel.
VIEWS = frozenset({"_unsafe_view", "_reshape_alias", "lift_fresh", "detach"})
PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm", "baddbmm_"})
#: Two thirds of the peaks of an H100 (SXM), 3.35 TB/s and 67 TFLOP/s in float32; and the shortest kernel.
BYTES_PER_SECOND, FLOPS_PER_SECOND, LEAST_SECONDS = 2.2e12, 4.5e13, 2.5e-6


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operators that compute, neither views nor allocations, and estimates their time on an H100."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count, self.seconds = 0, 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not (func.is_view or name in VIEWS or "empty" in name):
            moved = sum(map(_bytes, tree_leaves((args, kwargs, args if result is None else result))))
            flops = 0.0
            if name in PRODUCTS:
                left, right = [x for x in args if isinstance(x, Tensor)][-2:]
                flops = 2.0 * left.numel() * right.shape[-1]
            self.count += 1
            self.seconds += max(moved / BYTES_PER_SECOND, flops / FLOPS_PER_SECOND, LEAST_SECONDS)
        return result


def _bytes(x: Any) -> int:
    """Of a tensor in memory, without what is only repeated."""
    if not isinstance(x, Tensor):
        return 0
    sizes = (size for size, stride in zip(x.shape, x.stride(), strict=True) if stride)
    return math.prod(sizes) * x.element_size()


def counted(run: Callable[[], object]) -> Operators:
    """The operators that `run` calls, each product as PyTorch's own."""
    operators = Operators()
    with patch.object(linear, "_by_onednn", lambda *_: False), operators:
        run()
    return operators


@dataclass(frozen=True)
class Case:
    """A configuration, a corpus for it, and the numbers of trainings."""

    name: str
    config: RIGSLConfig
    corpus: Corpus
    trainings: tuple[int, ...]


def cases() -> Iterator[Case]:
    """Tiny tensors; the first start point of the bundled space; the published configuration."""
    published, space = preset("official/meld").config, read_space(SPACE)
    tiny = published.replace(hidden_dim=8, nb_features_dim=4, nodeformer_heads=1, batch_size=2)
    yield Case(
        "tiny", tiny, synthetic_corpus([6, 4, 5], {"l": 8, "a": 4, "v": 4}, validation=1), (1, 4, 8, 16, 32)
    )
    yield Case("bundled", space.config(space.starts[0], seed=0), open_meld(), (1, 4, 8, 16, 32))
    yield Case("published", published, meld_dialogues(8 * published.batch_size + 1, validation=1), (1, 4))


def rows(case: Case) -> Iterator[list[str]]:
    """A training that is alone, then groups, on the batch nearest to the mean number of utterances."""
    alone = Training(case.config, case.corpus)
    alone.model.train()
    batch = _typical(case)
    yield _row(case.name, "alone", lambda: alone.train_on(batch, 0.1))
    for count in case.trainings:
        group = Group([Training(case.config.replace(seed=seed), case.corpus) for seed in range(count)])
        group.start_epoch(0)
        yield _row(case.name, str(count), partial(group.step, batch, [0.1] * count))


def _typical(case: Case) -> NDArray[np.int64]:
    lengths, order = case.corpus.lengths, torch.Generator().manual_seed(0)
    batches = list(shuffled_batches(lengths, case.corpus.dialogues("train"), case.config.batch_size, order))
    sizes = [int(lengths[batch].sum()) for batch in batches]
    return batches[int(np.argmin(np.abs(np.array(sizes) - np.mean(sizes))))]


def _row(name: str, trainings: str, step: Callable[[], object]) -> list[str]:
    step()  # the optimiser's state is made
    operators = counted(step)
    seconds = []
    for _ in range(40 if name == "tiny" else 2):
        start = time.process_time()
        step()
        seconds.append(time.process_time() - start)
    return [
        name,
        trainings,
        f"{operators.count:,}",
        f"{1e3 * operators.seconds:.1f}",
        f"{1e3 * min(seconds):.1f}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Operators of a step of several trainings together.")
    parser.add_argument("--only", choices=["tiny", "bundled", "published"], help="one of the configurations")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    found = [row for case in cases() if only in (None, case.name) for row in rows(case)]
    print(markdown(("", "trainings", "operators", "H100 at least, ms", "CPU, ms"), found))


if __name__ == "__main__":
    main()
