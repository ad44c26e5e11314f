"""Whole studies with population based training on real Ray: children, a kill in between, the winner again."""

import dataclasses
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from search import final_stage, lineage, race, record, runtime
from search.export import METRICS
from search.machine import Workers
from search.plan import Plan
from search.prepare import prepare
from search.rerun import rerun
from search.study import Outcome, run
from search.trainable import SNAPSHOTS, STATE
from search.wishes import Wishes
from tests.corpora import toy_corpus

from .corpus import write_home
from .mirror import assert_mirrored

SCHEDULER = """[scheduler]
name = "pbt"
interval = 2
population = 4
quantile = 0.5

[final]
finalists = 0
test_seeds = 0

"""
FIXED = """[fixed]
batch_size = 4
dropout = 0.1
nodeformer_dropout = 0.1
denoise_dropout = 0.1
"""


@pytest.fixture(scope="module", autouse=True)
def ray_of_the_module() -> Iterator[None]:
    with runtime.running(Workers(2, "cpu"), 10_000_000):
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What can be learned in six epochs; the weaker half of a population is replaced after two and four."""
    folder = write_home(tmp_path / "home", epochs=6)
    toy_corpus(dialogues=40).save(folder / "data" / "meld_open.safetensors")
    text = (folder / "space.toml").read_text(encoding="utf-8")
    begin, end = text.index("[scheduler]"), text.index("[budget.cpu]")
    text = (
        (text[:begin] + SCHEDULER + text[end:])
        .replace("[fixed]\n", FIXED)
        .replace("low = 1e-4", "low = 3e-3")
    )
    (folder / "space.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


def plan_for(home: Path, **wishes) -> Plan:
    plan = prepare(Wishes(data_dir=home / "data", **wishes))
    return dataclasses.replace(plan, workers=Workers(2, "cpu"))


def new_plan(home: Path, **wishes) -> Plan:
    uri = f"sqlite:///{home}/mlflow.db"
    return plan_for(home, space=home / "space.toml", sampler="random", seed=1, tracking_uri=uri, **wishes)


def assert_true(outcome: Outcome) -> list[optuna.trial.FrozenTrial]:
    """Every trial is in a true state, every child begins where its parent was; the children."""
    study = record.read_record(outcome.plan.folder)
    trials = record.begun(study)
    everyone = {trial.number: trial for trial in study.trials}
    children = [trial for trial in trials if lineage.origin(trial)]
    for trial in trials:
        assert trial.state.name in ("COMPLETE", "PRUNED")
        epochs = sorted(trial.intermediate_values)
        assert epochs == list(range(1, len(epochs) + 1))
        assert trial.state.name == "PRUNED" or len(epochs) == 6
    for child in children:
        start, replaced = lineage.origin(child), everyone[child.user_attrs[lineage.REPLACES]]
        parent = everyone[start.parent]
        for epoch in range(1, start.epoch + 1):
            assert child.intermediate_values[epoch] == parent.intermediate_values[epoch]
        assert child.params["num_L"] == parent.params["num_L"]
        assert child.params != parent.params
        assert replaced.state.name == "PRUNED"
        assert max(replaced.intermediate_values) == start.epoch
        assert parent.intermediate_values[start.epoch] > replaced.intermediate_values[start.epoch]
        assert f"after epoch {start.epoch}" in replaced.user_attrs[record.REASON]
    folder = outcome.plan.folder / "trials"
    assert not [*folder.glob(f"*/{SNAPSHOTS}"), *folder.glob(f"*/{STATE}")]
    assert_mirrored(Path.cwd(), outcome)
    return children


def test_a_population_from_start_to_export_and_again(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    best_of_all = record.winner

    def best_child(study: optuna.Study) -> optuna.trial.FrozenTrial | None:
        """Which trial wins is a matter of luck; here it is one whose last epochs are its own."""
        children = [
            trial
            for trial in record.finished(study)
            if lineage.origin(trial) and trial.user_attrs["best_epoch"] > lineage.origin(trial).epoch
        ]
        return max(children, key=record.score, default=best_of_all(study))

    def first(study: optuna.Study, configs, count: int) -> list[race.Finalist]:
        child = best_child(study)
        return [one for one in race.top(study, configs, 10**9) if one.trial == child.number]

    monkeypatch.setattr(record, "winner", best_child)
    monkeypatch.setattr(final_stage, "top", first)
    outcome = run(new_plan(home, trials=10))
    children = assert_true(outcome)
    assert len(children) >= 2
    best = outcome.plan.folder / "best"
    recorded = json.loads((best / METRICS).read_text(encoding="utf-8"))
    assert recorded["trial"] in [child.number for child in children]
    stages = recorded["lineage"]
    assert stages[-1]["until_epoch"] in (2, 4)
    assert stages[-1]["trial"] == lineage.origin(best_child(record.read_record(outcome.plan.folder))).parent
    assert "other values up to epoch" in (best / "official_command.txt").read_text(encoding="utf-8")
    assert rerun(best, data_dir=home / "data").equal


class Interruption:
    """Interrupts the study as soon as a child has an epoch of its own."""

    def __init__(self) -> None:
        self.children: set[int] = set()

    def started(self, trial, config, resumed) -> None:
        if lineage.origin(trial):
            self.children.add(trial.number)

    def epoch(self, number, metrics) -> None:
        if number in self.children and metrics["epoch_seconds"]:
            self.children.clear()
            os.kill(os.getpid(), signal.SIGTERM)

    def finished(self, trial) -> None:
        pass


def test_an_interrupted_population_goes_on(home: Path) -> None:
    first = run(new_plan(home, trials=8), listeners=[Interruption()])
    assert first.interrupted == signal.SIGTERM
    before = record.read_record(first.plan.folder).trials
    assert [trial for trial in before if lineage.origin(trial) and not trial.state.is_finished()]
    after = run(plan_for(home, resume=first.plan.name))
    assert assert_true(after)
    trials = record.read_record(after.plan.folder).trials
    for old, new in zip(before, trials, strict=False):
        assert {**old.system_attrs.get("fixed_params", {}), **old.params} == new.params
        assert old.intermediate_values.items() <= new.intermediate_values.items()
        assert old.user_attrs.get(lineage.PARENT) == new.user_attrs.get(lineage.PARENT)
    assert len(record.begun(record.read_record(after.plan.folder))) == 8
