"""The commands of `python -m rigsl` take the folder of an average where they take a checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rigsl.cli.main import main
from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.inference.average import Average, evaluate_model, save_average
from rigsl.model.rigsl import RIGSL
from rigsl.training.evaluation import Evaluation
from tests.helpers.commands import refusal
from tests.helpers.toy_study import make_corpus, write_home

TINY = RIGSLConfig(
    modals="ld", hidden_dim=8, num_L=1, num_K=1, nodeformer_heads=1, nb_features_dim=4, use_gumbel=False
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return write_home(tmp_path / "home")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_corpus()


@pytest.fixture(scope="module")
def average(corpus: Corpus) -> Average:
    configs = (TINY, TINY.replace(backbone="GAT", modals="l"), TINY.replace(hidden_dim=16))
    return Average(tuple(RIGSL(config, corpus.schema) for config in configs))


@pytest.fixture
def command(home: Path, average: Average) -> list[str]:
    """The options that name the average and its data."""
    save_average(home / "average", average.members)
    data = ["--features", "open", "--data-dir", str(home / "data"), "--device", "cpu"]
    return ["--checkpoint", str(home / "average"), *data]


@pytest.fixture(scope="module")
def dev(average: Average, corpus: Corpus) -> Evaluation:
    return evaluate_model(average, corpus, "dev")


def test_test_shows_the_scores_of_the_average(
    command: list[str], dev: Evaluation, capsys: pytest.CaptureFixture
) -> None:
    assert main(["test", *command, "--split", "dev"]) == 0
    shown = capsys.readouterr().out
    assert f"weighted F1 {dev.scores.weighted_f1:.4f}  accuracy {dev.scores.accuracy:.4f}" in shown
    assert f"{command[1]} on MELD-tiny, dev split" in shown


def test_the_official_command_line_tests_it_too(
    command: list[str], average: Average, corpus: Corpus, capsys: pytest.CaptureFixture
) -> None:
    scores = evaluate_model(average, corpus, "test").scores
    assert main(["test", "--Dataset", "MELD", "--model_path", *command[1:]]) == 0
    assert f"weighted F1 {scores.weighted_f1:.4f}" in capsys.readouterr().out


def test_predict_writes_the_mean_probabilities(command: list[str], dev: Evaluation, home: Path) -> None:
    out = home / "predictions.csv"
    assert main(["predict", *command, "--split", "dev", "--out", str(out)]) == 0
    table = pd.read_csv(out)
    np.testing.assert_array_equal(table.filter(like="p(").to_numpy(np.float32), np.exp(dev.log_prob).round(6))
    classes = [name[2:-1] for name in table.filter(like="p(")]
    assert table["predicted"].tolist() == [classes[index] for index in dev.log_prob.argmax(axis=1)]


def test_an_average_has_no_single_graph(
    command: list[str], home: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["graph", *command, "--dialogue", "dialogue_3", "--out", str(home / "graphs")]
    arguments.remove("--device")
    arguments.remove("cpu")
    shown = refusal(main, arguments, capsys)
    member = str(home / "average" / "member_00")
    assert f"{home / 'average'}: is an average of models, each of which finds a graph of its own" in shown
    assert shown.endswith(f"choose one, such as --checkpoint {member}\n")
    assert not (home / "graphs").exists()
    arguments[2] = member
    assert main(arguments) == 0
    assert sorted(path.name for path in (home / "graphs").iterdir()) == ["dialogue_3.png", "dialogue_3.pt"]


@pytest.mark.parametrize("words", [["test"], ["predict", "--out", "x.csv"], ["graph", "--dialogue", "x"]])
def test_a_damaged_member_is_one_sentence(
    words: list[str], command: list[str], home: Path, capsys: pytest.CaptureFixture
) -> None:
    weights = home / "average" / "member_01" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert f"{weights}: is not the file that average.json names" in refusal(main, words + command, capsys)
