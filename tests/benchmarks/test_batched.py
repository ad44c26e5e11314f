"""Trainings that are stepped together have the numbers of trainings that are alone, with fewer operators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.gpu.batched.group import Group
from benchmarks.gpu.batched.operators import counted
from rigsl.config import RIGSLConfig
from rigsl.data.batches import BatchSource
from rigsl.data.corpus import Corpus
from rigsl.training.losses import link_factor
from rigsl.training.trainer import Training, _seeded
from tests.helpers.corpora import toy_corpus

BASE = RIGSLConfig(
    modals="ld",
    hidden_dim=12,
    num_L=2,
    num_K=2,
    nodeformer_heads=2,
    nb_features_dim=8,
    gumbel_k=3,
    dropout=0.4,
)
CONFIGS = [
    BASE.replace(seed=1, lr=1e-3),
    BASE.replace(seed=2, lr=3e-3, tau=0.7, dropout=0.0, nodeformer_dropout=0.1, focal_gamma=1.5),
    BASE.replace(
        seed=3, temperature=0.7, anneal_to=0.5, penalty_weight_coff=0.1, link_loss_coff=0.5, l2=1e-2, ema=0.9,
        denoise_dropout=0.1, class_weight="sqrt",
    ),
]  # fmt: skip
EPOCH = 1
#: Rows of the corpus's training dialogues: three steps.
BATCHES = ((0, 1, 2, 5), (6, 7, 10, 11), (12, 15, 16, 17))


class WideSource(BatchSource):
    """Batches whose features have 64 bits."""

    def _gather(self, key: str, rows: NDArray[np.int64], at: Tensor) -> Tensor:
        return super()._gather(key, rows, at).double()


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return toy_corpus()


def made(config: RIGSLConfig, corpus: Corpus, dtype: torch.dtype) -> Training:
    training = Training(config, corpus)
    if dtype == torch.float64:
        training.model.double()
        training._weights = training._weights.double()
        training._source = WideSource(corpus, config.modals)
        if training._average is not None:
            training._average.model.double()
    return training


def alone(training: Training) -> Tensor:
    """Losses of the three steps. [3, 7]"""
    training.model.train().start_epoch(EPOCH)
    factor = link_factor(training.config, EPOCH)
    with _seeded(training.config.seed, EPOCH + 1, "cpu"):
        return torch.stack([training.train_on(np.array(batch), factor) for batch in BATCHES])


def together(group: Group) -> Tensor:
    """Losses of the three steps of each training. [K, 3, 7]"""
    group.start_epoch(EPOCH)
    return torch.stack([group.step(np.array(batch), factors(group.trainings)) for batch in BATCHES], dim=1)


def factors(trainings: Sequence[Training]) -> list[float]:
    return [link_factor(training.config, EPOCH) for training in trainings]


def check_equal(changes: dict[str, object], corpus: Corpus, dtype: torch.dtype, tolerance: float) -> None:
    configs = [config.replace(**changes) for config in CONFIGS]
    solo = [made(config, corpus, dtype) for config in configs]
    group = Group([made(config, corpus, dtype) for config in configs])
    expected = torch.stack([alone(training) for training in solo])
    torch.testing.assert_close(together(group), expected, rtol=tolerance, atol=tolerance)
    for mine, theirs in zip(group.trainings, solo, strict=True):
        evaluated = theirs._evaluated_model().state_dict()  # with averaged weights, if it has them
        for name, value in mine._evaluated_model().state_dict().items():
            torch.testing.assert_close(value, evaluated[name], rtol=tolerance, atol=tolerance)
        for name, parameter in theirs.model.named_parameters():
            found = mine.model.get_parameter(name)
            torch.testing.assert_close(found, parameter, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "M3Net"},
        {"backbone": "GCN", "norm": "LN2", "use_jk_nodeformer": True, "use_residue": True},
        {"backbone": "GAT", "use_igr": False, "av_using_lstm": True},
        {"base_model": "LSTM", "norm": "BN"},
        {"use_cgs": False, "use_gumbel": False, "focal_gamma": 0.0},
    ],
    ids=lambda changes: ", ".join(str(value) for value in changes.values()),
)
def test_losses_and_weights_are_those_of_trainings_alone(changes: dict[str, object], corpus: Corpus) -> None:
    check_equal(changes, corpus, torch.float64, 1e-9)


def test_they_are_in_float32_up_to_rounding(corpus: Corpus) -> None:
    check_equal({}, corpus, torch.float32, 2e-5)
    check_equal({"backbone": "GCN", "sparsifier": "sparsemax"}, corpus, torch.float32, 2e-5)


def test_a_training_that_diverges_leaves_the_others_alone(corpus: Corpus) -> None:
    solo = [made(config, corpus, torch.float64) for config in CONFIGS]
    group = Group([made(config, corpus, torch.float64) for config in CONFIGS])
    with torch.no_grad():
        group.trainings[1].model.classifier.weight.fill_(torch.inf)
    losses = together(group)
    assert losses[1].isnan().any()
    for index in (0, 2):
        torch.testing.assert_close(losses[index], alone(solo[index]), rtol=1e-9, atol=1e-9)


def test_a_training_leaves_the_group_and_goes_on_alone(corpus: Corpus) -> None:
    trainings = [made(config, corpus, torch.float64) for config in CONFIGS]
    together(Group(trainings))
    solo = made(CONFIGS[0], corpus, torch.float64)
    alone(solo)
    torch.testing.assert_close(alone(trainings[0]), alone(solo), rtol=1e-9, atol=1e-9)


def test_a_step_together_calls_fewer_operators(corpus: Corpus) -> None:
    batch = np.array(BATCHES[0])
    solo = made(CONFIGS[0], corpus, torch.float32)
    alone(solo)  # the optimiser has its state then
    one = counted(lambda: solo.train_on(batch, 0.1)).count
    few, many = (operators_of_group(size, batch, corpus) for size in (4, 8))
    assert few < 4 * one / 2
    assert many - few < 4 * one / 20  # what each further training adds: its noise and its optimiser


def operators_of_group(size: int, batch: NDArray[np.int64], corpus: Corpus) -> int:
    group = Group([made(CONFIGS[0].replace(seed=seed), corpus, torch.float32) for seed in range(size)])
    together(group)
    return counted(lambda: group.step(batch, [0.1] * size)).count


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hidden_dim": 16, "gumbel_k": 2}, "gumbel_k, hidden_dim"),
        ({"focal_gamma": 0.0}, "focal_gamma"),
    ],
)
def test_trainings_of_other_shapes_are_refused(
    changes: dict[str, object], named: str, corpus: Corpus
) -> None:
    with pytest.raises(ValueError, match=named):
        Group([Training(BASE, corpus), Training(BASE.replace(**changes), corpus)])


def test_what_the_prototype_lacks_is_refused(corpus: Corpus) -> None:
    quirks = BASE.replace(official_quirks=True)
    with pytest.raises(ValueError, match="official_quirks"):
        Group([Training(quirks, corpus)] * 2)
    with pytest.raises(ValueError, match="the same dialogues"):
        Group([Training(BASE, corpus), Training(BASE, toy_corpus(seed=1))])
