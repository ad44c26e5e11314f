"""A registered model reproduces the recorded predictions in a process without this project."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rigsl.config import RIGSLConfig
from rigsl.errors import UserError
from rigsl.inference.served import ServedModel, table_of
from rigsl.model.rigsl import RIGSL
from rigsl.training.checkpoint import load_checkpoint, save_checkpoint
from rigsl.training.evaluation import evaluate
from search.tracking.client import connect
from search.tracking.registry import ALIAS, register_best, requirements
from tests.helpers.toy_study import CLASSES, make_corpus
from tests.test_architecture import packages_of

CONFIG = RIGSLConfig(
    modals="ld", hidden_dim=8, num_L=1, num_K=1, nodeformer_heads=1, nb_features_dim=4, use_gumbel=False
)
LOAD = """
import json, sys
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
table = pandas.read_json(sys.argv[2], orient="split", dtype={"dialogue": str})
columns = model.predict(table).to_dict("list")
ours = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "rigsl"]
print(json.dumps({"modules": list(sys.modules), "files": ours, "columns": columns}))
"""


@pytest.fixture
def corpus():
    return make_corpus()


@pytest.fixture
def best(tmp_path, corpus):
    return save_model(tmp_path / "best", corpus)


def save_model(folder, corpus, **changes):
    save_checkpoint(folder, RIGSL(CONFIG.replace(**changes), corpus.schema))
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory, empty_mlflow):
    """A client, the id of a run, and the folder of a SQLite store; every test has a dataset of its own."""
    folder = tmp_path_factory.mktemp("store")
    shutil.copy(empty_mlflow, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    client, experiment = connect(uri, "MELD")
    return client, client.create_run(experiment).info.run_id, folder


def test_a_registered_model_gives_the_recorded_predictions(tmp_path, corpus, best, store):
    client, run_id, folder = store
    (best / "metrics.json").write_text("{}")
    registration = register_best(client, run_id, best, corpus, "MELD", {"study": "first"})
    assert registration.problem == ""
    assert (registration.name, registration.version, registration.uri) == (
        "rigsl-meld",
        "1",
        "models:/rigsl-meld@best",
    )
    evaluation = evaluate(load_checkpoint(best), corpus, "test")
    table = table_of(corpus, corpus.dialogues("test"), "ld")
    order = np.random.default_rng(0).permutation(len(table))
    table.iloc[order].to_json(tmp_path / "input.json", orient="split", index=False, double_precision=15)
    loaded = _fresh_process(tmp_path, f"sqlite:///{folder}/mlflow.db", registration.uri, "input.json")
    assert tuple(loaded["columns"]) == CLASSES
    served = pd.DataFrame(loaded["columns"]).to_numpy()
    np.testing.assert_allclose(served, np.exp(evaluation.log_prob)[order], atol=1e-6)
    # The code is that of the version, whatever is installed; the search and its packages stay out.
    files = [Path(file) for file in loaded["files"]]
    assert all(file.is_relative_to(folder / "mlruns") for file in files)
    assert not {"ray", "optuna", "search", "sentence_transformers"} & set(loaded["modules"])
    used = set.union(*map(packages_of, files)) - set(sys.stdlib_module_names) - {"rigsl"}
    packages = packages_distributions()
    needed = {name.lower().replace("_", "-") for module in used for name in packages.get(module, [])}
    assert needed <= {line.split("==")[0].replace("_", "-") for line in requirements()}
    version = client.get_model_version_by_alias("rigsl-meld", ALIAS)
    assert version.run_id == run_id
    assert version.tags["study"] == "first"
    [model] = client.get_run(run_id).outputs.model_outputs
    assert client.get_logged_model(model.model_id).artifact_location == version.source


def _fresh_process(folder, uri, model, table):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLFLOW"))}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, model, str(table)],
        cwd=folder,
        env=clean | {"MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_alias_follows_the_last_registration(tmp_path, corpus, best, store):
    client, run_id, _ = store
    other = save_model(tmp_path / "other", corpus, seed=1, hidden_dim=16)
    registrations = [register_best(client, run_id, folder, corpus, "alias") for folder in (best, other)]
    assert [registration.version for registration in registrations] == ["1", "2"]
    assert client.get_model_version_by_alias("rigsl-alias", ALIAS).version == 2
    # A model that is registered already is no new version.
    again = register_best(client, run_id, best, corpus, "alias")
    assert (again.version, again.problem) == ("1", "")
    assert client.get_model_version_by_alias("rigsl-alias", ALIAS).version == 1
    assert len(client.search_model_versions("name = 'rigsl-alias'")) == 2


def test_a_store_that_is_away_is_a_sentence(corpus, best, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = register_best(MlflowClient(tracking_uri="http://127.0.0.1:9"), "run", best, corpus, "MELD")
    assert away.version == ""
    assert away.problem.startswith("the model rigsl-meld could not be registered in MLflow (")
    assert "\n" not in away.problem


def test_a_failure_half_way_is_a_sentence_and_no_version(tmp_path, corpus, store):
    client, _, _ = store
    experiment = client.create_experiment("broken")
    run_id = client.create_run(experiment).info.run_id
    broken = save_model(tmp_path / "broken", corpus)
    (broken / "config.toml").write_text("nonsense", encoding="utf-8")
    registration = register_best(client, run_id, broken, corpus, "broken")
    assert "config.toml: is not valid TOML" in registration.problem
    assert client.search_model_versions("name = 'rigsl-broken'") == []
    assert [model.status.name for model in client.search_logged_models([experiment])] == ["FAILED"]


def test_requirements_are_pinned_and_leave_the_search_out():
    pinned = dict(line.split("==") for line in requirements())
    assert all(version[0].isdigit() and "+" not in version for version in pinned.values())
    assert not {"ray", "ray[tune]", "optuna", "sentence-transformers", "rigsl-search"} & set(pinned)


@pytest.mark.parametrize("quirks", [False, True])
def test_a_dialogue_does_not_depend_on_the_others(corpus, quirks):
    served = ServedModel(RIGSL(CONFIG.replace(official_quirks=quirks), corpus.schema))
    table = table_of(corpus, np.arange(12), "ld")
    together = served.predict(table)
    np.testing.assert_allclose(together.sum(axis=1), 1.0, atol=1e-5)
    for _, dialogue in table.groupby("dialogue"):
        pd.testing.assert_frame_equal(served.predict(dialogue), together.loc[dialogue.index], atol=1e-6)


def test_several_text_vectors_stand_one_after_another():
    corpus = make_corpus()
    views = np.random.default_rng(0).normal(size=(len(corpus.labels), 4, 12)).astype(np.float32)
    several = dataclasses.replace(corpus, features={"l": views})
    model = RIGSL(CONFIG.replace(modals="l", norm="LN"), several.schema)
    evaluation = evaluate(model, several, "dev")
    served = ServedModel(model).predict(table_of(several, several.dialogues("dev"), "l"))
    np.testing.assert_allclose(served, np.exp(evaluation.log_prob), atol=1e-6)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda t: t.drop(columns=["speaker", "text_features"]), "lacks the column speaker, text_features"),
        (lambda t: t.assign(speaker=7), "speaker 7 is not one of 2"),
        (lambda t: t.assign(speaker="Ross"), "speaker: is not a whole number"),
        (lambda t: t.assign(utterance=0), "utterance: a number comes twice"),
        (lambda t: t.assign(dialogue=None), "dialogue: is empty"),
        (lambda t: t.assign(delivery_features=[[0.0] * 4] * len(t)), "list of 3 numbers"),
        (lambda t: t.assign(delivery_features=[[0.0, 0.0, np.nan]] * len(t)), "not finite"),
    ],
)
def test_a_bad_table_is_one_sentence(corpus, spoil, says):
    served = ServedModel(RIGSL(CONFIG, corpus.schema))
    with pytest.raises(UserError, match=says):
        served.predict(spoil(table_of(corpus, np.arange(2), "ld")))


def test_no_rows_are_no_predictions(corpus):
    nothing = ServedModel(RIGSL(CONFIG, corpus.schema)).predict(table_of(corpus, np.arange(1), "ld")[:0])
    assert list(nothing.columns) == list(CLASSES)
    assert nothing.empty
