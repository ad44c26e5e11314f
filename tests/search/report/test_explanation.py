"""The path from the baseline to the winner in the report and on the terminal."""

from __future__ import annotations

import dataclasses
import html
from pathlib import Path

import pytest

from rigsl.wording import DASH, MINUS
from search.confirm.final_record import ExplanationRecord, StepRecord, read_final_record, write_final_record
from search.plan.plan import Plan
from search.report.data import read_study_data
from search.report.sections import explanation
from search.terminal.trust import explanation_lines
from tests.helpers.run_folders import make_final, make_plan, make_study
from tests.search.report.test_report import words

BASELINE = StepRecord({}, {"lr": 0.01}, (0.5, 0.52), 0.51, None, None)
STEPS = (
    BASELINE,
    StepRecord({"lr": (0.01, 0.02)}, {"lr": 0.02}, (0.55, 0.57), 0.56, 0.05, 0.004),
    StepRecord({"use_gumbel": (False, True), "tau": (None, 0.3)}, {}, (0.55, None), 0.55, -0.01, None),
)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    plan = make_plan(tmp_path)
    make_final(plan, make_study(plan, "ccp"), folds=(0, 1, 2))
    return plan


def section(plan: Plan, record: ExplanationRecord | None) -> str:
    final = dataclasses.replace(read_final_record(plan.folder), explanation=record)
    write_final_record(plan.folder, final)
    assert read_final_record(plan.folder).explanation == record
    return html.unescape(words(explanation.content(read_study_data(plan.folder, exported=False))))


def test_every_change_stands_with_what_it_gained(plan: Plan) -> None:
    text = section(plan, ExplanationRecord(STEPS, 1, 6))
    for part in (
        "lr: 0.01 → 0.02",
        "+5.00 ± 0.40",
        f"use_gumbel: false → true, tau: {DASH} → 0.3",
        f"{MINUS}1.00 ± {DASH}",
        "is the one after 1 change; the winner has 2 changes.",
        "6 trainings.",
        "and on their folds",
    ):
        assert part in text, part
    lines = explanation_lines(read_final_record(plan.folder))
    assert lines[1:3] == ["   +5.00  lr", f"   {MINUS}1.00  use_gumbel, tau"]


def test_without_a_path_the_reason_is_said(plan: Plan) -> None:
    assert "--explain trains the path" in section(plan, None)
    assert "nothing to explain" in section(plan, ExplanationRecord((BASELINE,), 0, 2))
    assert explanation_lines(read_final_record(plan.folder)) == []
