"""A whole study with population based training is interrupted and resumed, and its winner trained again."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial

from search.confirm import race
from search.confirm import stage as final_stage
from search.export.rerun import rerun
from search.record import lineage, record
from search.results import Outcome
from search.run_folder import METRICS, SNAPSHOTS, STATE
from search.study import run
from tests.helpers.corpora import toy_corpus
from tests.helpers.listeners import Bystander
from tests.helpers.mlflow_contents import assert_mirrored
from tests.helpers.toy_study import toy_plan, write_home
from tests.helpers.workers_here import keep_workers_here

#: The weaker half of a population is replaced after two epochs of six and after four.
SCHEDULER = """[scheduler]
name = "pbt"
interval = 2
population = 4
quantile = 0.5

"""
FIXED = """[fixed]
batch_size = 4
dropout = 0.1
nodeformer_dropout = 0.1
denoise_dropout = 0.1
"""


@dataclass(frozen=True)
class Lived:
    """A study that was interrupted, and went on."""

    home: Path
    interrupted: list[FrozenTrial]  #: its trials then
    outcome: Outcome
    trials: dict[int, FrozenTrial]
    children: list[FrozenTrial]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, shared_ray: None, empty_mlflow: Path) -> Iterator[Lived]:
    home = write_home(tmp_path_factory.mktemp("population") / "home", epochs=6)
    shutil.copy(empty_mlflow, home / "mlflow.db")
    toy_corpus(dialogues=40).save(home / "data" / "meld_open.safetensors")
    text = (home / "space.toml").read_text(encoding="utf-8")
    begin, end = text.index("[scheduler]"), text.index("[budget.cpu]")
    text = (text[:begin] + SCHEDULER + text[end:]).replace("[fixed]\n", FIXED)
    (home / "space.toml").write_text(text.replace("low = 1e-4", "low = 3e-3"), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        keep_workers_here(patch)
        patch.setattr(record, "best_of", best_child)
        patch.setattr(final_stage, "top", top_child)
        first = run(toy_plan(home, sampler="random", seed=1, trials=10), listeners=[ChildInterrupter()])
        assert first.interrupted == signal.SIGTERM
        before = record.read_record(first.plan.folder).trials
        outcome = run(toy_plan(home, workers=1, resume=first.plan.name))
        trials = record.begun(record.read_record(outcome.plan.folder))
        children = [trial for trial in trials if lineage.origin(trial)]
        yield Lived(home, before, outcome, {trial.number: trial for trial in trials}, children)


class ChildInterrupter(Bystander):
    """Interrupts the study as soon as a child has an epoch of its own."""

    def __init__(self) -> None:
        self.children: set[int] = set()

    def started(self, trial, config, resumed) -> None:
        if lineage.origin(trial):
            self.children.add(trial.number)

    def epoch(self, number, report) -> None:
        if number in self.children and report.metrics["epoch_seconds"]:
            self.children.clear()
            os.kill(os.getpid(), signal.SIGTERM)


best_of = record.best_of


def best_child(ended: list[FrozenTrial]) -> FrozenTrial | None:
    """Which trial wins is a matter of luck; here it is one whose best epoch is its own."""
    children = [trial for trial in ended if lineage.origin(trial)]
    improved = [child for child in children if child.user_attrs["best_epoch"] > lineage.origin(child).epoch]
    return max(improved, key=record.score, default=best_of(ended))


def top_child(study: optuna.Study, configs, count: int) -> list[race.Finalist]:
    finalists = race.top(study, configs, 10**9)
    best = best_child(record.finished(study))
    return [finalist for finalist in finalists if finalist.trial == best.number]


def test_every_trial_ends_in_a_true_state(lived: Lived) -> None:
    assert len(lived.trials) == 10
    for trial in lived.trials.values():
        epochs = sorted(trial.intermediate_values)
        assert epochs == list(range(1, len(epochs) + 1))
        assert trial.state.name == ("COMPLETE" if len(epochs) == 6 else "PRUNED")
    assert_mirrored(lived.home, lived.outcome)


def test_a_child_begins_where_its_parent_was_in_place_of_a_weaker_trial(lived: Lived) -> None:
    assert len(lived.children) >= 2
    for child in lived.children:
        start, replaced = lineage.origin(child), lived.trials[child.user_attrs[lineage.REPLACES]]
        parent = lived.trials[start.parent]
        for epoch in range(1, start.epoch + 1):
            assert child.intermediate_values[epoch] == parent.intermediate_values[epoch]
        assert child.params["num_L"] == parent.params["num_L"]
        assert child.params != parent.params
        assert replaced.state.name == "PRUNED"
        assert max(replaced.intermediate_values) == start.epoch
        assert parent.intermediate_values[start.epoch] > replaced.intermediate_values[start.epoch]
        reason = f"stopped after epoch {start.epoch}; trial {child.number} takes its place"
        assert replaced.user_attrs[record.REASON] == reason


def test_an_interrupted_population_goes_on(lived: Lived) -> None:
    assert [trial for trial in lived.interrupted if lineage.origin(trial) and not trial.state.is_finished()]
    for old in lived.interrupted:
        new = lived.trials[old.number]
        assert {**old.system_attrs.get("fixed_params", {}), **old.params} == new.params
        assert old.intermediate_values.items() <= new.intermediate_values.items()
        assert old.user_attrs.get(lineage.PARENT) == new.user_attrs.get(lineage.PARENT)


def test_no_state_is_left_at_the_end(lived: Lived) -> None:
    trials = lived.outcome.plan.folder / "trials"
    assert not [*trials.glob(f"*/{SNAPSHOTS}"), *trials.glob(f"*/{STATE}")]


def test_a_winner_with_a_lineage_is_trained_again_bit_for_bit(lived: Lived) -> None:
    best = lived.outcome.plan.folder / "best"
    recorded = json.loads((best / METRICS).read_text(encoding="utf-8"))
    start = lineage.origin(lived.trials[recorded["trial"]])
    last = recorded["lineage"][-1]
    assert (last["trial"], last["until_epoch"]) == start
    assert "other values up to epoch" in (best / "official_command.txt").read_text(encoding="utf-8")
    assert rerun(best, data_dir=lived.home / "data").equal
