"""The memory estimate against allocations that were recorded, and against what must be so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.corpora import synthetic_corpus
from benchmarks.speed.memory import measured_peak
from rigsl.config import RIGSLConfig
from rigsl.data.open.emotions import without_emotions
from rigsl.data.source import load_corpus
from rigsl.errors import UserError
from rigsl.memory import Shapes, estimate_epoch_seconds, estimate_peak_bytes
from rigsl.memory.model import model_stages
from rigsl.memory.stage import Sizes
from rigsl.model.graph import SHORTEST
from rigsl.model.rigsl import RIGSL

FIXTURES = Path(__file__).parents[2] / "fixtures"
WIDTHS = {"l": 48, "a": 20, "v": 12}
BASE = RIGSLConfig(
    hidden_dim=48,
    num_L=2,
    num_K=2,
    nodeformer_heads=3,
    nb_features_dim=16,
    gumbel_k=6,
    batch_size=6,
    backbone="GCN",
)
BACKBONES = ("GCN", "GAT", "M3Net", "MMGCN")
LEVERS = {
    "one modality": {"modals": "a", "av_using_lstm": True},
    "wide": {"hidden_dim": 160},
    "many layers of CGS": {"num_L": 7, "backbone": "M3Net", "use_igr": False},
    "many layers of IGR": {"num_K": 7, "use_cgs": False, "use_jk_nodeformer": True},
    "large batches": {"batch_size": 20, "gumbel_k": 60},
    "single dialogues": {"batch_size": 1, "hidden_dim": 16, "num_L": 1, "num_K": 1, "use_gumbel": False},
    "averaged weights": {"hidden_dim": 128, "batch_size": 4, "ema": 0.9},
    "bfloat16": {"precision": "bf16"},
    "sparsemax": {"sparsifier": "sparsemax", "hidden_dim": 16, "num_L": 5},
    "official quirks": {"official_quirks": True, "norm": "LN"},
    "LSTM": {"base_model": "LSTM", "use_igr": False},
}


def corpus(lengths):
    return synthetic_corpus(lengths, WIDTHS, validation=4, views=2, speakers=3)


@pytest.fixture(scope="module")
def short():
    return corpus(np.random.default_rng(0).integers(1, 12, 16))


@pytest.fixture(scope="module")
def many():
    """Shapes of 128 training dialogues: whole batches of every power of two."""
    return Shapes.of(corpus(np.random.default_rng(0).integers(1, 12, 132)))


@pytest.fixture(scope="module")
def long():
    return corpus([30, 120, 12, 9, 20, 8, 40, 3])


def error(config, corpus):
    return estimate_peak_bytes(config, Shapes.of(corpus)) / measured_peak(config, corpus) - 1


@pytest.mark.parametrize("backbone", BACKBONES)
def test_each_backbone_is_within_a_quarter(backbone, short):
    assert abs(error(BASE.replace(backbone=backbone), short)) < 0.25


@pytest.mark.parametrize("changes", LEVERS.values(), ids=LEVERS)
def test_each_lever_is_within_a_quarter(changes, short):
    assert abs(error(BASE.replace(**changes), short)) < 0.25


@pytest.mark.parametrize("backbone", BACKBONES[:3])
def test_long_dialogues_are_within_a_quarter(backbone, long):
    assert abs(error(BASE.replace(backbone=backbone, hidden_dim=12, batch_size=2), long)) < 0.25


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("changes", [{}, {"use_igr": False}, {"sparsifier": "sparsemax"}], ids=str)
def test_lists_of_edges_are_within_a_quarter(backbone, changes):
    corpus = synthetic_corpus([SHORTEST * 2, 3], WIDTHS, validation=1, speakers=3)
    config = BASE.replace(backbone=backbone, hidden_dim=24, windowp=10, windowf=5, batch_size=1, **changes)
    sizes = Sizes(config, corpus.schema, Shapes.of(corpus).training_batches(1)[-1], cuda=False, training=True)
    assert sizes.sparse
    assert abs(error(config, corpus)) < 0.25


def test_a_long_dialogue_within_windows_takes_as_much_more_as_it_is_longer():
    config = BASE.replace(batch_size=1, windowp=20, windowf=20)
    short, long = (
        estimate_peak_bytes(
            config, Shapes.of(synthetic_corpus([length, 3], {"l": 8, "a": 8, "v": 8}, validation=1))
        )
        for length in (2_000, 20_000)
    )
    assert 8 < long / short < 10


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(
    "name", ["hidden_dim", "batch_size", "num_L", "num_K", "nodeformer_heads", "gumbel_k"]
)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_more_never_takes_less(name, backbone, device, many):
    values = (2, 4, 8, 16, 32, 64)
    peaks = [
        estimate_peak_bytes(BASE.replace(**{name: value, "backbone": backbone}), many, device=device)
        for value in values
    ]
    assert peaks == sorted(peaks)
    assert peaks[-1] > peaks[0] or (name == "num_L" and backbone == "MMGCN")  # which has layers of its own


@pytest.mark.parametrize(
    "changes",
    [
        *({"backbone": backbone} for backbone in BACKBONES),
        {"modals": "lv", "norm": "LN", "use_jk_nodeformer": True, "use_residue": True, "base_model": "LSTM"},
        {"modals": "a", "av_using_lstm": True, "use_speaker": False, "backbone": "M3Net"},
        {"use_cgs": False, "use_residue": True, "norm": "BN"},
        {"use_igr": False, "backbone": "MMGCN", "use_residue": True},
        {"backbone": "M3Net", "official_quirks": True},
        {"backbone": "GAT", "sparsifier": "sparsemax"},
    ],
    ids=str,
)
def test_every_parameter_is_counted(changes, short):
    config = BASE.replace(**changes)
    batch = Shapes.of(short).training_batches(config.batch_size)[0]
    stages = model_stages(Sizes(config, short.schema, batch, cuda=False, training=True))
    counted = sum(stage.weights * stage.layers for stage in stages)
    assert counted == sum(weight.numel() for weight in RIGSL(config, short.schema).parameters())


def test_a_giant_is_known_without_being_built(many):
    giant = BASE.replace(hidden_dim=4096, nodeformer_heads=32, num_K=16)
    assert estimate_peak_bytes(giant, many) > 100e9


def test_a_gpu_holds_the_features_of_dialogues_that_are_not_trained_on():
    lengths = [5] * 20
    few, many = (
        synthetic_corpus(lengths + extra, {"l": 10, "d": 30}, validation=4 + len(extra))
        for extra in ([], [1] * 1000)
    )
    config = BASE.replace(modals="d", hidden_dim=128, batch_size=16)
    cpu, cuda = (
        [estimate_peak_bytes(config, Shapes.of(corpus), device=device) for corpus in (few, many)]
        for device in ("cpu", "cuda")
    )
    assert cpu[1] == cpu[0]
    assert cuda[1] - cuda[0] == 1000 * 30 * 4


def test_a_modality_that_the_corpus_lacks_is_refused(short):
    with pytest.raises(UserError, match="no modality 'd'"):
        estimate_peak_bytes(BASE.replace(modals="ld"), Shapes.of(short))


def test_estimated_seconds_are_measured_ones_up_to_a_factor() -> None:
    """One machine measured an epoch of 174 configurations in a row, on MELD-open 1."""
    table = pd.read_parquet(FIXTURES / "epoch_seconds.parquet")
    shapes = Shapes.of(without_emotions(load_corpus("MELD", "open")))
    configs = [RIGSLConfig(**json.loads(config)) for config in table["config"]]
    measured = np.log(table["seconds"])
    estimated = np.log([estimate_epoch_seconds(config, shapes, device="cpu") for config in configs])
    assert np.std(measured) > 0.35
    assert np.std(estimated - measured) < 0.1


def test_estimated_seconds_grow_with_what_there_is_to_do(many: Shapes) -> None:
    def seconds(device: str = "cpu", **changed: object) -> float:
        return estimate_epoch_seconds(BASE.replace(**changed), many, device=device)

    for changed in ({"num_L": 6}, {"num_K": 4}, {"batch_size": 2}, {"hidden_dim": 480}):
        assert seconds(**changed) > seconds()
    assert seconds("cuda") < seconds()
    assert seconds("cuda", hidden_dim=480) < 2 * seconds("cuda")
