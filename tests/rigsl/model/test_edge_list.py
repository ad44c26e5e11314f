"""The sparse form of a graph is the dense one: the same edges, numbers and gradients, with the same noise."""

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks.corpora import synthetic_corpus
from rigsl.config import BACKBONES, RIGSLConfig
from rigsl.data.batches import BatchSource
from rigsl.model import nodeformer, sparsify
from rigsl.model import rigsl as model_module
from rigsl.model.dense_graph import dense_graph
from rigsl.model.edge_list import edge_list
from rigsl.model.graph import SHORTEST, sparse_form_pays
from rigsl.model.rigsl import RIGSL
from tests.helpers.corpora import toy_corpus

SMALL = {
    "hidden_dim": 6,
    "nodeformer_heads": 2,
    "nb_features_dim": 5,
    "num_K": 2,
    "num_L": 2,
    "gumbel_k": 3,
    "tau": 0.5,
    "gamma": -0.4,
    "zeta": 1.3,
    "dropout": 0.0,
    "denoise_dropout": 0.0,
    "nodeformer_dropout": 0.0,
}
CORPUS = toy_corpus(widths={"l": 8, "a": 4, "v": 3, "d": 5}, longest=12)
DIALOGUES = np.array([4, 0, 7, 2, 9])
WINDOWS = [(0, 0), (1, 2), (3, 0), (0, 5), (50, 50)]


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def graphs(modals, past, future, **changes):
    """Configuration, batch, and both forms of its graph."""
    config = RIGSLConfig(modals=modals, windowp=past, windowf=future, **SMALL | changes)
    batch = BatchSource(CORPUS, config.modals).batch(DIALOGUES)
    kind = torch.get_default_dtype()
    features = {letter: values.to(kind) for letter, values in batch.features.items()}
    batch = dataclasses.replace(batch, features=features)
    return config, batch, dense_graph(batch, config), edge_list(batch, config)


def order(graph):
    """The places of a graph's listed edges, in the order of target and source."""
    source, target, _ = graph.listed()
    return (target * graph.modalities * len(graph.batch.rows) + source).argsort()


@pytest.mark.parametrize("modals", ["l", "ld", "lavd"])
@pytest.mark.parametrize("windows", WINDOWS, ids=str)
def test_both_forms_list_the_same_edges(modals, windows):
    _, _, dense, sparse = graphs(modals, *windows)
    for mine, theirs in zip(dense.listed(), sparse.listed(), strict=True):
        assert torch.equal(mine[order(dense)], theirs[order(sparse)])
    assert torch.equal(dense.edges, sparse.edges)
    assert torch.equal(dense.by_type, sparse.by_type)
    assert torch.equal(order(sparse), torch.arange(len(sparse.kind)))


class SharedNoise:
    """The noise that the dense form draws, and the same numbers for the sparse form."""

    def __init__(self, batch, dense, sparse):
        self.batch, self.dense, self.sparse = batch, dense, sparse
        self.uniform, self.exponential = [], []

    def draw(self, monkeypatch, form):
        """From now on, remember what the dense form draws, or give it to the sparse form."""
        monkeypatch.setattr(sparsify, "uniform_noise", getattr(self, f"_{form}_uniform"))
        monkeypatch.setattr(nodeformer, "exponential_noise", getattr(self, f"_{form}_exponential"))

    def _dense_uniform(self, like):
        self.uniform.append(torch.rand_like(like))
        return self.uniform[-1]

    def _sparse_uniform(self, like):
        noise = torch.empty_like(like)
        noise[order(self.sparse)] = self.dense.listed_values(self.uniform.pop(0))[order(self.dense)]
        return noise

    def _dense_exponential(self, like, *shape):
        noise = torch.empty(*shape, dtype=like.dtype).exponential_()
        split = noise.unflatten(2, (self.dense.modalities, -1))  # [B, H, M, T, K]
        for index, length in enumerate(self.batch.lengths):
            self.exponential.append(split[index : index + 1, :, :, :length].flatten(2, 3))
        return noise

    def _sparse_exponential(self, like, *shape):
        assert self.exponential[0].shape == shape
        return self.exponential.pop(0)


def results(model, batch):
    """Everything that a training reads from a model, and the gradients of all parameters."""
    torch.manual_seed(1)
    out = model(batch)
    numbers = [out.log_prob, out.penalty, out.link_loss, out.kept]
    loss = out.log_prob.sin().sum() + out.penalty + out.link_loss
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    names = [name for name, _ in model.named_parameters()]
    return [*map(torch.Tensor.detach, numbers)], dict(zip(names, gradients, strict=True))


def assert_same(monkeypatch, modals, windows, *, training, precision, **changes):
    config, batch, dense, sparse = graphs(modals, *windows, **changes)
    torch.manual_seed(0)
    model = RIGSL(config, CORPUS.schema).train(training)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    noise = SharedNoise(batch, dense, sparse)
    found = []
    for form, graph in (("dense", dense), ("sparse", sparse)):
        noise.draw(monkeypatch, form)
        monkeypatch.setattr(model_module, "dialogue_graph", lambda *arguments, graph=graph, **options: graph)
        found.append(results(model, batch))
    assert noise.uniform == noise.exponential == []
    for mine, theirs in zip(found[0][0], found[1][0], strict=True):
        torch.testing.assert_close(theirs, mine, rtol=precision, atol=precision, check_dtype=False)
    for name, mine in found[0][1].items():
        theirs = found[1][1][name]
        if mine is None or theirs is None:
            assert not any(gradient is not None and gradient.any() for gradient in (mine, theirs)), name
        else:
            scale = float(mine.abs().max().clamp_min(1))
            torch.testing.assert_close(theirs, mine, rtol=precision, atol=precision * scale)


@pytest.mark.parametrize("windows", [(0, 0), (1, 2), (3, 0)], ids=str)
@pytest.mark.parametrize("modals", ["l", "lad"])
@pytest.mark.parametrize(
    ("backbone", "sparsifier"),
    [(name, "hard_concrete") for name in BACKBONES] + [("GCN", "sparsemax"), ("M3Net", "sparsemax")],
)
@pytest.mark.usefixtures("float64")
def test_both_forms_are_equal_in_training(backbone, sparsifier, modals, windows, monkeypatch):
    changes = {"backbone": backbone, "sparsifier": sparsifier}
    assert_same(monkeypatch, modals, windows, training=True, precision=1e-8, **changes)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("sparsifier", ["hard_concrete", "sparsemax"])
@pytest.mark.usefixtures("float64")
def test_both_forms_are_equal_in_evaluation(backbone, sparsifier, monkeypatch):
    changes = {"backbone": backbone, "sparsifier": sparsifier}
    assert_same(monkeypatch, "lad", (2, 3), training=False, precision=1e-8, **changes)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_both_forms_are_equal_in_float32(backbone, monkeypatch):
    precision = 1e-3 if backbone == "MMGCN" else 1e-4  # near 1, arccos makes much of a rounding error
    assert_same(monkeypatch, "lav", (2, 3), training=True, precision=precision, backbone=backbone)


def pays(longest, *, dialogues=1, **changes):
    config = RIGSLConfig(**{"windowp": 20, "windowf": 20} | changes)
    return sparse_form_pays(config, dialogues, longest, dialogues * longest)


def test_the_form_follows_the_length():
    small = {"hidden_dim": 64, "nb_features_dim": 32, "gumbel_k": 8}
    assert [pays(longest, **small) for longest in (33, 110, 255, 256, 10_000)] == [False] * 3 + [True] * 2
    assert not pays(10_000, windowp=-1, **small)
    assert not pays(10_000, windowf=-1, **small)
    assert not pays(10_000, official_quirks=True, **small)
    assert not pays(300, windowp=300, windowf=300, use_igr=False)
    assert pays(300, use_igr=False)


def test_large_attention_stays_dense_until_its_memory_decides():
    """With 30 samples of 256 features the linear form multiplies more up to 3,000 utterances."""
    large = {"nb_features_dim": 256, "gumbel_k": 30, "num_K": 1, "nodeformer_heads": 1}
    assert [pays(longest, **large) for longest in (500, 1000, 4000)] == [False, False, True]
    assert pays(1000, **large | {"num_K": 8, "nodeformer_heads": 4})


def test_long_and_short_dialogues_of_a_batch_keep_their_predictions():
    """Alone the short dialogue is dense, beside a long one it is sparse."""
    corpus = synthetic_corpus([20, SHORTEST], {"l": 8}, validation=1)
    config = RIGSLConfig(modals="l", windowp=3, windowf=3, **SMALL)
    model = RIGSL(config, corpus.schema).eval()
    source = BatchSource(corpus, "l")
    with torch.no_grad():
        together = model(source.batch(np.array([0, 1]))).log_prob
        alone = torch.cat([model(source.batch(np.array([index]))).log_prob for index in (0, 1)])
    assert (together - alone).abs().max() < 1e-5
