"""A step never waits for its device: no result is read back, and what is copied there is copied in between.

PyTorch's device "meta" stands in for a GPU. It has shapes without numbers, so that reading one is an error.
"""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor

from rigsl.config import BACKBONES, SPARSIFIERS, RIGSLConfig
from rigsl.data.batches import BatchSource
from rigsl.model.rigsl import RIGSL
from rigsl.training.losses import task_loss
from rigsl.training.teacher import Teacher
from rigsl.training.trainer import Training
from tests.helpers.corpora import toy_corpus

SMALL = RIGSLConfig(
    modals="ld", hidden_dim=8, num_K=1, num_L=2, nodeformer_heads=2, nb_features_dim=4, gumbel_k=2
)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each copy to the device, whether it does not wait for it."""
    found: list[bool] = []
    to, tensor = Tensor.to, torch.tensor

    def watched_to(self, *arguments, **options):
        result = to(self, *arguments, **options)
        if result.device != self.device:
            found.append(options.get("non_blocking", False))
        return result

    def watched_tensor(*arguments, **options):
        result = tensor(*arguments, **options)
        if result.device.type != "cpu":
            found.append(False)
        return result

    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)  # only a machine with a GPU can
    monkeypatch.setattr(
        torch, "autocast", lambda *arguments, **options: nullcontext()
    )  # knows no such device
    monkeypatch.setattr(Tensor, "to", watched_to)
    monkeypatch.setattr(torch, "tensor", watched_tensor)
    return found


@pytest.mark.parametrize(
    "changes", [{}, {"norm": "LN2"}, {"base_model": "LSTM", "use_jk_nodeformer": True}], ids=str
)
@pytest.mark.parametrize("sparsifier", SPARSIFIERS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_step_does_not_wait(backbone, sparsifier, changes, copies):
    corpus = toy_corpus()
    config = SMALL.replace(backbone=backbone, sparsifier=sparsifier, **changes)
    source = BatchSource(corpus, config.modals, "meta")
    model = RIGSL(config, corpus.schema).to("meta").train()
    weights = torch.ones(len(corpus.classes), device="meta")
    copies.clear()
    batch = source.batch(np.arange(6))
    out = model(batch)
    loss = task_loss(out.log_prob, batch.label, weights, 0.5) + out.penalty - out.link_loss
    loss.backward()
    assert all(copies)
    assert len(copies) <= 4, "the batch, and its padding for speakers, nodes and heads"


@pytest.mark.parametrize("taught", [False, True])
def test_a_training_step_does_not_wait_and_a_teacher_copies_nothing(taught, copies):
    corpus = toy_corpus()
    rows = corpus.rows(corpus.dialogues("train"))
    uniform = np.full((len(rows), len(corpus.classes)), -np.log(len(corpus.classes)))
    teacher = Teacher.out_of_fold([(rows, uniform)], corpus) if taught else None
    training = Training(SMALL, corpus, device="meta", teacher=teacher)
    copies.clear()
    assert training.train_on(corpus.dialogues("train")[:6], 0.1).device.type == "meta"
    assert all(copies)
    assert len(copies) == 4, "the batch, and its padding for speakers, nodes and heads"


def test_a_batch_on_a_device_has_the_shapes_of_one_on_the_cpu(copies):
    corpus = toy_corpus()
    there, here = (BatchSource(corpus, "ld", device).batch(np.arange(5)) for device in ("meta", "cpu"))
    assert here.at.tolist() == here.rows.tolist()
    for name in ("label", "speaker", "sizes", "at"):
        assert getattr(there, name).shape == getattr(here, name).shape
        assert getattr(there, name).device.type == "meta"
    for packing in ("dialogues", "speakers"):
        for name in ("order", "inverse", "sequence", "position"):
            assert getattr(getattr(there, packing), name).shape == here.label.shape
        assert torch.equal(getattr(there, packing).sizes, getattr(here, packing).sizes)
    assert here.sizes.tolist() == list(here.lengths) == list(there.lengths)
