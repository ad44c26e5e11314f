"""A registered model reproduces the recorded predictions in a process without this project."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rigsl.config import RIGSLConfig
from rigsl.errors import UserError
from rigsl.inference.average import Average, evaluate_model, model_digest, save_average
from rigsl.inference.served import ServedModel, table_of
from rigsl.model.rigsl import RIGSL
from rigsl.training.checkpoint import WEIGHTS, load_checkpoint, save_checkpoint
from rigsl.training.evaluation import evaluate
from search.export.best import ExportedModel
from search.tracking import registry
from search.tracking.client import connect
from search.tracking.logged_model import requirements
from search.tracking.registry import BEST, register_best, study_alias
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


def exported(folder, validation=0.5, **changes):
    """The export of a study in `folder`, with as much of ``metrics.json`` as a registration reads."""
    metrics = {
        "study": "first", "dataset": "MELD", "features": "open", "corpus": "MELD-tiny",
        "corpus_hash": "a" * 64, "protocol": "validation", "trial": 3, "seed": 7, "test_seeds": 5,
        "validation": {"weighted_f1": validation}, "test": {"weighted_f1": 1 - validation},
    }  # fmt: skip
    return ExportedModel(folder, metrics | changes)


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
    registration = register_best(client, run_id, exported(best), corpus)
    assert registration.problem == registration.remark == ""
    assert (registration.name, registration.version, registration.uri) == (
        "rigsl-meld-open",
        "1",
        "models:/rigsl-meld-open@best",
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
    version = client.get_model_version_by_alias("rigsl-meld-open", BEST)
    assert version.run_id == run_id
    assert version.tags.pop("weights_sha256")
    assert version.tags == {
        "study": "first", "trial": "3", "seed": "7", "test_seeds": "5", "corpus": "MELD-tiny",
        "corpus_hash": "a" * 64, "protocol": "validation", "validation_weighted_f1": "0.5",
        "test_weighted_f1": "0.5", "answer": "best",
    }  # fmt: skip
    [model] = client.get_run(run_id).outputs.model_outputs
    assert client.get_logged_model(model.model_id).artifact_location == version.source


def test_a_registered_average_gives_the_mean_of_its_members(tmp_path, corpus, store):
    """Modalities of all members are columns; the same signature and example as for a single model."""
    client, run_id, folder = store
    configs = (CONFIG, CONFIG.replace(modals="l", backbone="GAT"), CONFIG.replace(modals="d"))
    models = [RIGSL(config, corpus.schema) for config in configs]
    average = tmp_path / "best" / "average"
    save_average(average, models[1:])
    done = register_best(client, run_id, exported(average, dataset="mean"), corpus)
    assert (done.problem, done.uri) == ("", "models:/rigsl-mean-open@best")
    table = table_of(corpus, corpus.dialogues("test"), "ld")
    table.to_json(tmp_path / "input.json", orient="split", index=False, double_precision=15)
    loaded = _fresh_process(tmp_path, f"sqlite:///{folder}/mlflow.db", done.uri, "input.json")
    evaluation = evaluate_model(Average(tuple(models[1:])), corpus, "test")
    served = pd.DataFrame(loaded["columns"])
    assert tuple(served) == CLASSES
    np.testing.assert_allclose(served, np.exp(evaluation.log_prob), atol=1e-6)
    assert not {"ray", "optuna", "search", "sentence_transformers"} & set(loaded["modules"])

    version = client.get_model_version_by_alias(done.name, BEST)
    assert version.tags["weights_sha256"] == model_digest(average)
    again = register_best(client, run_id, exported(average, dataset="mean"), corpus)
    assert again.version == done.version
    save_average(average, models)
    other = register_best(client, run_id, exported(average, 0.6, dataset="mean"), corpus)
    assert other.version != done.version

    save_checkpoint(tmp_path / "single", models[0])
    single = register_best(client, run_id, exported(tmp_path / "single", dataset="one"), corpus)
    first, second = (_artifacts(client, name) for name in (done.name, single.name))
    assert first["signature"] == second["signature"]
    for name in ("requirements.txt", "serving_input_example.json"):
        assert (first["folder"] / name).read_bytes() == (second["folder"] / name).read_bytes()
    assert first["files"] == {
        "average/average.json",
        *(f"average/member_0{n}/{name}" for n in range(3) for name in (WEIGHTS, "config.toml")),
    }


def _artifacts(client, name):
    """The folder of the version that is `best`, its signature, and the files of the model in it."""
    from mlflow.models import Model

    source = client.get_model_version_by_alias(name, BEST).source
    folder = Path(source.removeprefix("file://"))
    data = [path for path in (folder / "data").rglob("*") if path.is_file()]
    return {
        "folder": folder,
        "signature": Model.load(str(folder)).signature,
        "files": {str(path.relative_to(folder / "data")) for path in data},
    }


def test_a_checkpoint_is_logged_without_the_other_models_in_its_folder(tmp_path, corpus, best, store):
    client, run_id, _ = store
    (best / "metrics.json").write_text("{}")
    save_average(best / "average", [RIGSL(CONFIG, corpus.schema)])
    done = register_best(client, run_id, exported(best, dataset="alone"), corpus)
    assert done.problem == ""
    files = _artifacts(client, done.name)["files"]
    assert files == {"best/config.toml", f"best/{WEIGHTS}", "best/metrics.json"}


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


def aliases(client, name):
    return {alias: int(version) for alias, version in client.get_registered_model(name).aliases.items()}


def test_best_moves_to_a_better_validation_score_only(tmp_path, corpus, best, store):
    client, run_id, _ = store

    def register(folder, **changes):
        done = register_best(client, run_id, exported(folder, dataset="better", **changes), corpus)
        assert done.problem == ""
        return done

    folders = [best, *(save_model(tmp_path / str(seed), corpus, seed=seed) for seed in range(1, 5))]
    first, worse, better, equal, other = (
        register(folders[0], validation=0.5, study="first"),
        register(folders[1], validation=0.4, study="v1.worse"),  # its test score is higher
        register(folders[2], validation=0.6, study="better"),
        register(folders[3], validation=0.6, study="equal"),
        register(folders[4], validation=0.9, study="other", corpus_hash="b" * 64),
    )
    assert [done.version for done in (first, worse, better, equal, other)] == ["1", "2", "3", "4", "5"]
    assert first.uri == better.uri == "models:/rigsl-better-open@best"
    assert first.remark == better.remark == ""
    assert worse.uri == "models:/rigsl-better-open@v1-worse"
    assert worse.remark == (
        "version 1 (study first) stays best: its validation weighted F1 is 50.00 %, "
        "that of this version 40.00 %"
    )
    assert equal.remark.startswith(
        "version 3 (study better) stays best: its validation weighted F1 is 60.00 %"
    )
    assert other.remark == (
        "version 3 (study better) stays best: its score was measured on another content of the corpus, "
        "so that the two cannot be compared"
    )
    of_studies = {"first": 1, "v1-worse": 2, "better": 3, "equal": 4, "other": 5}
    assert aliases(client, "rigsl-better-open") == {BEST: 3, **of_studies}


class Interrupted:
    """A client before whose calls of a name something else happens, once."""

    def __init__(self, client, name, meanwhile):
        self._client, self._name, self._meanwhile = client, name, [meanwhile]

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*arguments, **options):
            moves_best = name == "set_registered_model_alias" and BEST in arguments
            if name == self._name and (moves_best or "alias" not in name) and self._meanwhile:
                self._meanwhile.pop()()
            return method(*arguments, **options)

        return call


@pytest.fixture
def light(monkeypatch):
    """Models are not logged."""
    monkeypatch.setattr(registry, "log_model", lambda *_: (None, "file:///nowhere"))


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize(
    "call",
    [
        "create_model_version",
        "get_registered_model",
        "set_registered_model_alias",
        "delete_model_version_tag",
    ],
)
def test_of_two_studies_that_end_at_the_same_moment_the_better_one_is_best(tmp_path, corpus, store, call):
    """The better one registers its model as a whole between two calls of the worse one."""
    client, run_id, _ = store
    folders = [save_model(tmp_path / str(seed), corpus, seed=seed) for seed in range(3)]
    dataset = "race-" + call.replace("_", "-")
    done = {}

    def register(number, score, by=client):
        export = exported(folders[number], score, dataset=dataset, study=str(number))
        done[number] = register_best(by, run_id, export, corpus)

    register(0, 0.5)
    register(1, 0.6, Interrupted(client, call, lambda: register(2, 0.7)))
    assert [one.problem for one in done.values()] == ["", "", ""]
    assert aliases(client, done[0].name)[BEST] == int(done[2].version)
    assert done[2].alias == BEST
    if call != "delete_model_version_tag":  # the worse one had been best for a moment
        assert done[1].remark == (
            f"version {done[2].version} (study 2) stays best: its validation weighted F1 is 70.00 %, "
            "that of this version 60.00 %"
        )
    versions = client.search_model_versions(f"name = '{done[0].name}'")
    assert not any("registering_since" in version.tags for version in versions)


class Turns:
    """Lets threads make one call each at a time, in an order that is drawn."""

    def __init__(self, seed, threads):
        self._rng, self._all = random.Random(seed), threads
        self._changed, self._waiting, self._turn = threading.Condition(), set(), None

    def wait(self, thread):
        """Wait until it is the thread's turn."""
        with self._changed:
            self._waiting.add(thread)
            self._next()
            assert self._changed.wait_for(lambda: self._turn == thread, timeout=60)
            self._waiting.discard(thread)
            self._turn = None

    def end(self):
        """A thread makes no more calls."""
        with self._changed:
            self._all -= 1
            self._next()

    def _next(self):
        if self._turn is None and self._waiting and len(self._waiting) == self._all:
            self._turn = self._rng.choice(sorted(self._waiting))
            self._changed.notify_all()


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("seed", range(3))
def test_in_any_order_of_calls_the_best_study_is_best(tmp_path, corpus, store, seed):
    client, run_id, _ = store
    scores = random.Random(seed).sample([0.3, 0.6, 0.8], 3)
    turns, done = Turns(seed, len(scores)), {}

    class Turning:
        def __init__(self, thread):
            self._thread = thread

        def __getattr__(self, name):
            def call(*arguments, **options):
                turns.wait(self._thread)
                return getattr(client, name)(*arguments, **options)

            return call

    def register(number, score, by=client):
        folder = save_model(tmp_path / str(number), corpus, seed=number)
        export = exported(folder, score, dataset=f"turns-{seed}", study=str(number))
        done[number] = register_best(by, run_id, export, corpus)

    def run(number, score):
        register(number, score, Turning(number))
        turns.end()

    register(len(scores), 0.5)
    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(scores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.problem for one in done.values()] == [""] * 4
    assert aliases(client, done[0].name)[BEST] == int(done[scores.index(0.8)].version)


@pytest.mark.usefixtures("light")
def test_a_registration_that_was_killed_does_not_undo_what_the_user_promotes(tmp_path, corpus, store):
    """A version of it says for ever that it is being registered."""
    client, run_id, _ = store

    def register(seed, score, by=client, **options):
        folder = save_model(tmp_path / str(seed), corpus, seed=seed)
        export = exported(folder, score, dataset="killed", study=str(seed))
        return register_best(by, run_id, export, corpus, **options)

    def killed():
        raise KeyboardInterrupt

    first = register(0, 0.5)
    with pytest.raises(KeyboardInterrupt):
        register(1, 0.55, Interrupted(client, "get_registered_model", killed))
    better = register(2, 0.7)
    assert (better.alias, aliases(client, first.name)[BEST]) == (BEST, 3)
    promoted = register(3, 0.4, promote=True)
    assert promoted.alias == BEST
    worse = register(4, 0.3)
    assert "version 4 (study 3) stays best" in worse.remark


def test_a_model_that_is_registered_already_is_no_new_version(tmp_path, corpus, best, store):
    client, run_id, _ = store
    for study in ("one", "one", "two"):
        done = register_best(client, run_id, exported(best, dataset="again", study=study), corpus)
        assert (done.version, done.uri, done.remark) == ("1", "models:/rigsl-again-open@best", "")
    assert aliases(client, "rigsl-again-open") == {BEST: 1, "one": 1, "two": 1}


def test_a_best_version_without_a_score_stays(tmp_path, corpus, best, store):
    client, run_id, _ = store
    first = register_best(client, run_id, exported(best, dataset="by-hand"), corpus)
    client.delete_model_version_tag(first.name, first.version, "validation_weighted_f1")
    other = save_model(tmp_path / "other", corpus, seed=1)
    second = register_best(client, run_id, exported(other, 0.9, dataset="by-hand"), corpus)
    assert second.remark.startswith(
        "version 1 (study first) stays best: its validation score is not recorded"
    )


def test_open_and_official_features_are_two_models(tmp_path, corpus, best, store):
    client, run_id, _ = store
    names = [
        register_best(client, run_id, exported(best, dataset="both", features=features), corpus).name
        for features in ("open", "official")
    ]
    assert names == ["rigsl-both-open", "rigsl-both-official"]
    assert [aliases(client, name)[BEST] for name in names] == [1, 1]


def test_the_name_of_a_study_becomes_an_alias_that_mlflow_takes(corpus, best, store):
    client, run_id, _ = store
    register_best(client, run_id, exported(best, dataset="alias"), corpus)
    for study in ("best", "Latest", "v1", "meld-open-20260101-120000", "a.b_c-2"):
        client.set_registered_model_alias("rigsl-alias-open", study_alias(study), "1")
    assert aliases(client, "rigsl-alias-open").keys() == {
        BEST, "first", "study-best", "study-Latest", "study-v1", "meld-open-20260101-120000", "a-b_c-2"
    }  # fmt: skip


def test_a_store_that_is_away_is_a_sentence(corpus, best, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = register_best(MlflowClient(tracking_uri="http://127.0.0.1:9"), "run", exported(best), corpus)
    assert away.version == ""
    assert away.problem.startswith("the model rigsl-meld-open could not be registered in MLflow (")
    assert "\n" not in away.problem


def test_a_failure_half_way_is_a_sentence_and_no_version(tmp_path, corpus, store):
    client, _, _ = store
    experiment = client.create_experiment("broken")
    run_id = client.create_run(experiment).info.run_id
    broken = save_model(tmp_path / "broken", corpus)
    (broken / "config.toml").write_text("nonsense", encoding="utf-8")
    registration = register_best(client, run_id, exported(broken, dataset="broken"), corpus)
    assert "config.toml: is not valid TOML" in registration.problem
    assert client.search_model_versions("name = 'rigsl-broken-open'") == []
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
    single = RIGSL(CONFIG, corpus.schema)
    parts = (RIGSL(CONFIG.replace(modals=modals), corpus.schema) for modals in "ld")
    for model in (single, Average(tuple(parts))):
        with pytest.raises(UserError, match=says):
            ServedModel(model).predict(spoil(table_of(corpus, np.arange(2), "ld")))


def test_no_rows_are_no_predictions(corpus):
    nothing = ServedModel(RIGSL(CONFIG, corpus.schema)).predict(table_of(corpus, np.arange(1), "ld")[:0])
    assert list(nothing.columns) == list(CLASSES)
    assert nothing.empty


def test_every_answer_has_an_alias_that_moves_by_its_own_scores(best, corpus, store) -> None:
    client, run_id, _ = store

    def three(study: str, seed: int, *scores: float) -> ExportedModel:
        models = [RIGSL(CONFIG.replace(seed=seed + number), corpus.schema) for number in range(3)]
        save_checkpoint(best, models[0])
        save_checkpoint(best / "taught", models[1])
        save_average(best / "average", models[1:])
        found = [
            exported(best / answer, score, study=study, dataset="three")
            for answer, score in zip(("", "taught", "average"), scores, strict=True)
        ]
        for other in found[1:]:
            (other.folder / "metrics.json").write_text(json.dumps(other.metrics), encoding="utf-8")
        return found[0]

    first = register_best(client, run_id, three("first", 10, 0.5, 0.6, 0.7), corpus)
    assert [one.alias for one in (first, *first.others)] == ["best", "taught", "average"]
    second = register_best(client, run_id, three("second", 20, 0.55, 0.65, 0.69), corpus)
    assert [one.alias for one in (second, *second.others)] == ["best", "taught", "second-average"]
    assert "stays average: its validation weighted F1 is 70.00 %" in second.others[1].remark
    worse = three("third", 30, 0.1, 0.2, 0.3)
    third = register_best(client, run_id, worse, corpus)
    assert [one.alias for one in (third, *third.others)] == ["third", "third-taught", "third-average"]
    expected = {"first": first, "first-taught": first.others[0], "first-average": first.others[1]}
    expected |= {"second": second, "second-taught": second.others[0], "second-average": second.others[1]}
    expected |= {"best": second, "taught": second.others[0], "average": first.others[1]}
    expected |= {"third": third, "third-taught": third.others[0], "third-average": third.others[1]}
    assert aliases(client, first.name) == {name: int(one.version) for name, one in expected.items()}
    promoted = register_best(client, run_id, worse, corpus, promote=True)
    assert [one.alias for one in (promoted, *promoted.others)] == ["best", "taught", "average"]
    expected |= {"best": third, "taught": third.others[0], "average": third.others[1]}
    assert aliases(client, first.name) == {name: int(one.version) for name, one in expected.items()}
