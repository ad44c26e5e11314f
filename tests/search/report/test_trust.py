"""The section on trust: what was expected before test was opened, and how far it was off."""

from __future__ import annotations

import dataclasses
import html
from pathlib import Path

import pytest

from rigsl.wording import percent
from search.confirm.final_record import read_final_record, write_final_record
from search.plan.plan import Plan
from search.report.data import read_study_data
from search.report.sections import trust
from search.trust.assess import assess
from search.trust.trust_record import CurvePoint, TrustRecord
from tests.helpers.run_folders import make_final, make_plan, make_study
from tests.helpers.simulated_finals import World, add_trust, simulate
from tests.search.report.test_report import words

WORLD = World()


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    plan = make_plan(tmp_path)
    make_final(plan, make_study(plan, "ccppcpcc"))
    return plan


def section(plan: Plan) -> str:
    return html.unescape(words(trust.content(read_study_data(plan.folder, exported=False))))


def recorded(plan: Plan, world: World = WORLD, openings: int = 0) -> TrustRecord:
    study = read_study_data(plan.folder, exported=False).study
    record = assess(simulate(world, 0)[0], study, plan.space, openings)
    add_trust(plan.folder, record)
    return record


def test_the_expected_score_stands_beside_the_tested_one(plan: Plan) -> None:
    expected, text = recorded(plan).expected, section(plan)
    tested = read_final_record(plan.folder).test.winner.weighted_f1.mean
    assert (
        f"{percent(expected.mean)} (95 % interval {100 * expected.low:.2f} to {percent(expected.high)})"
        in text
    )
    assert f"Then tested {percent(tested)}, " in text
    assert "so it is no forecast" not in text
    for part in ("all of train", "dialogues of test", "together", "reliability of the ranking", "warn"):
        assert part in text


def test_before_test_is_opened_there_is_the_expectation_alone(plan: Plan) -> None:
    recorded(plan)
    write_final_record(
        plan.folder, dataclasses.replace(read_final_record(plan.folder), test=None, openings=())
    )
    text = section(plan)
    assert "Expected on test, recorded" in text
    assert "tested" not in text.partition("Checks")[0].replace("the mean that is measured", "")


def test_an_expectation_after_an_opening_is_called_no_forecast(plan: Plan) -> None:
    recorded(plan, openings=1)
    assert "Test had been opened 1 time before, so it is no forecast." in section(plan)


def test_what_is_not_known_is_said_in_a_sentence(plan: Plan) -> None:
    record = recorded(plan, World(finalists=1, blocks=1))
    assert record.expected is None
    text = section(plan)
    assert f"No test score is expected: {record.unexpected}." in text
    assert "there is one finalist only; give --finalists 2 or more" in text


def test_overtuning_is_drawn_where_the_best_so_far_has_changed(plan: Plan) -> None:
    record, title = recorded(plan), "best finalist so far, on validation and in the finals"
    points = tuple(CurvePoint(trial, trial + 1, 0.5 + trial / 100, 0.5) for trial in range(3))
    for curve, drawn in ((points[:1], False), (points, True)):
        add_trust(plan.folder, dataclasses.replace(record, curve=curve))
        page = trust.content(read_study_data(plan.folder, exported=False))
        assert (title in page) is drawn


def test_a_study_that_was_tested_without_an_expectation_is_not_given_one(plan: Plan) -> None:
    assert "Test was opened by a version that recorded no expectation before." in section(plan)
    write_final_record(plan.folder, dataclasses.replace(read_final_record(plan.folder), test=None))
    assert "Known when the trainings of the final stage have ended" in section(plan)
