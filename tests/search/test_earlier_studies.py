"""A study of version 0.1.0, made before the packages, is still reported, resumed, served and rerun."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

import run_search
from rigsl.data.corpus import Corpus
from rigsl.inference.served import table_of
from rigsl.training.checkpoint import load_checkpoint
from rigsl.training.evaluation import evaluate
from search.confirm.final_record import read_final_record
from search.record import record
from search.run_folder import ROOT

ARCHIVE = ROOT / "tests" / "fixtures" / "study_before_packages.tar.xz"
NAME, URI, MODEL = "before-packages", "sqlite:///mlflow.db", "models:/rigsl-meld@best"
#: Where ``mlflow.db`` names the folder in which the study was made.
LOCATIONS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_mlflow_addresses: None) -> Iterator[Path]:
    """The working directory of that study: ``data``, ``runs``, ``mlflow.db`` and ``mlruns``."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        for table, columns in LOCATIONS.items():
            for column in columns:
                database.execute(f"UPDATE {table} SET {column} = replace({column}, '/HOME', '{tmp_path}')")
    database.close()
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(URI)
    yield tmp_path
    mlflow.set_tracking_uri(before)


def test_it_is_reported_and_shown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_search.main(["--report", NAME]) == 0
    page = (home / "runs" / NAME / "report.html").read_text(encoding="utf-8")
    final = read_final_record(home / "runs" / NAME)
    assert f"{100 * final.test.winner.weighted_f1.mean:.2f} ± " in page
    assert "the configuration that won a search of 5 trials" in page
    capsys.readouterr()
    assert run_search.main(["--status", NAME]) == 0
    shown = capsys.readouterr().out
    assert "finished: all 5 trials done" in shown
    assert "4 complete, 1 pruned, 0 failed" in shown


@pytest.mark.usefixtures("workers_here")
def test_it_is_resumed_and_mlflow_goes_on_with_its_runs(home: Path) -> None:
    folder = home / "runs" / NAME
    before = [trial.intermediate_values for trial in record.read_record(folder).trials]
    known = {run.info.run_id for run in runs()}
    command = ["--resume", NAME, "--data-dir", "data", "--trials", "6", "--workers", "1"]
    assert run_search.main(command) == 0
    study = record.read_record(folder)
    assert [trial.intermediate_values for trial in study.trials[:5]] == before
    assert len(record.finished(study)) == 6
    metrics = json.loads((folder / "best" / "metrics.json").read_text(encoding="utf-8"))
    assert sum(metrics["trials"].values()) == 6
    assert len(read_final_record(folder).openings) == 1  # the same winner: its recorded predictions serve
    client = MlflowClient(URI)  # its version stays where it was; the new one is a version of this corpus
    assert client.get_registered_model("rigsl-meld").aliases == {"best": 1}
    assert set(client.get_registered_model("rigsl-meld-open").aliases) == {"best", NAME}
    after = {run.info.run_id for run in runs()}
    assert known < after
    assert len(after) == len(known) + 1  # the new trial; the study has gone on under its own run


def runs() -> list[mlflow.entities.Run]:
    """All runs of the experiment."""
    client = MlflowClient(URI)
    experiment = client.get_experiment_by_name("rigsl-meld")
    return client.search_runs([experiment.experiment_id])


def test_its_registered_model_is_served(home: Path) -> None:
    corpus = Corpus.load(home / "data" / "meld_open.safetensors")
    model = load_checkpoint(home / "runs" / NAME / "best")
    expected = evaluate(model, corpus, "test")
    table = table_of(corpus, corpus.dialogues("test"), model.config.modals)
    here = mlflow.pyfunc.load_model(MODEL).predict(table)  # by the package of today
    np.testing.assert_allclose(np.log(here.to_numpy()), expected.log_prob, atol=1e-5)
    table.to_pickle("table.pkl")
    code = (
        "import mlflow, pandas; mlflow.set_tracking_uri('sqlite:///mlflow.db'); "
        f"print(mlflow.pyfunc.load_model('{MODEL}').predict(pandas.read_pickle('table.pkl')).to_json())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    elsewhere = json.loads(done.stdout.splitlines()[-1])  # by the package that was registered with it
    for name, column in elsewhere.items():
        np.testing.assert_allclose(list(column.values()), here[name], atol=1e-5)


def test_it_is_rerun(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_search.main(["--rerun", f"runs/{NAME}/best", "--data-dir", "data"]) == 0
    lines = [line.split("│") for line in capsys.readouterr().out.splitlines() if "weighted_f1" in line]
    assert len(lines) == 2
    for _, _, _, recorded, new, *_ in lines:
        assert float(new) == pytest.approx(float(recorded), abs=0.05)
