"""The official feature files become a corpus with the very numbers in them, or a sentence."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from rigsl.cli.main import main
from rigsl.data.corpus import SPLITS
from rigsl.data.official import corpus as official
from rigsl.data.official.files import LAYOUTS
from rigsl.data.source import load_corpus
from rigsl.errors import UserError
from tests.helpers.official_files import (
    DEV,
    TEST,
    TRAIN,
    dump_numpy1,
    dump_protocol5,
    dump_python2,
    official_items,
    write_official,
)

BOTH = pytest.mark.parametrize("dataset", ["IEMOCAP", "MELD"])


@BOTH
@pytest.mark.parametrize("dump", [pickle.dump, dump_numpy1, dump_protocol5, dump_python2])
def test_the_numbers_of_the_files(tmp_path, dataset, dump):
    features, roberta = items = official_items(dataset)
    write_official(tmp_path, dataset, items, dump)
    corpus = load_corpus(dataset, "official", tmp_path)
    corpus.check()
    for split, expected in zip(SPLITS, (TRAIN, DEV, TEST), strict=True):
        dialogues = [corpus.dialogue_ids[i] for i in corpus.dialogues(split)]
        assert dialogues == [str(key) for key in expected[dataset]]  # in the order of the lists
    first_view = {"IEMOCAP": 2, "MELD": 3}[dataset]
    for index, name in enumerate(corpus.dialogue_ids):
        key = name if dataset == "IEMOCAP" else int(name)
        rows = slice(corpus.offsets[index], corpus.offsets[index + 1])
        for view in range(4):
            np.testing.assert_array_equal(corpus.features["l"][rows, view], roberta[first_view + view][key])
        np.testing.assert_array_equal(corpus.features["a"][rows], np.float32(features[4][key]))
        np.testing.assert_array_equal(corpus.features["v"][rows], features[5][key])
        assert corpus.labels[rows].tolist() == features[2][key]
        assert corpus.utterance(rows.start) == features[6][key][0]
        raw = features[1][key]
        speakers = [0 if s == "M" else 1 for s in raw] if dataset == "IEMOCAP" else np.argmax(raw, axis=1)
        assert corpus.speakers[rows].tolist() == list(speakers)


def test_the_schema_of_the_files(tmp_path):
    for dataset, first, speakers, audio in (("IEMOCAP", "first", 2, 1582), ("MELD", "mean", 9, 300)):
        schema = load_corpus(dataset, "official", write_official(tmp_path, dataset)).schema
        assert schema.widths == {"l": 1024, "a": audio, "v": 342}
        assert (schema.text_views, schema.text_default, schema.n_speakers) == (4, first, speakers)
    assert LAYOUTS["IEMOCAP"].classes == ("hap", "sad", "neu", "ang", "exc", "fru")
    assert schema.classes == ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")


@BOTH
def test_lists_may_be_sets_and_files_may_lie_in_a_subfolder(tmp_path, dataset):
    features, roberta = official_items(dataset)
    features[7] = set(features[7])
    write_official(tmp_path / dataset.lower(), dataset, (features, roberta), dump_python2)
    corpus = load_corpus(dataset, "auto", tmp_path)
    assert corpus.name == f"{dataset}-official"
    ids = [key if dataset == "IEMOCAP" else int(key) for key in corpus.dialogue_ids]
    assert ids == [*sorted(features[7]), *TEST[dataset]]


@BOTH
def test_arrays_may_stand_for_lists(tmp_path, dataset):
    features, roberta = official_items(dataset)
    expected = load_corpus(dataset, "official", write_official(tmp_path / "lists", dataset)).content_hash()
    features[1] = {key: np.array(value) for key, value in features[1].items()}
    if dataset == "IEMOCAP":
        features[1] = {key: value.astype("S1") for key, value in features[1].items()}
    features[2] = {np.int64(key) if dataset == "MELD" else key: np.array(v) for key, v in features[2].items()}
    for key, rows in features[4].items():
        features[4][key] = np.empty(len(rows), dtype=object)
        features[4][key][:] = rows
    features[7], features[8], roberta[-1] = (np.array(ids) for ids in (features[7], features[8], roberta[-1]))
    write_official(tmp_path / "arrays", dataset, (features, roberta), dump_python2)
    assert load_corpus(dataset, "official", tmp_path / "arrays").content_hash() == expected


def test_files_are_converted_once(tmp_path, monkeypatch):
    write_official(tmp_path, "IEMOCAP")
    converted = load_corpus("IEMOCAP", "official", tmp_path)
    with monkeypatch.context() as blind:
        blind.setattr(official, "read_items", None)
        again = load_corpus("IEMOCAP", "official", tmp_path)
    assert again.content_hash() == converted.content_hash()
    assert again.schema == converted.schema
    assert again.provenance == converted.provenance
    changed = official_items("IEMOCAP", seed=1)
    write_official(tmp_path, "IEMOCAP", changed)
    assert load_corpus("IEMOCAP", "official", tmp_path).content_hash() != converted.content_hash()


def test_a_damaged_converted_file_is_converted_again(tmp_path):
    write_official(tmp_path, "IEMOCAP")
    expected = load_corpus("IEMOCAP", "official", tmp_path).content_hash()
    (file,) = (tmp_path / ".corpus").iterdir()
    file.unlink()  # it may be mapped
    file.write_bytes(b"short")
    assert load_corpus("IEMOCAP", "official", tmp_path).content_hash() == expected


def test_it_works_in_a_folder_that_cannot_hold_the_converted_file(tmp_path):
    write_official(tmp_path, "MELD")
    (tmp_path / ".corpus").write_text("no folder")
    assert load_corpus("MELD", "official", tmp_path).name == "MELD-official"


def _broken(change):
    items = official_items("IEMOCAP")
    change(*items)
    return items


def _set(file, item, key, value):
    def change(*items):
        items[file][item][key] = value

    return change


def _whole(file, item, value):
    def change(*items):
        items[file][item] = value

    return change


def _drop(file, item, key):
    return lambda *items: items[file][item].pop(key)


ONE, TWO = "Ses02M_script01", "Ses01F_impro01"  # of one and of two utterances
NAN = np.full((1, 342), np.nan, dtype=np.float32)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            _set(0, 5, ONE, NAN),
            rf"IEMOCAP_features\.pkl: item 6 \(visual\) of dialogue '{ONE}': utterance 0",
        ),
        (_set(0, 4, ONE, [[1e300] * 1582]), r"item 5 \(audio\) .* utterance 0 has NaN or infinity"),
        (_set(0, 4, ONE, np.zeros((1, 100))), r"item 5 \(audio\) .* shape \[1, 100\], not rows of 1582"),
        (
            _set(1, 3, TWO, np.zeros(1024)),
            r"roberta\.pkl: item 4 \(roberta2\) .* has 1024 entries for 2 labels",
        ),
        (_set(1, 3, ONE, [None]), r"item 4 \(roberta2\) .* has the shape|does not hold rows of 1024"),
        (_set(1, 3, ONE, ["text"]), r"item 4 \(roberta2\) .* does not hold rows of 1024 numbers"),
        (_set(1, 3, TWO, [[1.0], [1.0, 2.0]]), r"item 4 \(roberta2\) .* does not hold rows of 1024 numbers"),
        (_set(0, 2, ONE, [6]), r"item 3 \(labels\) .* 6 of utterance 0 is not 0 to 5"),
        (_set(0, 2, ONE, [-1]), r"item 3 \(labels\) .* -1 of utterance 0 is not 0 to 5"),
        (_set(0, 2, ONE, []), r"item 3 \(labels\) .* not a list of numbers"),
        (_set(0, 1, ONE, ["X"]), r"item 2 \(speakers\) .* 'X' is not 'M' or 'F'"),
        (_set(0, 6, ONE, ["a", "b"]), r"item 7 \(sentences\) .* has 2 entries for 1 label$"),
        (_set(0, 6, ONE, [["deep"]]), r"item 7 \(sentences\) .* has a list where text should be"),
        (_set(0, 1, ONE, [None]), r"item 2 \(speakers\) .* has a NoneType where text should be"),
        (
            lambda features, _: features[4].update({None: 1, b"x": 2}),
            r"item 5 \(audio\) has dialogue None, for which",
        ),
        (_drop(1, 2, ONE), rf"item 3 \(roberta1\) lacks dialogue '{ONE}'"),
        (_drop(0, 2, ONE), rf"has dialogue '{ONE}', for which IEMOCAP_features.pkl has no labels"),
        (_whole(0, 4, [1, 2]), r"item 5 \(audio\) is a list, not a dict of dialogues"),
        (_whole(0, 8, ["Ses09"]), r"item 9 \(testVid\) names dialogue 'Ses09', which has no labels"),
        (_whole(0, 8, [ONE]), rf"item 9 \(testVid\) names dialogue '{ONE}', which is also in trainVid"),
        (_whole(1, 9, []), r"roberta\.pkl: item 10 \(validIds\) is empty"),
        (_whole(1, 9, None), r"item 10 \(validIds\) is a NoneType"),
        (_whole(1, 9, TEST["IEMOCAP"]), r"item 10 \(validIds\) names .*, which is a test dialogue"),
        (_whole(1, 9, ["Ses09"]), r"item 10 \(validIds\) names dialogue 'Ses09', which is not in trainVid"),
        (_whole(1, 9, [ONE, ONE]), r"item 10 \(validIds\) names a dialogue twice"),
        (_whole(1, 9, [[1]]), r"item 10 \(validIds\) .* something that is not a name"),
        (
            lambda _, roberta: roberta.pop(),
            r"iemocap_features_roberta\.pkl: has 9 items, not 10 \(speakers",
        ),
    ],
)
def test_an_error_is_named_with_file_and_item(tmp_path, change, says):
    write_official(tmp_path, "IEMOCAP", _broken(change))
    with pytest.raises(UserError, match=says):
        load_corpus("IEMOCAP", "official", tmp_path)


def test_one_hot_speakers_are_checked(tmp_path):
    features, roberta = official_items("MELD")
    features[1][1] = [[1, 1, 0, 0, 0, 0, 0, 0, 0]]
    write_official(tmp_path, "MELD", (features, roberta))
    with pytest.raises(UserError, match=r"item 2 \(speakers\) of dialogue 1 are not one-hot rows"):
        load_corpus("MELD", "official", tmp_path)


def test_one_of_two_files_is_not_enough(tmp_path):
    write_official(tmp_path, "MELD")
    (tmp_path / "meld_features_roberta.pkl").unlink()
    for features in ("auto", "official"):
        with pytest.raises(UserError, match=r"is there, but meld_features_roberta\.pkl is not beside it"):
            load_corpus("MELD", features, tmp_path)


@pytest.mark.parametrize("damage", ["cut", "system", "width"])
def test_a_bad_file_ends_a_command_with_one_sentence_and_exit_code_2(tmp_path, capsys, damage):
    items = official_items("IEMOCAP")
    if damage == "width":
        items[1][2][ONE] = np.zeros((1, 768))
    write_official(tmp_path, "IEMOCAP", items)
    path = tmp_path / "IEMOCAP_features.pkl"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    if damage == "system":
        path.write_bytes(b"cos\nsystem\n(S'touch %s'\ntR." % str(tmp_path / "ran").encode())
    out = tmp_path / "model"
    arguments = ["--dataset", "IEMOCAP", "--data-dir", str(tmp_path), "--device", "cpu", "--out", str(out)]
    assert main(["train", *arguments]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    assert "features" in shown
    assert not (tmp_path / "ran").exists()
    assert not out.exists()
