"""Cross-fitted encoders: no row's columns know its own label, and the same call gives the same numbers."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from rigsl.cli.main import main
from rigsl.data.corpus import Corpus
from rigsl.data.folds import NO_FOLD
from rigsl.data.open.emotions import without_emotions
from rigsl.data.open.fine_tuned import EmotionEncoders, encoders_path
from rigsl.data.open.meld import CLASSES, Transcript, read_meld
from rigsl.data.open.settings import FineTuning
from rigsl.data.source import find_corpus
from rigsl.device import threads
from rigsl.errors import UserError
from tests.helpers.commands import refusal
from tests.helpers.tiny_encoder import write_tiny_encoder
from tests.helpers.transcripts import HEADER

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="the encoder is not installed (pip install -e '.[features]')",
)
SETTINGS = FineTuning(folds=3, epochs=4, rank=4, lr=0.03, batch_size=4)
TEXTS = {"joy": "Oh, NOOO!!", "anger": "None", "neutral": "you", "surprise": "Well, what?"}


def write_dialogues(folder: Path, dialogues: int = 12) -> Path:
    """CSV files in which the text tells the emotion."""
    lines = [HEADER]
    for dialogue in range(dialogues):
        for utterance, (emotion, text) in enumerate(TEXTS.items()):
            time = f'"00:00:0{utterance},000","00:00:0{utterance + 1},000"'
            lines.append(f'1,"{text}",Ross,{emotion},neutral,{dialogue},{utterance},1,1,{time}')
    folder.mkdir()
    for split in ("train", "dev", "test"):
        (folder / f"{split}_sent_emo.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dialogues(tmp_path_factory.mktemp("csv") / "meld")


@pytest.fixture(scope="module")
def transcript(csv: Path) -> Transcript:
    return read_meld(csv)


@pytest.fixture(scope="module")
def tuned(encoder: Path, transcript: Transcript, tmp_path_factory: pytest.TempPathFactory) -> EmotionEncoders:
    return fit(transcript, encoder, tmp_path_factory.mktemp("states"))


def fit(
    transcript: Transcript,
    encoder: Path,
    states: Path,
    *,
    folds: np.ndarray | None = None,
    processes: int = 1,
) -> EmotionEncoders:
    from rigsl.data.open.cross_fitting import cross_fit
    from rigsl.data.open.sentence_encoder import fingerprint

    folds = folds_of(transcript) if folds is None else folds
    base = fingerprint(encoder)
    return cross_fit(transcript, folds, encoder, base, SETTINGS, states, processes=processes)


def columns(tuned: EmotionEncoders, transcript: Transcript, encoder: Path, folds: np.ndarray) -> np.ndarray:
    from rigsl.data.open.cross_fitting import emotion_columns

    named = emotion_columns(tuned, transcript, encoder, folds)
    assert list(named) == [f"log_p_{name}" for name in CLASSES]
    return np.stack(list(named.values()), axis=1)


def folds_of(transcript: Transcript, folds: int = SETTINGS.folds) -> np.ndarray:
    from rigsl.data.open.cross_fitting import fold_of_dialogues

    return fold_of_dialogues(transcript, dataclasses.replace(SETTINGS, folds=folds))


def same(one: EmotionEncoders, other: EmotionEncoders) -> bool:
    return all(
        a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
        for a, b in zip(one.tensors, other.tensors, strict=True)
    )


def test_folds_are_whole_dialogues_of_train(transcript):
    cuts = folds_of(transcript)
    for folds in cuts:
        assert np.bincount(folds[transcript.splits == 0]).tolist() == [4, 4, 4]
        assert (folds[transcript.splits != 0] == NO_FOLD).all()
    assert not np.array_equal(*cuts)
    with pytest.raises(UserError, match="12 training dialogues cannot be cut into 13 folds"):
        folds_of(transcript, 13)


def test_train_that_no_folds_can_be_cut_of_is_refused(transcript):
    classes = tuple(map(str, range(12)))
    each_once = np.tile(np.arange(12), 12)  # each class four times in train
    rare = dataclasses.replace(transcript, labels=each_once, classes=classes)
    with pytest.raises(UserError, match="no class has more than 4 training utterances, which cannot be cut"):
        folds_of(rare, 5)
    assert folds_of(rare, 4).max() == 3


def test_texts_longer_than_the_encoder_reads_are_cut(transcript, encoder):
    from rigsl.data.open.emotion_encoder import token_inputs
    from rigsl.data.open.sentence_encoder import load_encoder

    tokenizer = load_encoder(encoder).tokenizer
    long = dataclasses.replace(transcript, utterances=("you " * 100, *transcript.utterances[1:]))
    assert token_inputs(tokenizer, long, 0).lengths.max() == tokenizer.model_max_length == 32


@pytest.mark.parametrize("family", ["Bert", "MPNet", "Roberta", "XLMRoberta", "DistilBert"])
def test_encoders_of_every_family_learn_and_batches_change_nothing(family, transcript, tmp_path):
    from rigsl.data.open.emotion_encoder import log_probabilities, token_inputs, tuned_encoder
    from rigsl.data.open.fine_tuning import fine_tune

    folder = write_tiny_encoder(tmp_path / "tiny", family)
    rows = np.arange(16)
    settings = dataclasses.replace(SETTINGS, epochs=1)
    with threads(1):
        tuned = fine_tune(transcript, folder, rows, settings, tmp_path / "state.pt")
    assert any(np.abs(value).max() > 0 for name, value in tuned.items() if name.endswith(".up"))
    model = tuned_encoder(folder, settings.rank, tuned)
    inputs = token_inputs(model.tokenizer, transcript, 0)
    together, alone = (log_probabilities(model, inputs, rows, batch_size=size) for size in (16, 1))
    np.testing.assert_allclose(together, alone, rtol=1e-9)


def test_an_encoder_without_tokens_around_a_text_is_refused(transcript, encoder, monkeypatch):
    from rigsl.data.open import emotion_encoder

    loaded = emotion_encoder.load_encoder(encoder)
    loaded.tokenizer.cls_token = None
    monkeypatch.setattr(emotion_encoder, "load_encoder", lambda folder: loaded)
    with pytest.raises(UserError, match="tiny: cannot be fine-tuned, because it has no tokens for the begin"):
        emotion_encoder.EmotionEncoder(encoder, len(CLASSES), 4)


def test_encoders_learn_the_emotions(tuned, transcript, encoder):
    table = columns(tuned, transcript, encoder, folds_of(transcript))
    assert (np.exp(table).sum(axis=1) <= 1.0 + 1e-12).all()  # means of logarithms
    assert (table.argmax(axis=1) == transcript.labels).mean() > 0.9


def test_no_training_row_depends_on_the_labels_of_its_own_dialogue(tuned, transcript, encoder, tmp_path):
    """Nor does anything depend on the labels of dev and test."""
    folds = folds_of(transcript)
    own = np.arange(len(transcript.splits)) == 3
    changed = np.repeat(own | (transcript.splits != 0), np.diff(transcript.offsets))
    labels = np.where(changed, (transcript.labels + 1) % len(CLASSES), transcript.labels)
    other = fit(dataclasses.replace(transcript, labels=labels), encoder, tmp_path, folds=folds)
    blind = {SETTINGS.folds * cut + int(fold) for cut, fold in enumerate(folds[:, 3])}
    for index, (one, two) in enumerate(zip(tuned.tensors, other.tensors, strict=True)):
        assert all(np.array_equal(one[name], two[name]) for name in one) == (index in blind)
    rows = np.repeat(own, np.diff(transcript.offsets))
    before, after = (columns(one, transcript, encoder, folds) for one in (tuned, other))
    np.testing.assert_array_equal(after[rows], before[rows])
    assert not np.array_equal(after[~rows], before[~rows])


def test_the_same_folds_are_the_same_in_one_process_or_two_and_after_an_interruption(
    tuned, transcript, encoder, tmp_path, monkeypatch
):
    from rigsl.data.open import fine_tuning

    assert same(fit(transcript, encoder, tmp_path / "one", processes=2), tuned)

    class Killed(BaseException):
        pass

    def save_once(*parts):
        saved(*parts)
        raise Killed

    saved = fine_tuning._save
    monkeypatch.setattr(fine_tuning, "_save", save_once)
    learns = np.flatnonzero(np.repeat(folds_of(transcript)[0] > 0, np.diff(transcript.offsets)))
    arguments = transcript, encoder, learns, SETTINGS, tmp_path / "two" / "encoder_0.pt"
    with threads(1), pytest.raises(Killed):
        fine_tuning.fine_tune(*arguments)
    monkeypatch.setattr(fine_tuning, "_save", saved)
    steps: list[int] = []
    with threads(1):
        fine_tuning.fine_tune(*arguments, on_steps=steps.append)
    assert steps[0] == 8  # the first epoch is not trained again
    assert same(fit(transcript, encoder, tmp_path / "two"), tuned)


@pytest.mark.usefixtures("default_signals")
def test_a_build_that_is_ended_says_how_to_go_on(csv, encoder, tmp_path, monkeypatch, capsys):
    def terminate(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("rigsl.data.open.cross_fitted.cross_fit", terminate)
    out = tmp_path / "open.safetensors"
    command = ["build-features", "--csv", str(csv), "--encoder", str(encoder), "--out", str(out)]
    assert main([*command, "--folds=2", "--repeats=1"]) == 143
    assert capsys.readouterr().err == "interrupted; the same command goes on where it was\n"


def test_dev_and_test_get_the_mean_of_all_encoders(tuned, transcript, encoder):
    nobody = np.full((SETTINGS.repeats, len(transcript.splits)), NO_FOLD)
    each = [columns(tuned, transcript, encoder, nobody * 0 + fold) for fold in range(SETTINGS.folds)]
    mean = columns(tuned, transcript, encoder, nobody)
    np.testing.assert_allclose(mean, np.mean(each, axis=0), rtol=1e-12)


def test_a_build_with_emotions_can_be_repeated_from_its_encoders(csv, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})  # this process: others start slowly
    out = tmp_path / "open.safetensors"
    command = ["build-features", "--csv", str(csv), "--encoder", str(encoder), "--out", str(out)]
    tuning = [f"--{name}={value}" for name, value in dataclasses.asdict(SETTINGS).items()]
    assert main([*command, *tuning]) == 0
    corpus = Corpus.load(out)
    assert corpus.name == "MELD-open-2"
    assert corpus.features["d"].shape[1] == 44 + len(CLASSES)
    said = corpus.provenance["emotions"]
    assert said["encoders"] == dataclasses.asdict(SETTINGS)
    assert said["labels_seen"]["train"].startswith("out of fold")
    assert [len(folds) for folds in said["folds_of_train_dialogues"]] == [12, 12]
    assert not any(tmp_path.glob(".*"))  # no state is left
    again = tmp_path / "again.safetensors"
    assert main([*command[:-1], str(again), "--encoders", str(encoders_path(out))]) == 0
    assert Corpus.load(again).content_hash() == corpus.content_hash()
    assert encoders_path(again).read_bytes() == encoders_path(out).read_bytes()
    before = tmp_path / "before.safetensors"
    assert main([*command[:-1], str(before), "--no-finetune"]) == 0
    assert without_emotions(corpus).content_hash() == Corpus.load(before).content_hash()
    assert not encoders_path(before).exists()


def test_features_of_a_transcript_equal_those_of_the_corpus(csv, encoder, tmp_path):
    from rigsl.data.open.open_features import build_open_features
    from rigsl.data.open.transcript_features import features_like

    out = tmp_path / "open.safetensors"
    corpus = build_open_features(csv, str(encoder), out, fine_tuning=SETTINGS)
    transcript, rows = read_meld(csv), corpus.rows(corpus.dialogues("test"))
    made = features_like(corpus, transcript, "ld", str(encoder), encoders=encoders_path(out))
    for letter, array in made.items():
        np.testing.assert_array_equal(array[rows], corpus.features[letter][rows])
    with pytest.raises(UserError, match="needs the file of its fine-tuned encoders"):
        features_like(corpus, transcript, "d", str(encoder))
    other = tmp_path / "other.safetensors"
    dataclasses.replace(EmotionEncoders.load(encoders_path(out)), base={}).save(other)
    with pytest.raises(
        UserError, match=r"other\.safetensors: its encoders are not those of corpus MELD-open-2"
    ):
        features_like(corpus, transcript, "d", str(encoder), encoders=other)
    with pytest.raises(UserError, match="is not the one that was fine-tuned"):
        build_open_features(csv, str(encoder), encoders=other)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--folds", "3", "--no-finetune"], "--folds: is an option of the fine-tuning; leave out --no-"),
        (["--encoders", "x", "--finetune"], "--encoders: these are fine-tuned already"),
        (["--finetune", "--folds", "1"], "folds of the fine-tuning is 1; its minimum is 2"),
        (["--finetune", "--lr", "inf"], "lr of the fine-tuning is inf; its maximum is 1"),
        (["--finetune", "--rank", str(10**30)], "its maximum is 4096"),
        (["--finetune", "--seed", str(10**30)], "its maximum is 4294967295"),
        (["--finetune", "--balance", "1e400"], "balance of the fine-tuning is inf; its maximum is 10"),
        (["--finetune", "--lr", "nan"], "lr of the fine-tuning is nan; its minimum is"),
    ],
)
def test_bad_options_are_one_sentence(options, sentence, tmp_path, capsys):
    command = ["build-features", "--csv", str(tmp_path), "--out", str(tmp_path / "o.safetensors")]
    assert sentence in refusal(main, [*command, *options], capsys)


@pytest.mark.parametrize("name", ["open.safetensors", "open_encoders.safetensors"])
def test_a_folder_in_the_place_of_a_file_is_refused_before_the_work(csv, name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rigsl.data.open.open_features.read_meld", None)
    (tmp_path / name).mkdir()
    command = ["build-features", "--csv", str(csv), "--out", str(tmp_path / "open.safetensors")]
    shown = refusal(main, command, capsys)
    assert f"{tmp_path / name}: cannot be written (Is a directory)" in shown


def test_encoders_of_other_classes_or_another_encoder_are_refused(csv, tuned, encoder, tmp_path):
    from rigsl.data.open.open_features import build_open_features

    other = tmp_path / "other.safetensors"
    one = tuned.tensors[0]
    for changed, says in (
        ({"classifier.bias": one["classifier.bias"][:2]}, "tell 2 classes apart, and the corpus has 7"),
        ({}, "do not fit this encoder"),
    ):
        tensors = {name: changed.get(name, value) for name, value in one.items()}
        if not changed:
            tensors["classifier.weight"] = tensors["classifier.weight"][:, :3]
        parts = (tensors, *tuned.tensors[1:])
        dataclasses.replace(tuned, tensors=parts).save(other)
        with pytest.raises(UserError, match=says):
            build_open_features(csv, str(encoder), encoders=other)


def test_a_model_on_emotions_predicts_a_transcript(csv, encoder, tmp_path, capsys):
    from rigsl.data.open.open_features import build_open_features

    data, model, out = tmp_path / "data", tmp_path / "model", tmp_path / "out.csv"
    data.mkdir()
    corpus = build_open_features(csv, str(encoder), data / "meld_open.safetensors", fine_tuning=SETTINGS)
    small = ["--epochs", "1", "--hidden_dim", "8", "--modals", "ld", "--nb_features_dim", "4"]
    assert main(["train", "--data-dir", str(data), "--out", str(model), *small]) == 0
    predict = ["predict", "--checkpoint", str(model), "--data-dir", str(data), "--out", str(out)]
    own = tmp_path / "own.csv"
    own.write_text("speaker,text\nRoss,you\nRoss,Oh NOOO!!\n", encoding="utf-8")
    assert main([*predict, "--csv", str(own), "--encoder", str(encoder)]) == 0
    assert len(out.read_text(encoding="utf-8").splitlines()) == 3
    encoders_path(data / "meld_open.safetensors").unlink()
    command = [*predict, "--csv", str(own), "--encoder", str(encoder)]
    shown = refusal(main, command, capsys)
    assert "meld_open_encoders.safetensors: is not there" in shown
    assert "it holds the fine-tuned encoders, which were written beside the corpus" in shown
    assert corpus.schema.widths["d"] == 44 + len(CLASSES)


def test_a_model_and_a_study_made_before_the_emotions_still_find_their_corpus(csv, encoder, tmp_path):
    from rigsl.data.open.open_features import build_open_features

    data, model = tmp_path / "data", tmp_path / "model"
    data.mkdir()
    earlier = build_open_features(csv, str(encoder), data / "meld_open.safetensors")
    small = ["--epochs", "1", "--hidden_dim", "8", "--modals", "ld", "--nb_features_dim", "4"]
    folder = ["--data-dir", str(data)]
    assert main(["train", *folder, "--out", str(model), *small]) == 0
    test = ["predict", "--checkpoint", str(model), *folder, "--out"]
    assert main([*test, str(tmp_path / "before.csv")]) == 0
    now = build_open_features(csv, str(encoder), data / "meld_open.safetensors", fine_tuning=SETTINGS)
    assert main([*test, str(tmp_path / "after.csv")]) == 0
    assert (tmp_path / "after.csv").read_bytes() == (tmp_path / "before.csv").read_bytes()
    own = tmp_path / "own.csv"
    own.write_text("speaker,text\nRoss,you\nRoss,Oh NOOO!!\n", encoding="utf-8")
    assert main([*test[:-1], "--csv", str(own), "--encoder", str(encoder)]) == 0
    for corpus in (earlier, now):
        found, _ = find_corpus("MELD", "open", data, content=corpus.content_hash())
        assert found.content_hash() == corpus.content_hash()
