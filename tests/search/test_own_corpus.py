"""A corpus that the code does not know, with modalities of its own, from its file to an exported model."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import run_search
from rigsl.config import from_toml
from rigsl.data.corpus import Corpus
from rigsl.inference.average import load_model, log_probabilities
from rigsl.inference.served import table_of
from search.plan import derived_space
from search.run_folder import CARD, OFFICIAL, REPORT, SPACE
from search.space.space import read_space
from tests.helpers.commands import refusal
from tests.helpers.corpora import made_up_corpus
from tests.helpers.mlflow_contents import forget_addresses
from tests.helpers.workers_here import keep_workers_here

DATA = ("--data-dir", "data")
SMALL = ("--epochs", "2", "--workers", "1", "--finalists", "0", "--test-seeds", "0", "--device", "cpu")


#: Classes with names that a page, a picture or a terminal could take for something else than a name.
CLASSES = (
    '</script><script>alert("1")</script>',
    "<img src=x onerror=alert(2)>",
    "joy](javascript:alert(3))",
    "$\\frac{$",
    "[red]x[/nope]",
    "a | b",
    "`code`",
    "*bold*",
    "<3",
    "plain",
)


@dataclass(frozen=True)
class Searched:
    """A study of two trials on the corpus ``data/Talks.safetensors``, and what it printed."""

    home: Path
    corpus: Corpus
    printed: str

    @property
    def folder(self) -> Path:
        return self.home / "runs" / "s"


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, shared_ray: None, empty_mlflow: Path) -> Searched:
    home, corpus = tmp_path_factory.mktemp("own"), dataclasses.replace(made_up_corpus(), classes=CLASSES)
    (home / "data").mkdir()
    corpus.save(home / "data" / "Talks.safetensors")
    shutil.copy(empty_mlflow, home / "mlflow.db")
    forget_addresses()
    with pytest.MonkeyPatch.context() as patch, (home / "printed.txt").open("w", encoding="utf-8") as file:
        patch.chdir(home)
        patch.setattr("sys.stdout", file)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        keep_workers_here(patch)
        assert run_search.main(["--dataset", "talks", *DATA, "--trials", "2", "--study", "s", *SMALL]) == 0
    forget_addresses()
    return Searched(home, corpus, (home / "printed.txt").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _at_home(searched: Searched, monkeypatch: pytest.MonkeyPatch, new_mlflow_addresses: None) -> None:
    monkeypatch.chdir(searched.home)


def test_its_space_is_derived_printed_and_stored(searched: Searched) -> None:
    assert "open: text, face, pulse, from a corpus file\n" in searched.printed
    assert "derived, since spaces/ has none for Talks; kept as runs/s/space.toml\n" in searched.printed
    train = searched.corpus.dialogues("train")
    utterances = searched.corpus.lengths[train].sum()
    assert f"for {utterances} training utterances in 18 dialogues; text, face and pulse\n" in searched.printed
    space = read_space(searched.folder / SPACE)
    assert (space.dataset, space.features, space.fixed["modals"]) == ("Talks", "open", "text,face,pulse")
    assert space.text.startswith("# Derived from spaces/default.toml for Talks\n")


def test_what_it_exports_names_its_modalities_and_its_dataset(searched: Searched) -> None:
    best = searched.folder / "best"
    metrics = json.loads((best / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["trials"]["failed"] == 0
    assert metrics["dataset"] == "Talks"
    assert set(metrics["test"]["f1"]) == set(searched.corpus.classes)
    assert from_toml(best / "config.toml").modalities == ("l", "face", "pulse")
    assert "result  runs/s/best\n" in searched.printed, "there is no official command to point to"
    official = (best / OFFICIAL).read_text(encoding="utf-8")
    assert official == "# the official code has no dataset 'Talks'\n"
    card = (best / CARD).read_text(encoding="utf-8")
    assert "from text, face and pulse." in card
    assert "best --dataset Talks\n" in card
    assert "best --dataset Talks --split test --out predictions.csv" in card
    assert "Trained on the dialogues of one corpus (Talks)" in card
    report = (searched.folder / REPORT).read_text(encoding="utf-8")
    assert "text, face, pulse" in report
    assert all(html.escape(name) in report for name in searched.corpus.classes)


def test_names_of_classes_are_names_everywhere(searched: Searched) -> None:
    assert (searched.folder / "confusion.png").is_file()
    report = (searched.folder / REPORT).read_text(encoding="utf-8").partition("</head>")[2]
    for markup in ("<script>alert", "<img src", 'href="javascript'):
        assert markup not in report
    card = (searched.folder / "best" / CARD).read_text(encoding="utf-8")
    for markup in ("</script>", "<img", "](", "$", "`code`", "*bold*", "[red]", "a | b"):
        assert not re.search(rf"(?<!\\){re.escape(markup)}", card), markup
    assert "<3, plain" in card


def test_its_registered_model_reads_its_modalities(searched: Searched) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{searched.home}/mlflow.db")
    try:
        model = mlflow.pyfunc.load_model("models:/rigsl-talks-open@best")
    finally:
        mlflow.set_tracking_uri(before)
    table = table_of(searched.corpus, searched.corpus.dialogues("test"), ("l", "face", "pulse"))
    own = log_probabilities(load_model(searched.folder / "best"), searched.corpus, split="test")
    np.testing.assert_allclose(model.predict(table), np.exp(own), atol=1e-6)


def test_it_is_rerun_and_resumed_without_measuring_the_machine_again(
    searched: Searched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def measured(*_: object) -> float:
        raise AssertionError("the space is stored")

    monkeypatch.setattr(derived_space, "core_speed", measured)
    keep_workers_here(monkeypatch)
    assert run_search.main(["--rerun", "runs/s/best", *DATA]) == 0
    assert "all scores are equal to the last digit" in capsys.readouterr().out
    before = (searched.folder / SPACE).read_bytes()
    assert run_search.main(["--resume", "s", *DATA, "--trials", "3", "--workers", "1"]) == 0
    assert "runs/s/space.toml: " in capsys.readouterr().out
    assert (searched.folder / SPACE).read_bytes() == before


def test_an_unknown_name_is_answered_with_the_known_ones(
    searched: Searched, capsys: pytest.CaptureFixture
) -> None:
    shown = refusal(run_search.main, ["--dataset", "Walks", *DATA, "--study", "new"], capsys)
    assert shown == "error: unknown dataset 'Walks'; the datasets are MELD, IEMOCAP, Talks\n"
    assert not (searched.home / "runs" / "new").exists()


def test_a_space_for_modalities_that_it_lacks_is_refused(
    searched: Searched, capsys: pytest.CaptureFixture
) -> None:
    text = (searched.folder / SPACE).read_text(encoding="utf-8").replace('"face"', '"gaze"')
    (searched.home / "other.toml").write_text(text, encoding="utf-8")
    options = ["--dataset", "Talks", *DATA, "--space", "other.toml", "--study", "new"]
    shown = refusal(run_search.main, options, capsys)
    assert "other.toml: modals = 'text,gaze,pulse': Talks has no modality 'gaze'; choose from" in shown
