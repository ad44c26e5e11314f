"""Training without a fold, and its out-of-fold predictions."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.corpora import part_of
from rigsl.config import RIGSLConfig
from rigsl.data.folds import train_folds
from rigsl.errors import UserError
from rigsl.training.held_out import read_held_out, write_held_out
from rigsl.training.trainer import Training
from tests.helpers.corpora import toy_corpus

CONFIG = RIGSLConfig(
    modals="ld", hidden_dim=8, num_L=1, num_K=1, gumbel_k=2, nb_features_dim=8, nodeformer_heads=2,
    epochs=2, lr=1e-2, batch_size=4, ema=0.5,
)  # fmt: skip
CORPUS = toy_corpus(dialogues=40)
HELD = np.flatnonzero(train_folds(CORPUS, 3) == 1)


def trained(corpus=CORPUS, held_out=HELD) -> Training:
    training = Training(CONFIG, corpus, held_out=held_out)
    while not training.done:
        training.step()
    return training


def same(one: Training, other: Training) -> bool:
    pairs = zip(one.best_model().state_dict().values(), other.best_model().state_dict().values(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


def test_it_is_the_training_on_a_corpus_without_the_fold() -> None:
    without = part_of(CORPUS, np.setdiff1d(np.arange(len(CORPUS.splits)), HELD))
    assert same(trained(), trained(without, None))
    assert not same(trained(), trained(held_out=None))


def test_nothing_depends_on_the_labels_of_the_fold() -> None:
    labels = CORPUS.labels.copy()
    rows = CORPUS.rows(HELD)
    labels[rows] = (labels[rows] + 1) % 4
    assert same(trained(), trained(dataclasses.replace(CORPUS, labels=labels)))


def test_a_saved_training_goes_on_without_the_fold(tmp_path: Path) -> None:
    training = Training(CONFIG, CORPUS, held_out=HELD)
    training.step()
    training.save(tmp_path / "state.pt")
    loaded = Training.load(tmp_path / "state.pt", CORPUS)
    assert np.array_equal(loaded.held_out, HELD)
    loaded.step()
    assert same(trained(), loaded)


def test_its_predictions_are_kept_in_the_order_of_the_corpus(tmp_path: Path) -> None:
    training = trained()
    evaluation = training.evaluate(HELD, training.best_model())
    write_held_out(tmp_path / "held_out.safetensors", evaluation)
    kept = read_held_out(tmp_path / "held_out.safetensors")
    assert np.array_equal(kept.rows, CORPUS.rows(HELD))
    assert np.array_equal(kept.log_prob, evaluation.log_prob)
    assert kept.weighted_f1 == evaluation.scores.weighted_f1


@pytest.mark.parametrize("damage", ["missing", "other", "half"])
def test_damaged_predictions_are_refused_with_the_name_of_the_file(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "held_out.safetensors"
    training = trained()
    write_held_out(path, training.evaluate(HELD))
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        CORPUS.save(path)
    else:
        path.write_bytes(path.read_bytes()[:200])
    says = "cannot be read" if damage == "missing" else "; remove it, and its training runs again"
    with pytest.raises(UserError, match=rf"held_out\.safetensors: .*{says}") as error:
        read_held_out(path)
    assert "corpus" not in str(error.value)


def test_the_fold_can_be_validated_on_beside_dev(tmp_path: Path) -> None:
    training = Training(CONFIG, CORPUS, held_out=HELD, validate_held_out=True)
    report = training.step()
    both = training.evaluate(np.concatenate([CORPUS.dialogues("dev"), HELD]))
    assert report.validation == both.scores
    assert report.split_weighted_f1 == training.evaluate(CORPUS.dialogues("dev")).scores.weighted_f1
    assert report.metrics()["val_split_weighted_f1"] == report.split_weighted_f1
    training.save(tmp_path / "state.pt")
    loaded = Training.load(tmp_path / "state.pt", CORPUS)
    assert loaded.validates_held_out
    assert loaded.step().validation == training.step().validation


def test_validating_on_the_fold_changes_the_choice_of_the_epoch_alone() -> None:
    one, other = (Training(CONFIG, CORPUS, held_out=HELD, validate_held_out=also) for also in (False, True))
    for training in (one, other):
        while not training.done:
            training.step()
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    assert all(torch.equal(first, second) for first, second in pairs)
    assert "val_split_weighted_f1" not in one.last_report.metrics()
