"""`python -m rigsl train --teacher`: its options, mistakes, and what is said of the teacher afterwards."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from rigsl.cli.main import main
from rigsl.config import from_toml
from rigsl.data.source import load_corpus
from rigsl.training.checkpoint import CONFIG, load_checkpoint, read_teacher
from rigsl.training.fit import fit
from rigsl.training.teacher import Teacher
from tests.helpers.commands import refusal
from tests.helpers.corpora import toy_corpus
from tests.helpers.toy_study import write_home

TINY = ["--hidden_dim", "8", "--num_L", "1", "--num_K", "1", "--nodeformer_heads", "1"]
TINY += [
    "--nb_features_dim",
    "4",
    "--gumbel_k",
    "1",
    "--epochs",
    "2",
    "--device",
    "cpu",
    "--features",
    "open",
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a corpus and its teacher."""
    monkeypatch.chdir(write_home(tmp_path))
    corpus = load_corpus("MELD", "open", tmp_path / "data")
    rows = corpus.rows(corpus.dialogues("train"))[3:]
    log_prob = np.full((len(rows), len(corpus.classes)), -np.log(len(corpus.classes)))
    Teacher.out_of_fold([(rows, log_prob)], corpus, temperature=2.0).save(tmp_path / "teacher.safetensors")
    return tmp_path


def train(*options: str) -> list[str]:
    return ["train", "--out", "model", *TINY, "--data-dir", "data", "--threads", "1", *options]


def test_the_model_is_the_one_that_fit_trains(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = load_corpus("MELD", "open", home / "data")
    teacher = Teacher.load("teacher.safetensors")
    rows = int((~np.isnan(teacher.log_prob[:, 0])).sum())
    assert main(train("--teacher", "teacher.safetensors")) == 0
    says = "taught by teacher.safetensors (weight 0.6, temperature 2)"
    assert f"{says}; it has targets for {rows} training utterances" in capsys.readouterr().out
    expected = fit(load_checkpoint("model").config, corpus, teacher=teacher).model.state_dict()
    model = load_checkpoint("model")
    assert all((value == expected[name]).all() for name, value in model.state_dict().items())
    assert read_teacher("model") == dataclasses.replace(teacher, origin="teacher.safetensors").record
    assert from_toml(home / "model" / CONFIG) == model.config
    assert main(["test", "--checkpoint", "model", "--features", "open", "--data-dir", "data"]) == 0
    assert f"{says}\n" in capsys.readouterr().out


def test_options_override_what_the_file_says(home: Path) -> None:
    given = ("--teacher", "teacher.safetensors", "--teacher-weight", "1", "--teacher-temperature", "0.5")
    assert main(train(*given)) == 0
    record = read_teacher("model")
    assert record is not None
    assert (record.weight, record.temperature) == (1.0, 0.5)
    assert record.digest != Teacher.load("teacher.safetensors").digest


def test_a_model_without_a_teacher_in_its_place_has_none(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train("--teacher", "teacher.safetensors")) == 0
    assert main(train("--config", "model/config.toml")) == 0
    assert read_teacher("model") is None
    capsys.readouterr()
    assert main(["test", "--checkpoint", "model", "--features", "open", "--data-dir", "data"]) == 0
    assert "taught" not in capsys.readouterr().out


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--teacher-weight", "0.5"], "--teacher-weight: there is no teacher; name its file with --teacher"),
        (["--teacher-temperature", "2"], "--teacher-temperature: there is no teacher"),
        (["--teacher", "none"], "none: cannot be read (No such file"),
        (["--teacher", "broken"], "broken: is damaged or not a teacher of this project; make it again"),
        (["--teacher", "other"], "other: teacher 'other': has"),
        (
            ["--teacher", "teacher.safetensors", "--teacher-weight", "0"],
            "teacher.safetensors: teacher 'teacher.safetensors': weight is 0.0; choose one above 0",
        ),
        (
            ["--teacher", "teacher.safetensors", "--teacher-temperature", "-1"],
            "temperature is -1.0; choose one from 0.01 to 100",
        ),
        (["--teacher", "teacher.safetensors", "--teacher-weight", "x"], "invalid float value: 'x'"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_sentence_before_anything_is_trained(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken").write_bytes(b"no teacher at all")
    other = toy_corpus(seed=5)
    rows = other.rows(other.dialogues("train"))
    Teacher.out_of_fold([(rows, np.full((len(rows), 4), np.log(0.25)))], other).save("other")
    assert says in refusal(main, train(*options), capsys)
    assert not Path("model").exists()
