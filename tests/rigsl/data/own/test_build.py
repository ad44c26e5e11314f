"""A corpus of one's own: the same from files and from data frames, and it trains."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import rigsl
from rigsl.cli.main import main
from rigsl.data.corpus import SPLITS, Corpus
from rigsl.data.folds import folds_refused
from rigsl.data.own.build import CorpusOptions
from rigsl.data.own.files import build_from_files
from rigsl.errors import UserError
from tests.helpers.own_files import CLASSES, transcript, vectors, write_files, write_npz
from tests.helpers.tiny_encoder import WIDTH, write_tiny_encoder

PLAIN = CorpusOptions(name="TALKS", encoder=None)
TINY = rigsl.RIGSLConfig(
    modals="av", hidden_dim=8, num_L=1, num_K=1, nodeformer_heads=1, nb_features_dim=4, epochs=1, lr=1e-3
)


@pytest.fixture
def files(tmp_path, monkeypatch):
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


def command(*words):
    return [
        "build-corpus",
        "--name",
        "TALKS",
        "--csv",
        "talks.csv",
        "--out",
        "out.safetensors",
        *map(str, words),
    ]


def of_frame(frame, **more):
    """A corpus with audio in the order of the rows, or the features that are given."""
    more = {"features": {"audio": vectors(len(frame))}, "name": "TALKS", "encoder": None} | more
    return Corpus.from_frame(frame, **more)


def splits_of(corpus):
    return dict(zip(corpus.dialogue_ids, [SPLITS[index] for index in corpus.splits], strict=True))


def test_files_and_a_data_frame_give_the_same_content_hash(files, capsys, encoder):
    licence = files / "licence.txt"
    licence.write_text("CC BY 4.0\nwith a second line", encoding="utf-8")
    words = ["--features", "audio=audio.npz", "visual=visual.npy", "--encoder", encoder, "--licence", licence]
    assert main(command(*words)) == 0
    corpus = Corpus.load(files / "out.safetensors")
    assert f"content hash {corpus.content_hash()}" in capsys.readouterr().out
    made = Corpus.from_frame(
        transcript(),
        {"audio": vectors(), "visual": vectors(width=3, seed=1)},
        name="TALKS",
        encoder=str(encoder),
    )
    assert made.content_hash() == corpus.content_hash()
    assert {key: array.shape[1:] for key, array in corpus.features.items()} == {
        "a": (5,),
        "d": (44,),
        "l": (1, WIDTH),
        "v": (3,),
    }
    assert corpus.provenance["licence"].startswith("CC BY 4.0")
    assert corpus.provenance["command"].startswith(
        "python -m rigsl build-corpus --name TALKS --csv talks.csv"
    )
    assert corpus.provenance["text"]["encoder"] == "tiny"
    assert set(corpus.provenance["files_sha256"]) == {"talks.csv"}
    assert set(corpus.provenance["features"]["v"]["files"]) == {"visual.npy", "visual.csv"}
    assert corpus.utterance(0) == "No, bribes! 0"


def test_the_same_files_give_the_same_bytes(files):
    words = command("--features", "audio=audio.npz", "--encoder", "none")
    assert main(words) == 0
    first = (files / "out.safetensors").read_bytes()
    assert main(words) == 0
    assert (files / "out.safetensors").read_bytes() == first


def test_a_transcript_is_predicted_with_the_corpus_features(encoder):
    from rigsl.data.open.meld import transcript_of
    from rigsl.data.open.transcript_features import features_like

    corpus = Corpus.from_frame(transcript(), name="TALKS", encoder=str(encoder))
    rows = transcript().rename(columns={"text": "Utterance", "speaker": "Speaker"})
    rows = rows.assign(label=0, split=0, start=np.nan, end=np.nan)
    features = features_like(corpus, transcript_of(rows), "ld", str(encoder))
    for key, array in features.items():
        np.testing.assert_array_equal(array, corpus.features[key])


def test_a_corpus_trains_and_predicts(files):
    assert main(command("--features", "audio=audio.npz", "visual=visual.npy", "--encoder", "none")) == 0
    corpus = rigsl.Corpus.load(files / "out.safetensors")
    result = rigsl.fit(TINY, corpus)
    assert rigsl.predict(result.model, corpus).shape == (80, 3)


def test_three_made_up_modalities_train(files):
    given = {name: vectors(width=width) for name, width in (("pulse", 2), ("face", 3), ("skin-2", 4))}
    corpus = of_frame(transcript(), features=given)
    assert {key: array.shape[1] for key, array in corpus.features.items()} == {
        "face": 3,
        "pulse": 2,
        "skin-2": 4,
    }
    corpus.save(files / "TALKS.safetensors")
    found = rigsl.load_corpus("talks", data_dir=files)
    result = rigsl.fit(TINY.replace(modals="pulse,face,skin-2"), found)
    assert rigsl.predict(result.model, found).shape == (80, 3)


def test_hundreds_of_speakers_forty_classes_and_dialogues_of_one_utterance():
    classes = tuple(f"class {index:02d}" for index in range(40))
    frame = transcript(dialogues=300, turns=4, classes=classes)
    frame["speaker"] = [f"speaker {index}" for index in range(len(frame))]
    alone = pd.DataFrame(
        [
            {"dialogue": f"one{i}", "utterance_id": 0, "speaker": "A", "text": "hi", "emotion": "class 00"}
            for i in range(40)
        ]
    )
    crowd = transcript(dialogues=1, turns=400, classes=classes).assign(dialogue="crowd")
    crowd["speaker"] = crowd.index.astype(str)
    frame = pd.concat([frame, alone, crowd])
    corpus = of_frame(frame)
    assert corpus.classes == classes
    assert corpus.schema.n_speakers == 400
    assert np.sort(corpus.lengths)[[0, 39, 40, -1]].tolist() == [1, 1, 4, 400]
    result = rigsl.fit(TINY.replace(modals="a"), corpus)
    assert rigsl.predict(result.model, corpus).shape == (len(frame), 40)


def test_dialogues_are_together_and_in_the_order_of_their_numbers():
    frame = transcript()
    shuffled = frame.sample(frac=1.0, random_state=0)
    array = vectors()[shuffled.index]
    corpus = of_frame(shuffled, features={"audio": array})
    names = shuffled["dialogue"].unique().tolist()
    assert list(corpus.dialogue_ids) == names
    texts = [corpus.utterance(row) for row in range(4)]
    assert texts == frame[frame["dialogue"] == names[0]]["text"].tolist()
    straight = of_frame(frame)
    row = straight.offsets[straight.dialogue_ids.index(names[0])]
    assert np.corrcoef(corpus.features["a"][0], straight.features["a"][row])[0, 1] > 0.9


def test_speakers_are_numbered_by_dialogue():
    frame = transcript()
    frame.loc[frame["dialogue"] == "d1", "speaker"] = ["Ann", "Ann", "Bob", "Ann"]
    corpus = of_frame(frame)
    assert corpus.speakers[:8].tolist() == [0, 1, 0, 1, 0, 0, 1, 0]


def test_labels_that_the_features_saw_are_recorded_and_refuse_folds_of_train():
    assert folds_refused(of_frame(transcript()), 2) == ""
    told = of_frame(transcript(), labels_seen=["train"])
    assert "in-sample" in folds_refused(told, 2)


def test_one_file_for_each_split(files):
    names = {"train": 14, "valid": 3, "test": 3}
    frames, begin = {}, 0
    for name, count in names.items():
        part = transcript()[begin * 4 : (begin + count) * 4]
        part = part.assign(dialogue=part["dialogue"].str[1:].astype(int) - begin)  # numbered from 0 in each
        part.to_csv(f"{name}_talks.csv", index=False)
        frames[name], begin = part, begin + count
    paths = [files / f"{name}_talks.csv" for name in names]
    together = pd.concat(
        part.assign(dialogue=f"{'dev' if name == 'valid' else name}_" + part["dialogue"].astype(str))
        for name, part in frames.items()
    )
    write_npz(files / "audio.npz", together, vectors())
    features = {"audio": files / "audio.npz"}
    by_name = build_from_files(paths, PLAIN, features=features)
    by_word = build_from_files(paths, PLAIN, features=features, splits=["train", "val", "test"])
    of_frames = Corpus.from_frame(frames, {"audio": vectors()}, name="TALKS", encoder=None)
    assert by_name.content_hash() == by_word.content_hash() == of_frames.content_hash()
    assert by_name.dialogue_ids[:1] + by_name.dialogue_ids[14:15] == ("train_0", "dev_0")
    assert np.bincount(by_name.splits).tolist() == [14, 3, 3]


def test_two_files_of_one_split_must_not_share_a_dialogue(files):
    names = ["a", "b", "c"]
    for name in names:  # no numbers of utterances: the dialogues would become one
        transcript().drop(columns="utterance_id").to_csv(f"{name}.csv", index=False)
    paths = [files / f"{name}.csv" for name in names]
    features = {"audio": files / "audio.npz"}
    with pytest.raises(UserError, match=r"b\.csv, row 1: dialogue 'train_d0' is in another file, too"):
        build_from_files(paths, PLAIN, features=features, splits=["train", "train", "test"])


def test_a_split_column_is_taken_as_it_is():
    frame = transcript()
    frame["Partition"] = ["train"] * 48 + ["VAL"] * 16 + ["test"] * 16
    assert np.bincount(of_frame(frame).splits).tolist() == [12, 4, 4]
    named = frame.rename(columns={"Partition": "part"})
    assert of_frame(named, columns={"split": "part"}).content_hash() == of_frame(frame).content_hash()


def test_a_missing_dev_split_is_drawn_from_train():
    frame = transcript()
    frame["split"] = ["train"] * 64 + ["test"] * 16
    corpus = of_frame(frame)
    assert np.bincount(corpus.splits).tolist() == [14, 2, 4]
    assert corpus.splits[-4:].tolist() == [2] * 4
    assert corpus.provenance["splits"]["how"].startswith("train and test given, dev drawn from train")


def test_drawn_splits_are_of_whole_dialogues_with_the_shares_of_the_classes():
    frame = transcript(dialogues=500, classes=("joy", "joy", "joy", "joy", "joy", "joy", "awe"))
    corpus = of_frame(frame)
    assert np.bincount(corpus.splits).tolist() == [400, 50, 50]
    rows = np.repeat(corpus.splits, corpus.lengths)
    shares = [np.mean(corpus.labels[rows == split] == 0) for split in range(3)]
    np.testing.assert_allclose(shares, 1 / 7, atol=0.01)
    assert splits_of(corpus) == splits_of(of_frame(frame))
    assert splits_of(corpus) != splits_of(of_frame(frame, seed=1))
    assert corpus.provenance["splits"] == {
        "how": "drawn by dialogue, stratified by class",
        "seed": 0,
        "tenths": {"train": 8, "dev": 1, "test": 1},
    }


@pytest.mark.parametrize("seed", range(10))
def test_a_class_of_one_dialogue_is_in_train(seed):
    frame = transcript(dialogues=30)
    frame.loc[[50, 51], "emotion"] = "awe"
    corpus = of_frame(frame, seed=seed)
    assert splits_of(corpus)["d12"] == "train"
    assert np.bincount(corpus.splits, minlength=3).min() > 0


def test_classes_are_in_alphabetical_order_and_numbers_in_that_of_their_size():
    assert of_frame(transcript()).classes == CLASSES
    frame = transcript()
    frame["emotion"] = [(10.0, 9.0, 2.0, 1.0)[i % 4] for i in range(80)]
    assert of_frame(frame).classes == ("1", "2", "9", "10")
    frame = transcript()
    frame["emotion"] = ["Joy", " joy ", "JOY", "Anger"] * 20
    corpus = of_frame(frame)
    assert corpus.classes == ("Anger", "Joy")
    assert corpus.labels[:4].tolist() == [1, 1, 1, 0]


def test_a_label_of_two_words_is_one_label():
    frame = transcript()
    frame["emotion"] = ["happy/excited", "sad, tired", "neutral", "awe"] * 20
    assert of_frame(frame).classes == ("awe", "happy/excited", "neutral", "sad, tired")
