"""The explanation: every step is trained under the finals' blocks, and gains are paired by block."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from rigsl.errors import UserError
from search import study as study_module
from search.confirm.explanation import Explanation
from search.confirm.final_record import (
    ConfigurationRecord,
    ExplanationRecord,
    read_final_record,
    write_final_record,
)
from search.confirm.runner import TrainingRunner
from search.confirm.trainings import Block, JobResult, identity, make_job
from search.plan.plan import Plan
from search.record import record
from search.run_folder import TRAININGS
from search.space.budget import Budget
from search.space.confirmation import FinalOptions
from tests.helpers.run_folders import make_plan, make_study
from tests.search.confirm.test_trainings import Watcher

BLOCKS = [Block(seed) for seed in (2, 4, 6)]
START = {"lr": 0.01, "num_L": 1, "use_gumbel": False}
END = {"lr": 0.02, "num_L": 2, "use_gumbel": True, "tau": 0.3}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(tmp_path)


def configuration(plan: Plan, params: dict) -> ConfigurationRecord:
    config = plan.space.config(params, plan.seed, epochs=plan.epochs)
    return ConfigurationRecord(0, config.to_dict(), params, identity(config))


def explained(plan: Plan, end: dict = END) -> tuple[Explanation, TrainingRunner]:
    ends = [configuration(plan, params) for params in (START, end)]
    runner = TrainingRunner(plan.folder, plan.workers, None, Watcher(), lambda: False)
    (plan.folder / TRAININGS).mkdir()
    return Explanation(plan, make_study(plan, "cc"), BLOCKS, *ends), runner


def train(explanation: Explanation, runner: TrainingRunner, means: list[float]) -> None:
    """A result for every job: the mean of its step, with a luck of its block that all steps share."""
    for block, luck in zip(BLOCKS, (0.01, 0.0, -0.01), strict=True):
        for step, mean in zip(explanation.steps, means, strict=True):
            wobble = 0.001 * ((step.trial * 7 + block.seed * 3) % 5 - 2)
            runner.results.add(make_job("", step.config, block), JobResult(mean + luck + wobble, 4, 3))


def test_all_steps_are_trained_under_all_blocks_and_ends_share_the_trainings_of_the_finals(
    plan: Plan,
) -> None:
    explanation, _ = explained(plan)
    names = [job.name for job in explanation.jobs()]
    assert len(set(names)) == len(names) == 4 * 3
    assert (
        explanation.in_words()
        == "explanation: from the baseline to the winner in 3 changes, each with 3 seeds"
    )
    for params, step in ((START, explanation.steps[0]), (END, explanation.steps[-1])):
        config = plan.space.config(params, 5, epochs=plan.epochs)
        assert {make_job("", config, block).name for block in BLOCKS} <= set(names)
        assert step.params == params


def test_gains_and_the_simplest_configuration(plan: Plan) -> None:
    explanation, runner = explained(plan)
    train(explanation, runner, [0.50, 0.55, 0.60, 0.60])
    explained_record = explanation.record(runner)
    assert [step.gain for step in explained_record.steps[1:]] == pytest.approx([0.05, 0.05, 0.0], abs=0.003)
    assert explained_record.steps[0].gain is None
    assert explained_record.steps[0].changes == {}
    assert {name for step in explained_record.steps for name in step.changes} == {
        "lr",
        "num_L",
        "use_gumbel",
        "tau",
    }
    assert all(0 < step.error < 0.003 for step in explained_record.steps[1:])
    assert explained_record.simplest == 2
    assert explained_record.trainings == 12


def test_a_failed_training_leaves_a_gap_and_a_last_needed_change_is_seen(plan: Plan) -> None:
    explanation, runner = explained(plan)
    train(explanation, runner, [0.50, 0.51, 0.52, 0.60])
    runner.results.add(
        make_job("", explanation.steps[1].config, BLOCKS[0]), JobResult(None, 0, 0, "diverged")
    )
    explained_record = explanation.record(runner)
    assert explained_record.steps[1].scores[0] is None
    assert explained_record.steps[1].gain == pytest.approx(0.01, abs=0.003)
    assert explained_record.simplest == 3


def test_a_baseline_that_won_has_nothing_to_explain(plan: Plan) -> None:
    explanation, runner = explained(plan, dict(START))
    assert len(explanation.steps) == 1
    assert explanation.record(runner).simplest == 0


def test_a_study_that_has_ended_can_be_explained_once(plan: Plan) -> None:
    study = make_study(plan, "cc")
    study.set_user_attr(record.STANDING, "finished: all 2 trials done")
    ended = dataclasses.replace(plan, budget=Budget(trials=2))
    explaining = dataclasses.replace(ended, final=FinalOptions(folds=0, explain=True))
    study_module._check_budget_left(explaining, study)
    with pytest.raises(UserError, match="the study has ended"):
        study_module._check_budget_left(ended, study)
    final = dataclasses.replace(read_final_record(plan.folder), explanation=ExplanationRecord((), None, 0))
    write_final_record(plan.folder, final)
    with pytest.raises(UserError, match="the study has ended"):
        study_module._check_budget_left(explaining, study)
