"""Modalities have any names; what a model computes does not depend on them."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from rigsl.config import BACKBONES, RIGSLConfig
from rigsl.data.batches import BatchSource
from rigsl.data.corpus import Corpus
from rigsl.errors import UserError
from rigsl.inference.average import Average, modals_of
from rigsl.inference.graph_picture import draw
from rigsl.inference.learned_graph import learned_graph
from rigsl.inference.served import ServedModel, table_of
from rigsl.memory import Shapes, estimate_epoch_seconds, estimate_peak_bytes
from rigsl.modalities import MODALITIES, modals_text, module_name, read_modals
from rigsl.model.rigsl import RIGSL
from rigsl.official.flags import (
    from_official_flags,
    official_command,
    to_official_flags,
    without_official_form,
)
from rigsl.training.checkpoint import load_checkpoint, save_checkpoint
from rigsl.training.evaluation import predict
from rigsl.training.fit import fit
from tests.helpers.corpora import toy_corpus

SMALL = {"hidden_dim": 8, "num_L": 1, "num_K": 1, "nodeformer_heads": 1, "nb_features_dim": 4, "gumbel_k": 1}
#: A letter, and the name of a modality that takes its place in the order of the nodes.
RENAMED = {"l": "l", "a": "face", "v": "pulse"}
config_of = partial(RIGSLConfig, **SMALL, epochs=1)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return toy_corpus(dialogues=15, classes=10, widths={"text": 12, "face": 6, "pulse": 3})


@pytest.fixture(scope="module")
def lettered(corpus: Corpus) -> Corpus:
    """The same numbers as text, audio and visual."""
    features = {letter: corpus.features[name] for letter, name in RENAMED.items()}
    return dataclasses.replace(corpus, features=features)


@pytest.mark.parametrize("quirks", [False, True], ids=["", "official_quirks"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_names_change_no_number(backbone: str, quirks: bool, corpus: Corpus, lettered: Corpus) -> None:
    changes = {"backbone": backbone, "official_quirks": quirks, "batch_size": 4, "av_using_lstm": True}
    named, letters = config_of(modals="text,face,pulse", **changes), config_of(modals="lav", **changes)
    one, other = fit(named, corpus), fit(letters, lettered)
    assert one.best.train_loss == other.best.train_loss
    np.testing.assert_array_equal(predict(one.model, corpus), predict(other.model, lettered))
    for device in ("cpu", "cuda"):
        for estimate in (estimate_peak_bytes, estimate_epoch_seconds):
            same = estimate(letters, Shapes.of(lettered), device=device)
            assert estimate(named, Shapes.of(corpus), device=device) == same


@pytest.mark.parametrize("modals", ["pulse", "face,pulse", "text,pulse"])
def test_every_choice_of_modalities_trains(modals: str, corpus: Corpus) -> None:
    assert np.isfinite(fit(config_of(modals=modals), corpus).best.train_loss)


@pytest.mark.parametrize(
    "name", ["keys", "type", "forward", "training", "T_destination", "half", "a-b", "x" * 64]
)
def test_a_name_may_be_that_of_an_attribute(name: str, tmp_path) -> None:
    corpus = toy_corpus(dialogues=10, widths={name: 6, "l": 5})
    model = RIGSL(config_of(modals=f"{name},l", backbone="MMGCN"), corpus.schema)
    save_checkpoint(tmp_path, model)
    np.testing.assert_array_equal(predict(load_checkpoint(tmp_path), corpus), predict(model, corpus))


def test_parts_of_models_of_letters_keep_their_names() -> None:
    assert [module_name(letter) for letter in MODALITIES] == list(MODALITIES)
    assert not any(hasattr(nn.ModuleDict(), module_name(name)) for name in dir(nn.ModuleDict()))


def test_what_is_stored_is_read_again() -> None:
    for text in ("lavd", "l", "face", "text,face", "text,audio,visual,delivery,face", "A1,b-c,d_e"):
        assert modals_text(read_modals(text)) == text


def test_a_modality_that_a_corpus_lacks_is_named_with_those_that_it_has(corpus: Corpus) -> None:
    for call in (
        lambda: BatchSource(corpus, "text,gaze"),
        lambda: estimate_peak_bytes(config_of(modals="text,gaze"), Shapes.of(corpus)),
    ):
        with pytest.raises(UserError, match=r"has no modality 'gaze'; choose from 'text,face,pulse'$"):
            call()


def test_a_served_model_reads_a_column_for_each_modality(corpus: Corpus) -> None:
    models = [RIGSL(config_of(modals=modals), corpus.schema) for modals in ("pulse", "text,face")]
    average = Average(tuple(models))
    assert modals_of(average) == ("l", "face", "pulse")
    table = table_of(corpus, corpus.dialogues("test"), modals_of(average))
    assert {"text_features", "face_features", "pulse_features"} < set(table.columns)
    expected = np.exp(predict(models[0], corpus, split="test"))
    np.testing.assert_allclose(ServedModel(models[0]).predict(table), expected, atol=1e-6)
    assert ServedModel(average).predict(table).shape == (len(table), 10)
    with pytest.raises(UserError, match="lacks the column pulse_features"):
        ServedModel(models[0]).predict(table.drop(columns="pulse_features"))


@pytest.mark.parametrize(("others", "height"), [(2, 988), (7, 1716)])
def test_the_graph_has_a_lane_for_each_modality(others: int, height: int, tmp_path) -> None:
    import matplotlib.image

    names = [f"sensor{number}" for number in range(others)]
    corpus = toy_corpus(dialogues=10, widths={"text": 6} | dict.fromkeys(names, 3))
    longest = corpus.dialogue_ids[int(corpus.lengths.argmax())]
    torch.manual_seed(0)
    model = RIGSL(config_of(modals=",".join([*names, "text"])), corpus.schema)
    graph = learned_graph(model, corpus, longest)
    assert graph.modalities == ("text", *names)
    draw(graph, corpus, tmp_path / "graph.png")
    drawn = matplotlib.image.imread(tmp_path / "graph.png").shape[0]
    assert drawn == pytest.approx(height, abs=2)


def test_the_official_code_has_no_modality_without_a_letter() -> None:
    config = config_of(modals="text,face", backbone="GCN")
    assert official_command(config, "MELD") == "# the official code has no modality 'face'"
    for refused in (to_official_flags, without_official_form):
        with pytest.raises(UserError, match="the official code has no modality 'face'"):
            refused(config, "MELD")
    with pytest.raises(UserError, match="--modals l,face: the official code has no modality 'face'"):
        from_official_flags({"Dataset": "MELD", "modals": "l,face"})
    assert "--modals=l " in official_command(config_of(modals="text,delivery"), "MELD").splitlines()[-1]
