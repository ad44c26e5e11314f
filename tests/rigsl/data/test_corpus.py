"""A corpus file is exact, read in place, and refuses what does not fit."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

from rigsl.data.corpus import Corpus
from rigsl.data.tensor_file import write_arrays
from rigsl.errors import UserError
from tests.helpers.corpora import toy_corpus


@pytest.fixture
def corpus():
    return dataclasses.replace(toy_corpus(), provenance={"from": "a test"})


@pytest.fixture
def file(corpus, tmp_path):
    path = tmp_path / "toy.safetensors"
    corpus.save(path)
    return path


def arrays(corpus):
    rest = ("labels", "speakers", "offsets", "splits", "text", "text_offsets")
    return {**corpus.features, **{name: getattr(corpus, name) for name in rest}}


def test_what_is_saved_is_loaded(corpus, file):
    loaded = Corpus.load(file)
    for name, array in arrays(corpus).items():
        assert arrays(loaded)[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays(loaded)[name], array)
    assert loaded.dialogue_ids == corpus.dialogue_ids
    assert loaded.schema == corpus.schema
    assert loaded.provenance == {"from": "a test"}
    assert loaded.utterance(3) == "x"


def test_equal_corpora_give_equal_files(corpus, file, tmp_path):
    again = tmp_path / "again.safetensors"
    Corpus.load(file).save(again)
    assert again.read_bytes() == file.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.safetensors", "toy.safetensors"]


def test_safetensors_reads_the_file(corpus, file):
    from safetensors.numpy import load_file

    np.testing.assert_array_equal(load_file(file)["features.l"], corpus.features["l"])


def test_arrays_are_plain_read_only_and_in_the_map(file):
    for array in arrays(Corpus.load(file)).values():
        assert type(array) is np.ndarray
        assert not array.flags.writeable
        assert isinstance(origin(array), np.memmap)


def origin(array):
    while type(array) is np.ndarray and array.base is not None:
        array = array.base
    return array


def test_the_hash_is_that_of_the_content(corpus, file):
    original = corpus.content_hash()
    assert Corpus.load(file).content_hash() == original
    assert dataclasses.replace(corpus, provenance={}).content_hash() == original
    assert dataclasses.replace(corpus, text_default="first").content_hash() != original
    halves = {letter: array.astype(np.float16) for letter, array in corpus.features.items()}
    assert dataclasses.replace(corpus, features=halves).content_hash() != original
    assert corpus.without_test_labels().content_hash() != original


def test_pickle_takes_the_arrays_out_of_band(corpus, file):
    buffers = []
    data = pickle.dumps(Corpus.load(file), protocol=5, buffer_callback=buffers.append)
    assert len(buffers) >= len(arrays(corpus))
    assert len(data) < 5000
    assert pickle.loads(data, buffers=buffers).content_hash() == corpus.content_hash()


def test_without_test_labels_only_the_test_is_hidden(corpus):
    hidden = corpus.without_test_labels()
    split = np.repeat(corpus.splits, corpus.lengths)
    assert (hidden.labels[split == 2] == -1).all()
    np.testing.assert_array_equal(hidden.labels[split != 2], corpus.labels[split != 2])
    assert (corpus.labels >= 0).all()


def test_splits_hold_every_dialogue_once(corpus):
    parts = [corpus.dialogues(split) for split in ("train", "dev", "test")]
    assert sorted(np.concatenate(parts)) == list(range(len(corpus.dialogue_ids)))
    with pytest.raises(UserError, match="'valid' is not a split"):
        corpus.dialogues("valid")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_refused_by_name(file, keep):
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"toy\.safetensors: "):
        Corpus.load(file)


@pytest.mark.parametrize(
    "content",
    [
        b"hello, this is a text",
        b"\x02" + b"\0" * 7 + b"{}",
        b"\xff" * 64,
        (10**5).to_bytes(8, "little") + b"[" * 10**5,  # a header in a header in a header
    ],
    ids=range(4),
)
def test_another_file_is_refused_by_name(file, content):
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"toy\.safetensors: is damaged"):
        Corpus.load(file)


def test_a_safetensors_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    write_arrays(path, {"weight": np.zeros(3)}, {"name": "other"})
    with pytest.raises(UserError, match=r"other\.safetensors: lacks .*labels"):
        Corpus.load(path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"classes": 5}, "classes"),
        ({"classes": [[1]]}, "classes"),
        ({"dialogue_ids": [[1]]}, "dialogue_ids"),
        ({"name": None}, "name"),
        ({"n_speakers": "2"}, "n_speakers"),
        ({"provenance": []}, "provenance"),
        ({"provenance": None}, "provenance"),
        ({"provenance": {"emotions": "x"}}, "provenance emotions"),
        ({"provenance": {"emotions": {"labels_seen": []}}}, "provenance labels_seen"),
        ({"provenance": {"labels_seen": "x"}}, "provenance labels_seen"),
        ({"provenance": {"features": {"d": 3}}}, "provenance features"),
        ({"provenance": {"splits": 4}}, "provenance splits"),
    ],
    ids=str,
)
def test_an_entry_of_another_kind_is_refused_by_name(file, changes, named):
    from rigsl.data.tensor_file import map_arrays, write_arrays

    arrays, content = map_arrays(file)
    write_arrays(file, {name: np.array(array) for name, array in arrays.items()}, content | changes)
    with pytest.raises(UserError, match=rf"toy\.safetensors: is damaged \(its {named} is of another kind\)"):
        Corpus.load(file)


@pytest.mark.parametrize("name", ["l", "d"])
def test_altered_features_are_found(corpus, file, name):
    """They are still numbers: the corpus is as valid as before, and says something else."""
    data = bytearray(file.read_bytes())
    array = corpus.features[name].tobytes()
    start = data.index(array) + len(array) // 2
    data[start] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"toy\.safetensors: is damaged \(its content .* hash\); build"):
        Corpus.load(file)
    assert Corpus.load(file, verify=False).content_hash() != corpus.content_hash()


def test_an_altered_text_is_found(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1  # the last array is bytes of text or a split: still a valid corpus, or none
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"toy\.safetensors: "):
        Corpus.load(file)


def test_a_missing_file_and_folder_are_named(corpus, tmp_path):
    with pytest.raises(UserError, match=r"none\.safetensors: cannot be read \(No such file"):
        Corpus.load(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match=r"c\.safetensors: cannot be written"):
        corpus.save(tmp_path / "nowhere" / "c.safetensors")


def changed(array, place, value):
    copy = array.copy()
    copy[place] = value
    return copy


@pytest.mark.parametrize(
    ("name", "place", "value", "complaint"),
    [
        ("labels", 2, 4, "label 4 of utterance 2 is not 0 to 3"),
        ("labels", 0, -1, "label -1 of utterance 0"),  # only test labels may be hidden
        ("offsets", 1, 0, "offsets do not cut"),
        ("offsets", -1, 9, "offsets do not cut"),
        ("text_offsets", 1, 99, "text_offsets do not cut"),
        ("splits", 0, 3, "split 3 of a dialogue is not 0 to 2"),
        ("speakers", 0, -1, "speaker"),
    ],
)
def test_a_wrong_value_is_named(corpus, name, place, value, complaint):
    with pytest.raises(UserError, match=complaint):
        dataclasses.replace(corpus, **{name: changed(getattr(corpus, name), place, value)})


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("name", "toy\n# x", r"name: 'toy\\n# x' has a control character"),
        ("name", 5, "its name is of another kind"),
        ("classes", ("a", "b", "c", "\x1b[31md"), r"classes: '\\x1b\[31md' has a control character"),
        ("classes", ("a", "b", "c", "a"), "classes are not 4 different names"),
        ("classes", ("a", "b", "c", 4), "its classes is of another kind"),
        ("classes", 4, "its classes is of another kind"),
        ("dialogue_ids", ({}, []), "its dialogue_ids is of another kind"),
        ("provenance", [], "its provenance is of another kind"),
        ("n_speakers", "two", "its n_speakers is of another kind"),
        ("text_default", [], "its text_default is of another kind"),
    ],
)
def test_a_name_of_a_file_of_others_is_refused(corpus, tmp_path, name, value, complaint):
    content = corpus._metadata() | {"provenance": {}, "content_hash": ""} | {name: value}
    write_arrays(tmp_path / "c.safetensors", corpus._arrays(), content)
    with pytest.raises(UserError, match=rf"(?s)c\.safetensors: .*{complaint}"):
        Corpus.load(tmp_path / "c.safetensors")


def test_a_wrong_shape_or_type_is_named(corpus):
    text, delivery = corpus.features["l"], corpus.features["d"]
    for features, complaint in (
        ({"l": text[:, 0]}, "'l' have the shape"),
        ({"d": delivery[1:]}, "'d' have the shape"),
        ({"d": delivery.astype(np.float64)}, "'d' are float64"),
        ({"my face": delivery}, "'my face' is not a modality: it is not a name"),
        ({"vad": delivery}, "'vad' is not a modality: it is made of the letters that stand for text, audio"),
        ({"face": text}, "'face' have the shape"),
        ({"l": text, "text": text}, "two features of text"),
        ({}, "no features"),
    ):
        with pytest.raises(UserError, match=complaint):
            dataclasses.replace(corpus, features=features)
    with pytest.raises(UserError, match="labels is int32"):
        dataclasses.replace(corpus, labels=corpus.labels.astype(np.int32))


def test_a_modality_has_any_name_and_four_have_letters(corpus, tmp_path):
    text, delivery = corpus.features["l"], corpus.features["d"]
    named = dataclasses.replace(corpus, features={"delivery": delivery, "text": text[:, 0]})
    assert named.content_hash() == corpus.content_hash()
    assert named.schema == corpus.schema
    own = dataclasses.replace(corpus, features={"pulse": delivery, "l": text})
    own.save(tmp_path / "own.safetensors")
    again = Corpus.load(tmp_path / "own.safetensors")
    assert again.schema.widths == {"l": text.shape[-1], "pulse": delivery.shape[-1]}
    assert again.content_hash() == own.content_hash() != corpus.content_hash()


def test_check_finds_the_utterance_that_is_not_finite(corpus):
    corpus.check()
    text = changed(corpus.features["l"], (7, 0, 1), np.nan)
    with pytest.raises(UserError, match="text features of utterance 7"):
        dataclasses.replace(corpus, features=corpus.features | {"l": text}).check()


def test_text_that_is_no_text_is_refused_in_a_name_and_shown_in_an_utterance(corpus):
    with pytest.raises(UserError, match="or is no text; rename it"):
        dataclasses.replace(corpus, classes=("a", "b", "c", "\ud800"))
    damaged = dataclasses.replace(corpus, text=np.full_like(corpus.text, 0xFF))
    assert set(damaged.utterance(0)) == {"\ufffd"}
