"""A prediction depends on its dialogue alone, and every number stays finite."""

import itertools

import numpy as np
import pytest
import torch

from rigsl.config import RIGSLConfig
from rigsl.data.batches import BatchSource
from rigsl.model.backbones import BACKBONES
from rigsl.model.rigsl import RIGSL
from rigsl.training.losses import task_loss
from tests.helpers.corpora import corpus_from_arrays, toy_corpus

SMALL = {"hidden_dim": 16, "nodeformer_heads": 2, "nb_features_dim": 8, "num_K": 2, "num_L": 2, "gumbel_k": 3}
WIDTHS = {"l": 8, "a": 4, "v": 3, "d": 5}


def _model(corpus, **changes):
    config = RIGSLConfig(**{"modals": "lavd", "dropout": 0.0} | SMALL | changes)
    torch.manual_seed(0)
    model = RIGSL(config, corpus.schema)
    with torch.no_grad():  # weights that start equal must not hide a dependence on position
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def _log_prob(model, corpus, dialogues):
    """Log-probabilities by corpus row."""
    batch = BatchSource(corpus, model.config.modals).batch(np.array(dialogues))
    with torch.no_grad():
        log_prob = model(batch).log_prob.numpy()
    return dict(zip(batch.rows.tolist(), log_prob, strict=True))


@pytest.mark.parametrize(
    "changes",
    [
        *({"norm": norm} for norm in ("None", "LN", "BN", "LN2")),
        *({"backbone": backbone} for backbone in BACKBONES),
        {"base_model": "LSTM"},
        *({"backbone": backbone, "sparsifier": "sparsemax"} for backbone in BACKBONES),
        {"use_cgs": False},
        {"use_igr": False},
        {"backbone": "MMGCN", "use_cgs": False},
        {"backbone": "MMGCN", "use_igr": False},
        {"windowp": 3, "windowf": 0},
        {"use_jk_nodeformer": True, "use_residue": False, "use_speaker": False},
    ],
    ids=str,
)
def test_a_dialogue_does_not_see_its_batch(changes):
    corpus = toy_corpus(widths=WIDTHS, longest=12)
    model = _model(corpus, **{"av_using_lstm": True, "use_residue": True} | changes).eval()
    together = _log_prob(model, corpus, range(12))
    reordered = _log_prob(model, corpus, [7, 3, 11, 0, 5, 9, 1, 10, 2, 8, 4, 6])
    alone = {}
    for dialogue in range(12):
        alone |= _log_prob(model, corpus, [dialogue])
    for row, value in together.items():
        assert np.abs(value - reordered[row]).max() < 1e-5
        assert np.abs(value - alone[row]).max() < 1e-5


SUBSETS = ["".join(letters) for n in (1, 2, 3, 4) for letters in itertools.combinations("lavd", n)]


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("modals", SUBSETS)
def test_any_subset_of_modalities_trains(modals, backbone):
    corpus = toy_corpus(widths=WIDTHS)
    model = _model(corpus, modals=modals, backbone=backbone).train()
    batch = BatchSource(corpus, modals).batch(np.arange(6))
    out = model(batch)
    loss = task_loss(out.log_prob, batch.label, torch.ones(4), 0.5) + out.penalty - out.link_loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def _dialogues(lengths, seed=0):
    rng = np.random.default_rng(seed)
    count = sum(lengths)
    features = {"l": rng.normal(size=(count, 1, 8)), "d": rng.normal(size=(count, 5))}
    speakers = np.concatenate([np.arange(length) % 3 for length in lengths])
    return corpus_from_arrays(features, rng.integers(0, 4, count), speakers, lengths, 4)


@pytest.mark.parametrize("lengths", [[1], [1, 1, 5], [400, 1, 7]], ids=str)
@pytest.mark.parametrize("tau", [0.02, 0.25, 2.0])
@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize(
    ("scale", "backbone"), [(1.0, "M3Net"), (30.0, "M3Net"), (1.0, "GCN"), (30.0, "GAT")]
)
def test_every_number_is_finite(lengths, tau, bf16, scale, backbone):
    corpus = _dialogues(lengths)
    model = _model(corpus, modals="ld", tau=tau, temperature=0.1, backbone=backbone).train()
    with torch.no_grad():  # large queries and keys: one relation takes all the weight
        for layer in model.nodeformer.layers:
            layer.query.weight *= scale
            layer.key.weight *= scale
    batch = BatchSource(corpus, "ld").batch(np.arange(len(lengths)))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        out = model(batch)
    loss = task_loss(out.log_prob, batch.label, torch.ones(4), 0.5) + out.penalty - 0.1 * out.link_loss
    loss.backward()
    assert torch.isfinite(out.log_prob).all()
    for name, value in {"penalty": out.penalty, "link": out.link_loss, "kept": out.kept}.items():
        assert torch.isfinite(value).all(), name
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_mmgcn_has_finite_gradients_in_bfloat16():
    """The cosine of an utterance with itself is 1, where arccos has no finite gradient."""
    corpus = _dialogues([9, 4])
    model = _model(corpus, modals="ld", backbone="MMGCN").train()
    batch = BatchSource(corpus, "ld").batch(np.arange(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(batch)
    out.log_prob.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_official_quirks_depend_on_the_batch():
    """The switch restores what the default removes; without this the test above could not fail."""
    corpus = toy_corpus(widths=WIDTHS, longest=12)
    model = _model(corpus, modals="lav", official_quirks=True).eval()
    together, alone = _log_prob(model, corpus, range(6)), {}
    for dialogue in range(6):
        alone |= _log_prob(model, corpus, [dialogue])
    assert max(np.abs(together[row] - alone[row]).max() for row in alone) > 1e-3


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_parameter_takes_part(backbone):
    corpus = toy_corpus(widths=WIDTHS)
    every = {"use_residue": True, "use_jk_nodeformer": True, "norm": "LN", "av_using_lstm": True}
    model = _model(corpus, backbone=backbone, **every).train()
    batch = BatchSource(corpus, "lavd").batch(np.arange(8))
    out = model(batch)
    (out.log_prob.square().sum() + out.penalty + out.link_loss).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
