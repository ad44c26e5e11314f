"""`python -m rigsl` as a user types it."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from rigsl.cli.main import main
from rigsl.data import source
from tests.helpers.commands import refusal

ROOT = Path(__file__).parents[3]
TINY = ["--hidden_dim", "8", "--num_L", "1", "--num_K", "1", "--nodeformer_heads", "1"]
TINY += ["--nb_features_dim", "4", "--use_gumbel", "False"]


def _shell(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "rigsl", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )


def test_train_test_predict(tmp_path, capsys):
    out = tmp_path / "model"
    common = ["--dataset", "MELD", "--features", "open", "--device", "cpu", "--threads", "1"]
    assert main(["train", "--out", str(out), "--epochs", "1", "--lr", "0.005", *TINY, *common]) == 0
    shown = capsys.readouterr().out
    assert "epoch   1/1" in shown
    assert f"python -m rigsl test --checkpoint {out}" in shown
    assert main(["test", "--checkpoint", str(out), *common]) == 0
    shown = capsys.readouterr().out
    assert "weighted F1 0." in shown
    assert "surprise" in shown
    table = tmp_path / "predictions.csv"
    assert main(["predict", "--checkpoint", str(out), "--split", "dev", "--out", str(table), *common]) == 0
    predictions = pd.read_csv(table)
    assert len(predictions) == 1109
    assert predictions.filter(like="p(").sum(axis=1).sub(1).abs().max() < 1e-5
    corpus = source.load_corpus("MELD", "open")
    assert predictions.emotion.map(corpus.classes.index).tolist() == [
        label
        for i in corpus.dialogues("dev")
        for label in corpus.labels[corpus.offsets[i] : corpus.offsets[i + 1]]
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--out", "x", "--tau", "0"], "command line: tau = 0.0 is outside"),
        (["train", "--out", "x", "--use_gumbel", "maybe"], "'maybe' is not True or False"),
        (["train", "--out", "x", "--modals", "la"], "no modality 'a'"),
        (["train", "--out", "x", "--dataset", "FRIENDS"], "FRIENDS"),
        (["train", "--out", "x", "--device", "cuda:99"], "no such GPU"),
        (["train", "--out", "x", "--threads", "0"], "--threads 0"),
        (["train", "--out", "x", "--threads", str(10**30)], "is not 1 to 1024"),
        (["train", "--out", "x", "--windowp", str(10**400)], "is too large"),
        (["train", "--out", "x", "--config", "missing.toml"], "missing.toml: cannot be read"),
        (["test", "--checkpoint", "nowhere"], "nowhere: is not a checkpoint"),
        (["build-features", "--csv", "nowhere", "--out", "x.safetensors"], "nowhere"),
        (["build-features", "--csv", ".", "--out", "x.safetensors", "--device", "tpu9"], "--device tpu9"),
        (["fly"], "invalid choice: 'fly'"),
        ([], "required: COMMAND"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert says in refusal(main, arguments, capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_does_not_fit_into_memory_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rigsl.training.fit.fit", lambda *arguments, **options: torch.empty(10**14))
    command = ["train", "--out", str(tmp_path / "x"), "--features", "open", "--device", "cpu", *TINY]
    assert "needs more memory than cpu has" in refusal(main, command, capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_precision_that_the_device_is_not_made_for_needs_force(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rigsl.cli.main.unsuited", lambda device, name: f"{device} is slow in {name}")
    trained = []
    monkeypatch.setattr("rigsl.cli.train.train_and_save", lambda config, *others: trained.append(config))
    command = ["train", "--out", str(tmp_path / "x"), "--features", "open", "--device", "cpu", *TINY]
    command += ["--precision", "bf16"]
    says = "precision = 'bf16': cpu is slow in bf16; take 'fp32', or give --force"
    assert says in refusal(main, command, capsys)
    assert main([*command, "--force"]) == 0
    assert [config.precision for config in trained] == ["bf16"]


def test_help_lists_every_hyperparameter():
    shown = _shell("train", "--help")
    assert shown.returncode == 0
    assert "--gumbel_k INT" in shown.stdout
