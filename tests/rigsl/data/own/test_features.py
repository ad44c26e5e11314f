"""Features of any form are joined by dialogue and utterance, filled on request, and scaled on train alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rigsl.data.corpus import SPLITS, Corpus
from rigsl.data.own.description import missing_rows
from rigsl.data.own.features.clips import clip_name
from rigsl.data.scaling import LIMIT
from rigsl.errors import UserError
from tests.helpers.own_files import DIALOGUES, TURNS, transcript, vectors, write_npz

FRAME, VALUES = transcript(), vectors()
COLUMNS = [f"x{index}" for index in range(5)]
SHUFFLED = np.random.default_rng(1).permutation(len(FRAME))


def of(features, frame=FRAME, **more):
    return Corpus.from_frame(frame, {"audio": features}, encoder=None, **more)


@pytest.fixture(scope="module")
def expected():
    return of(VALUES).features["a"]


def _table():
    keys = FRAME[["dialogue", "utterance_id"]]
    return pd.concat([keys, pd.DataFrame(VALUES, columns=COLUMNS)], axis=1).iloc[SHUFFLED]


def _npy(folder, suffix):
    np.save(folder / "audio.npy", VALUES[SHUFFLED])
    index = FRAME[["dialogue", "utterance_id"]].iloc[SHUFFLED]
    index.to_csv(folder / "audio.csv", index=False) if suffix == "csv" else index.to_parquet(
        folder / "audio.parquet"
    )
    return folder / "audio.npy"


def _written(folder, name, frame, **more):
    frame.to_csv(folder / name, index=False, **more)
    return folder / name


def _parquet(folder, frame):
    frame.to_parquet(folder / "audio.parquet")
    return folder / "audio.parquet"


def _by_dialogue(folder):
    np.savez(folder / "audio.npz", **{f"d{d}": VALUES[d * TURNS : (d + 1) * TURNS] for d in range(DIALOGUES)})
    return folder / "audio.npz"


def _by_clip(folder):
    pairs = zip(FRAME["dialogue"], FRAME["utterance_id"], VALUES, strict=True)
    np.savez(folder / "audio.npz", **{f"{dialogue}_{turn}": vector for dialogue, turn, vector in pairs})
    return folder / "audio.npz"


def _clips():
    return FRAME["dialogue"] + "_" + FRAME["utterance_id"].astype(str)


def _opensmile(folder):
    """SMILExtract -csvoutput: names between apostrophes, semicolons."""
    frame = pd.DataFrame(VALUES, columns=COLUMNS)
    frame.insert(0, "name", "'" + _clips() + "'")
    frame.insert(1, "frameTime", 0.0)
    return _written(folder, "audio.csv", frame.iloc[SHUFFLED], sep=";")


def _opensmile_python(folder):
    """The Python package: file, start and end before the features."""
    frame = pd.DataFrame(VALUES, columns=COLUMNS)
    frame.insert(0, "file", "wav/" + _clips() + ".wav")
    frame.insert(1, "start", "0 days 00:00:00")
    frame.insert(2, "end", "0 days 00:00:01.5")
    return _written(folder, "audio.csv", frame)


FORMS = {
    "npz with names": lambda folder: write_npz(folder / "a.npz", FRAME.iloc[SHUFFLED], VALUES[SHUFFLED]),
    "npz by dialogue": _by_dialogue,
    "npz by clip": _by_clip,
    "npy and CSV": lambda folder: _npy(folder, "csv"),
    "npy and Parquet": lambda folder: _npy(folder, "parquet"),
    "CSV": lambda folder: _written(folder, "audio.csv", _table()),
    "TSV": lambda folder: _written(folder, "audio.tsv", _table(), sep="\t"),
    "Parquet": lambda folder: _parquet(folder, _table()),
    "Parquet of lists": lambda folder: _parquet(
        folder, FRAME[["dialogue", "utterance_id"]].assign(vector=list(VALUES)).iloc[SHUFFLED]
    ),
    "openSMILE": _opensmile,
    "openSMILE's Python": _opensmile_python,
    "a data frame": lambda folder: _table(),
    "a dict": lambda folder: {
        (dialogue, turn): vector
        for dialogue, turn, vector in zip(FRAME["dialogue"], FRAME["utterance_id"], VALUES, strict=True)
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_features(form, tmp_path, expected):
    np.testing.assert_array_equal(of(FORMS[form](tmp_path)).features["a"], expected)


def test_frames_of_openface_are_pooled(tmp_path):
    """A file for each clip; only frames with a face count."""
    rng = np.random.default_rng(0)
    (tmp_path / "faces").mkdir()
    pooled = np.empty((len(FRAME), 4))
    for row, clip in enumerate(_clips()):
        frames = rng.normal(row % 7, 1.0, (6, 2))
        good = np.array([1, 1, 0, 1, 1, 1])
        frame = pd.DataFrame(frames, columns=[" AU01_r", " gaze_0_x"]).round(6)
        pooled[row] = np.concatenate([frame[good == 1].mean(), frame[good == 1].std(ddof=0)])
        frame.insert(0, "frame", range(1, 7))
        for name, values in (
            (" face_id", 0),
            (" timestamp", 0.04),
            (" confidence", 0.98),
            (" success", good),
        ):
            frame[name] = values
        frame.to_csv(tmp_path / "faces" / f"{clip}.csv", index=False)
    corpus = of(tmp_path / "faces")
    np.testing.assert_array_equal(corpus.features["a"], of(pooled).features["a"])
    assert corpus.provenance["features"]["a"]["columns"] == [
        "AU01_r_mean",
        "gaze_0_x_mean",
        "AU01_r_std",
        "gaze_0_x_std",
    ]
    assert len(corpus.provenance["features"]["a"]["files"]) == len(FRAME)


def test_features_are_scaled_on_train_alone():
    corpus = of(VALUES)
    rows = np.repeat(corpus.splits, corpus.lengths)
    train = corpus.features["a"][rows == 0].astype(np.float64)
    np.testing.assert_allclose(train.mean(axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(train.std(axis=0), 1.0, atol=1e-3)
    changed = np.where((rows == 0)[:, None], VALUES, 1e6)
    other = of(changed).features["a"]
    np.testing.assert_array_equal(other[rows == 0], corpus.features["a"][rows == 0])
    assert (other[rows != 0] == LIMIT).all()
    record = corpus.provenance["features"]["a"]
    assert record["standardised_on"] == "train"
    np.testing.assert_allclose(record["mean_of_train"], VALUES[rows == 0].mean(axis=0), rtol=1e-5)


def test_missing_rows_are_filled_and_marked():
    gone = [3, 40, 79]
    values = VALUES.copy()
    values[gone[1], 2] = np.inf  # one number of a vector
    table = _table_of(values).drop(index=[gone[0], gone[2]])
    with pytest.raises(UserError, match=r"row 4\).*row 41\).* and .*row 80\); add them, or fill them"):
        of(table)
    corpus = of(table, missing="mean")
    features = corpus.features["a"]
    assert features.shape == (80, 6)
    assert np.flatnonzero(features[:, -1]).tolist() == gone
    assert not features[[gone[0], gone[2]], :5].any()
    assert features[gone[1], 2] == 0
    assert features[gone[1], [0, 1, 3, 4]].all()
    np.testing.assert_array_equal(np.flatnonzero(missing_rows(corpus)["a"]), gone)
    record = corpus.provenance["features"]["a"]
    rows = np.repeat(corpus.splits, corpus.lengths)
    assert record["missing"] == {
        split: int((rows[gone] == index).sum()) for index, split in enumerate(SPLITS)
    }
    known = (rows == 0) & ~np.isin(np.arange(80), gone)
    np.testing.assert_allclose(
        record["mean_of_train"][0], VALUES[known | (np.arange(80) == 40) & (rows == 0)][:, 0].mean()
    )


def _table_of(values):
    return pd.concat([FRAME[["dialogue", "utterance_id"]], pd.DataFrame(values, columns=COLUMNS)], axis=1)


def test_without_missing_rows_there_is_no_indicator(expected):
    corpus = of(VALUES, missing="mean")
    np.testing.assert_array_equal(corpus.features["a"], expected)
    assert missing_rows(corpus) == {}


def test_vectors_of_no_utterance_are_counted():
    more = pd.concat([_table_of(VALUES), _table_of(VALUES)[:3].assign(dialogue="other")])
    assert of(more).provenance["features"]["a"]["unused_rows"] == 3


def test_the_four_modalities_with_a_letter_have_it():
    given = dict.fromkeys(("text", "audio", "visual", "delivery"), VALUES)
    corpus = Corpus.from_frame(FRAME, given, encoder=None)
    assert {key: array.shape for key, array in corpus.features.items()} == {
        "a": (80, 5),
        "d": (80, 5),
        "l": (80, 1, 5),
        "v": (80, 5),
    }


def test_utterances_of_clips_by_their_own_names(expected):
    frame = FRAME.assign(utterance_id=[f"Ses01_F{row:03d}" for row in range(80)])
    table = pd.DataFrame(VALUES, columns=COLUMNS).assign(name=frame["utterance_id"] + ".wav")
    np.testing.assert_array_equal(of(table, frame).features["a"], expected)
    numbered = FRAME.assign(dialogue=FRAME["dialogue"].str[1:])
    clips = "dia" + numbered["dialogue"] + "_utt" + numbered["utterance_id"].astype(str) + ".mp4"
    table = pd.DataFrame(VALUES, columns=COLUMNS).assign(video=clips)
    np.testing.assert_array_equal(of(table, numbered).features["a"], expected)


def test_two_vectors_of_one_utterance_are_refused():
    names = ["d0_0", "diad0_utt0", *_clips()[2:]]
    table = pd.DataFrame(VALUES, columns=COLUMNS).assign(name=names)
    with pytest.raises(UserError, match=r"'diad0_utt0' and 'd0_0' are both utterance '0' of dialogue 'd0'"):
        of(table)


def test_a_clip_whose_name_means_two_utterances_is_none():
    frame = FRAME.astype({"utterance_id": str})
    frame.loc[:3, ["dialogue", "utterance_id"]] = [["a", "b_c"], ["a", "x"], ["a_b", "c"], ["a_b", "x"]]
    clips = frame["dialogue"] + "_" + frame["utterance_id"]
    table = pd.DataFrame(VALUES, columns=COLUMNS).assign(name=clips).drop(index=2)
    with pytest.raises(UserError, match="utterance 'b_c' of dialogue 'a'"):
        of(table, frame)


@pytest.mark.parametrize(
    ("text", "name"),
    [("'a_1'", "a_1"), ("wav/x/a_1.WAV", "a_1"), ("C:\\clips\\a_1.mp4", "a_1"), ("a.b_1", "a.b_1")],
)
def test_the_name_of_a_clip(text, name):
    assert clip_name(text) == name


@pytest.mark.parametrize(
    ("features", "says"),
    [
        (
            VALUES[:79],
            "features 'audio': has 79 rows for 80 utterances; give one for each, in the same order",
        ),
        (VALUES.astype(str), "features 'audio': is an array of <U"),
        ([1.0], "features 'audio': is a list; give a path, an array, a data frame or a dict"),
        ({"d0": VALUES[0]}, r"features 'audio': is not a dict of \(dialogue, utterance\) to vectors"),
        (VALUES[:, 0], r"features 'audio': holds numbers of the shape \[80\]"),
    ],
)
def test_values_that_are_no_features(features, says):
    with pytest.raises(UserError, match=says):
        of(features)
