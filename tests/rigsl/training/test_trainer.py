"""Training: learns, repeats itself, resumes, stops, and tells the truth about the best epoch."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from rigsl.config import RIGSLConfig
from rigsl.data.batches import BatchSource, shuffled_batches
from rigsl.errors import UserError
from rigsl.training.checkpoint import load_checkpoint, read_schema, save_checkpoint
from rigsl.training.evaluation import evaluate
from rigsl.training.fit import fit
from rigsl.training.optimiser import Adam
from rigsl.training.trainer import Training, TrainingDiverged
from tests.helpers.corpora import toy_corpus

CONFIG = RIGSLConfig(
    modals="ld", hidden_dim=16, num_L=1, num_K=1, gumbel_k=2, nb_features_dim=8, nodeformer_heads=2,
    dropout=0.1, nodeformer_dropout=0.1, denoise_dropout=0.1, epochs=6, lr=1e-2, batch_size=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus():
    return toy_corpus(dialogues=40)


@pytest.fixture(scope="module")
def result(corpus):
    return fit(CONFIG, corpus)


def _weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def _same(weights, other):
    return all(torch.equal(value, other[name]) for name, value in weights.items())


def _numbers(report):
    return dataclasses.replace(report, seconds=0.0)


def test_it_learns(corpus, result):
    chance = fit(CONFIG.replace(epochs=1, lr=1e-7), corpus).best.validation.weighted_f1
    assert result.best.validation.weighted_f1 > max(0.6, chance + 0.2)
    assert evaluate(result.model, corpus, "test").scores.weighted_f1 > 0.5


def test_the_best_epoch_is_what_is_kept(corpus, result):
    scores = [report.validation.weighted_f1 for report in result.history]
    assert result.best.epoch == 1 + int(np.argmax(scores))
    assert evaluate(result.model, corpus, "dev").scores.weighted_f1 == result.best.validation.weighted_f1
    assert result.history[-1].best_weighted_f1 == max(scores)
    assert [report.done for report in result.history] == [False] * 5 + [True]


def test_scores_are_scikit_learns(corpus, result):
    evaluation = evaluate(result.model, corpus, "test")
    rows = np.concatenate(
        [np.arange(corpus.offsets[i], corpus.offsets[i + 1]) for i in corpus.dialogues("test")]
    )
    assert evaluation.rows.tolist() == rows.tolist()
    assert evaluation.labels.tolist() == corpus.labels[rows].tolist()
    predicted = evaluation.log_prob.argmax(axis=1)
    assert evaluation.scores.weighted_f1 == pytest.approx(
        f1_score(evaluation.labels, predicted, average="weighted"), abs=1e-12
    )
    assert evaluation.scores.accuracy == pytest.approx(
        accuracy_score(evaluation.labels, predicted), abs=1e-12
    )


def test_same_seed_same_numbers_whatever_ran_before(corpus, result):
    torch.manual_seed(99)
    before = torch.get_rng_state()
    other = Training(CONFIG.replace(seed=5), corpus)
    again = Training(CONFIG, corpus)
    reports = []
    while not again.done:
        if not other.done:
            other.step()
        reports.append(_numbers(again.step()))
    assert reports == [_numbers(report) for report in result.history]
    assert _same(_weights(again.best_model()), _weights(result.model))
    assert torch.equal(torch.get_rng_state(), before), "the global random state was touched"


def test_the_deterministic_mode_gives_the_same_numbers_on_the_cpu(corpus, result):
    training = Training(CONFIG.replace(deterministic=True), corpus)
    assert _numbers(training.step()) == _numbers(result.history[0])
    assert not torch.are_deterministic_algorithms_enabled()


def test_another_seed_other_numbers(corpus, result):
    other = fit(CONFIG.replace(seed=1, epochs=1), corpus)
    assert other.history[0].train_loss != result.history[0].train_loss


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9, "norm": "BN", "anneal_to": 0.3}], ids=str)
def test_a_resumed_training_goes_on_bit_for_bit(changes, corpus, tmp_path):
    config = CONFIG.replace(**changes)
    result = fit(config, corpus)
    training = Training(config, corpus)
    for _ in range(3):
        training.step()
    training.save(tmp_path / "state.pt")
    resumed = Training.load(tmp_path / "state.pt", corpus)
    assert resumed.epoch == 3
    while not resumed.done:
        resumed.step()
    assert _numbers(resumed.last_report) == _numbers(result.history[-1])
    assert _same(_weights(resumed.best_model()), _weights(result.model))


def test_the_moving_average_of_the_weights_is_what_is_kept(corpus, monkeypatch):
    config = CONFIG.replace(ema=0.5, epochs=1)
    seen = []
    step = Adam.step

    def recorded(optimiser):
        step(optimiser)
        seen.append([parameter.detach().clone() for parameter in optimiser.parameters])

    monkeypatch.setattr(Adam, "step", recorded)
    kept = fit(config, corpus).model
    mean = seen[0]
    for weights in seen[1:]:
        mean = [0.5 * old + 0.5 * new for old, new in zip(mean, weights, strict=True)]
    assert len(seen) > 3
    for weight, expected in zip(kept.parameters(), mean, strict=True):
        torch.testing.assert_close(weight, expected)


def test_a_damaged_state_is_refused(corpus, tmp_path):
    path = tmp_path / "state.pt"
    Training(CONFIG, corpus).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"state\.pt: the training state cannot be loaded"):
        Training.load(path, corpus)


def test_patience_stops_early(corpus):
    config = CONFIG.replace(lr=1e-7, patience=2, epochs=30)
    history = fit(config, corpus).history
    assert len(history) < 30
    assert history[-1].epoch - history[-1].best_epoch == 2


def test_divergence_is_an_error_that_names_the_epoch(corpus):
    features = {letter: values.copy() for letter, values in corpus.features.items()}
    features["d"][0, 0] = np.inf
    with pytest.raises(TrainingDiverged, match="epoch 1"):
        fit(CONFIG, dataclasses.replace(corpus, features=features))


def test_test_labels_are_not_needed_and_cannot_be_scored(corpus, result):
    blind = corpus.without_test_labels()
    assert fit(CONFIG.replace(epochs=1), blind).best.validation == result.history[0].validation
    with pytest.raises(UserError, match="labels of the test split are hidden"):
        evaluate(result.model, blind, "test")


def test_training_on_hidden_labels_is_refused(corpus):
    with pytest.raises(UserError, match="training split is empty or its labels are hidden"):
        Training(CONFIG, corpus.without_test_labels(), train=("train", "test"))


def test_a_missing_modality_is_refused(corpus):
    with pytest.raises(UserError, match="no modality 'a'"):
        Training(CONFIG.replace(modals="la"), corpus)


def test_bf16_trains(corpus):
    report = fit(CONFIG.replace(precision="bf16"), corpus).best
    assert report.validation.weighted_f1 > 0.5


def test_checkpoint_holds_the_whole_model(corpus, result, tmp_path):
    folder = tmp_path / "best"
    save_checkpoint(folder, result.model)
    (folder / "note.txt").write_text("kept")
    save_checkpoint(folder, result.model)
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.toml", "note.txt"}
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    loaded = load_checkpoint(folder)
    assert loaded.config == CONFIG
    assert read_schema(folder) == corpus.schema
    evaluation, expected = evaluate(loaded, corpus, "test"), evaluate(result.model, corpus, "test")
    assert np.array_equal(evaluation.log_prob, expected.log_prob)


def test_a_damaged_checkpoint_is_refused(result, tmp_path):
    with pytest.raises(UserError, match="is not a checkpoint"):
        load_checkpoint(tmp_path)
    save_checkpoint(tmp_path / "best", result.model)
    weights = tmp_path / "best" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="weights cannot be loaded"):
        load_checkpoint(tmp_path / "best")


def test_batches_hold_every_dialogue_once_and_change():
    lengths = np.random.default_rng(0).integers(1, 20, 200)
    dialogues = np.arange(50, 200)
    generator = torch.Generator().manual_seed(0)
    first, second = (
        [tuple(batch) for batch in shuffled_batches(lengths, dialogues, 8, generator)] for _ in range(2)
    )
    assert sorted(sum(first, ())) == dialogues.tolist()
    assert set(map(frozenset, first)) != set(map(frozenset, second))
    spread = np.mean([np.ptp(lengths[list(batch)]) for batch in first])
    assert spread < np.ptp(lengths[dialogues]) / 2


def test_padding_is_inverted_by_unpadding(corpus):
    batch = BatchSource(corpus, "l").batch(np.array([3, 1, 8]))
    rows = torch.randn(2 * len(batch.rows), 4)
    padded = batch.pad(rows, 2)
    assert padded.shape == (3, 2, batch.longest, 4)
    assert torch.equal(batch.unpad(padded), rows)
    assert padded.abs().sum() == pytest.approx(float(rows.abs().sum()), rel=1e-5)


def test_batches_leave_the_corpus_alone(corpus):
    batch = BatchSource(corpus, "ld").batch(np.array([0, 1]))
    before = corpus.content_hash()
    for values in batch.features.values():
        values += 1
    batch.label.add_(1)
    assert corpus.content_hash() == before
