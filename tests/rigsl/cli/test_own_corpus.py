"""`python -m rigsl` on a corpus that the code does not know, with modalities of its own."""

from __future__ import annotations

import shlex
from pathlib import Path

import pandas as pd
import pytest

from rigsl.cli.main import main
from rigsl.training.checkpoint import load_checkpoint
from tests.helpers.commands import refusal
from tests.helpers.corpora import made_up_corpus

TINY = ["--hidden_dim", "8", "--num_L", "1", "--num_K", "1", "--nodeformer_heads", "1", "--epochs", "1"]
DATA = ["--dataset", "talks", "--data-dir", "data", "--device", "cpu", "--threads", "1"]
CHECKPOINT = ["--checkpoint", "model"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data").mkdir()
    made_up_corpus().save(tmp_path / "data" / "Talks.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(*arguments: str) -> None:
    assert main(["train", "--out", "model", *TINY, *DATA, *arguments]) == 0


def test_train_test_predict_and_graph(home: Path, capsys: pytest.CaptureFixture) -> None:
    trained()
    assert "--checkpoint model --dataset talks --data-dir data" in capsys.readouterr().out
    assert load_checkpoint("model").config.modals == "text,face,pulse"
    assert main(["test", *CHECKPOINT, *DATA]) == 0
    assert "class9" in capsys.readouterr().out
    assert main(["predict", *CHECKPOINT, *DATA, "--split", "dev", "--out", "predictions.csv"]) == 0
    predictions, corpus = pd.read_csv("predictions.csv"), made_up_corpus()
    assert len(predictions) == corpus.lengths[corpus.dialogues("dev")].sum()
    assert predictions.filter(like="p(").shape[1] == 10
    longest = corpus.dialogue_ids[int(corpus.lengths.argmax())]
    capsys.readouterr()
    assert main(["graph", *CHECKPOINT, *DATA[:4], "--dialogue", longest]) == 0
    shown = capsys.readouterr().out
    assert "strongest implicit relations" in shown
    assert any(f"{name} " in shown.split("strongest")[1] for name in ("text", "face", "pulse"))
    assert (home / "graphs" / f"{longest}.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("modals", "stored"), [("face", "face"), ("pulse,l", "text,pulse"), ("text", "l"), ("l", "l")]
)
def test_some_of_its_modalities_are_chosen_by_name(modals: str, stored: str) -> None:
    trained("--modals", modals)
    assert load_checkpoint("model").config.modals == stored
    assert main(["test", *CHECKPOINT, *DATA]) == 0


def test_a_modality_that_it_lacks_is_named_with_those_that_it_has(capsys: pytest.CaptureFixture) -> None:
    command = ["train", "--out", "model", *TINY, *DATA, "--modals", "text,gaze"]
    shown = refusal(main, command, capsys)
    assert "Talks has no modality 'gaze'; choose from 'text,face,pulse'" in shown


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--out", "new"],
        ["test", *CHECKPOINT],
        ["predict", *CHECKPOINT, "--out", "new"],
        ["predict", *CHECKPOINT, "--csv", "talk.csv"],
        ["graph", *CHECKPOINT, "--dialogue", "d1"],
    ],
    ids=lambda command: f"{command[0]} {command[-2]}",
)
def test_every_command_answers_an_unknown_name_with_the_known_ones(
    command: list[str], home: Path, capsys: pytest.CaptureFixture
) -> None:
    trained()
    (home / "talk.csv").write_text("speaker,text\nAnn,Hello\n", encoding="utf-8")
    capsys.readouterr()
    shown = refusal(main, [*command, "--dataset", "Walks", "--data-dir", "data"], capsys)
    assert shown == "error: unknown dataset 'Walks'; the datasets are MELD, IEMOCAP, Talks\n"
    assert not (home / "new").exists()


def test_a_transcript_has_no_face_and_the_advice_names_the_corpus(
    home: Path, capsys: pytest.CaptureFixture
) -> None:
    trained()
    (home / "talk.csv").write_text("speaker,text\nAnn,Hello\n", encoding="utf-8")
    capsys.readouterr()
    shown = refusal(main, ["predict", *CHECKPOINT, *DATA, "--csv", "talk.csv"], capsys)
    assert "reads face and pulse features, which no transcript has" in shown
    command = shlex.split(shown.rpartition("train one with `")[2].rstrip("\n`"))
    assert command[1:3] == ["-m", "rigsl"]
    assert main([*command[3:], *TINY]) == 0
    assert load_checkpoint("models/transcripts").config.modals == "l"
